/**
 * The form for the size of a GPU: kernel, model, share or memory, and the parameters that few users change.
 *
 * What the chosen size costs and when it starts is known for every step, so that it follows the slider at once; a
 * question to the server is needed only where a value above the slider changes.
 */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { SizeSlider } from '../controls/sizeslider';
import type { PoolClusterView, SizeOption } from '../generated/api';
import type { ITextContext } from '../controls/textcontext';
import type { IChoice, Raised } from '../launch/choice';
import { RAISED_NAMES, valuesOf } from '../launch/choice';
import type { StartKind, Unit } from '../launch/form';
import { modelName, modelOf, nearest, queryOf, startKind, unitOf } from '../launch/form';
import { shortModel } from '../texts/format';
import { offeredSize } from '../texts/size';
import { raisedTexts } from '../texts/start';
import { Advanced } from './choosesizeadvanced';
import { Answer } from './choosesizeanswer';
import type { ISizesSource } from './choosesizes';
import { useSizesOf } from './choosesizes';

const NONE: ReadonlyArray<SizeOption> = [];

/** A kernel that can be started with a size. */
export interface IKernelOption {
  readonly name: string;
  readonly label: string;
  readonly defaults: IChoice;
}

/** What the form is opened with. */
export interface IChooseSizeOptions extends ITextContext, ISizesSource {
  readonly kernels: ReadonlyArray<IKernelOption>;
  readonly kernel: string;
  readonly choice: IChoice;
  /** What the notebook asks for beyond the defaults of the user. */
  readonly asked: { readonly raised: ReadonlyArray<Raised>; readonly choice: IChoice } | null;
  /** Whether the values above the defaults are shown at once, because the user has just asked for them. */
  readonly isUnfolded: boolean;
  /** Whether a kernel runs, which is replaced. */
  readonly replaces: boolean;
  /** Null if there is no notebook that can remember the choice. */
  readonly remember: boolean | null;
  /** The label of the kernel that starts without a GPU; null if there is none. */
  readonly withoutGPU: string | null;
  readonly currency: () => string;
  /** The cluster that grants the leases; null if they are granted on this machine. */
  readonly cluster: () => PoolClusterView | null;
}

/** What the user has chosen. */
export interface IChosen {
  readonly kernel: string;
  readonly choice: IChoice;
  readonly remember: boolean;
  readonly withoutGPU: boolean;
}

/** The body of the dialog. */
export class ChooseSizeBody extends ReactWidget {
  constructor(options: IChooseSizeOptions) {
    super();
    this._options = options;
    this._chosen = {
      kernel: options.kernel,
      choice: options.choice,
      remember: options.remember === true,
      withoutGPU: false
    };
    this.addClass('fg-ChooseSize');
  }

  /** Return what is chosen when the dialog ends. */
  getValue(): IChosen {
    return this._chosen;
  }

  /** Emitted with what the primary button would do. */
  get startChanged(): ISignal<this, StartKind> {
    return this._startChanged;
  }

  /** Emitted when the user starts without a GPU, which has a button in the form. */
  get accepted(): ISignal<this, void> {
    return this._accepted;
  }

  protected override render(): React.JSX.Element {
    return (
      <ChooseSize
        {...this._options}
        onChange={chosen => {
          this._chosen = { ...chosen, withoutGPU: false };
        }}
        onStart={kind => this._startChanged.emit(kind)}
        onStartWithoutGPU={() => {
          this._chosen = { ...this._chosen, withoutGPU: true };
          this._accepted.emit();
        }}
      />
    );
  }

  private readonly _options: IChooseSizeOptions;
  private readonly _startChanged = new Signal<this, StartKind>(this);
  private readonly _accepted = new Signal<this, void>(this);
  private _chosen: IChosen;
}

/** Where the form has each parameter that a notebook may ask for. */
const PARAMETERS: Readonly<Record<Raised, string>> = {
  size: "input[type='range']",
  priority: "[data-parameter='priority']",
  hold: "[data-parameter='hold']",
  budget: "[data-parameter='budget']",
  cluster: "[data-parameter='partition']"
};

function ChooseSize(
  props: IChooseSizeOptions & {
    readonly onChange: (chosen: Omit<IChosen, 'withoutGPU'>) => void;
    readonly onStart: (kind: StartKind) => void;
    readonly onStartWithoutGPU: () => void;
  }
): React.JSX.Element {
  const { trans, language, kernels, asked, onChange, onStart } = props;
  const cluster = props.cluster();
  const [kernel, setKernel] = React.useState(props.kernel);
  const [choice, setChoice] = React.useState(props.choice);
  const [model, setModel] = React.useState(modelOf(props.choice.size));
  const [unit, setUnit] = React.useState<Unit>(unitOf(props.choice.size));
  const [remember, setRemember] = React.useState(props.remember === true);
  const id = React.useId();
  const query = queryOf(choice, model, unit);
  const key = JSON.stringify(query);
  const answer = useSizesOf(query, props);
  const options: ReadonlyArray<SizeOption> = answer.sizes?.options ?? NONE;
  const option = options.find(({ size }) => size === choice.size) ?? null;
  const memory = React.useRef<number | null>(null);
  if (option !== null) {
    memory.current = option.memory_bytes;
  }
  /** Whether a value above the slider was changed, so that the step is to be chosen again from other sizes. */
  const [isMoved, setIsMoved] = React.useState(false);
  React.useEffect(() => {
    if (isMoved && answer.sizes !== null && answer.query === key && option === null) {
      const next = memory.current === null ? offeredSize(options) : nearest(options, memory.current);
      if (next !== null) {
        setChoice({ ...choice, size: next.size });
      }
      setIsMoved(false);
    }
  }, [isMoved, answer, key, option, options, choice]);
  React.useEffect(() => onChange({ kernel, choice, remember }), [kernel, choice, remember, onChange]);
  const isAny = cluster !== null && option === null && answer.sizes !== null;
  const kind = answer.failure !== null ? 'unknown' : isAny ? 'wait' : startKind(option);
  const canStart = answer.failure === null && (answer.sizes !== null || !answer.isChecking);
  React.useEffect(() => onStart(canStart ? kind : 'impossible'), [kind, canStart, onStart]);
  const set = (changes: Partial<IChoice>) => setChoice({ ...choice, ...changes });
  const move = () => setIsMoved(true);
  const models = answer.sizes?.models ?? [];
  const form = React.useRef<HTMLDivElement>(null);
  /** Set values by a button that then disappears, and give the focus to the element that has them. */
  const setByButton = (changes: Partial<IChoice>, selector: string) => {
    set(changes);
    form.current?.querySelector<HTMLElement>(selector)?.focus();
  };
  const open =
    asked?.raised.filter(name => RAISED_NAMES[name].some(one => choice[one] !== asked.choice[one])) ?? [];

  return (
    <div className="fg-Form fg-Controls" ref={form}>
      <div className="fg-Fields">
        <label htmlFor={`${id}-kernel`}>{trans.__('Kernel')}</label>
        <select
          id={`${id}-kernel`}
          className="fg-Select"
          value={kernel}
          onChange={event => {
            const found = kernels.find(({ name }) => name === event.currentTarget.value);
            if (found !== undefined) {
              setKernel(found.name);
              setChoice(found.defaults);
              setModel(modelOf(found.defaults.size));
              setUnit(unitOf(found.defaults.size));
            }
          }}
        >
          {kernels.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
        <label htmlFor={`${id}-model`}>{trans.__('Model')}</label>
        <select
          id={`${id}-model`}
          className="fg-Select"
          value={model}
          onChange={event => {
            setModel(event.currentTarget.value);
            move();
          }}
        >
          <option value="">{trans.__('Any GPU')}</option>
          {models.every(one => modelName(one.model) !== model) && model !== '' && (
            <option value={model}>{model}</option>
          )}
          {models.map(one => (
            <option key={`${one.model} ${one.memory_bytes}`} value={modelName(one.model)}>
              {cluster !== null
                ? trans.__('%1 on the cluster', shortModel(one.model))
                : trans.__('%1 (%2 in the pool)', shortModel(one.model), one.devices)}
            </option>
          ))}
        </select>
        <span id={`${id}-unit`}>{trans.__('Ask for')}</span>
        <div className="fg-Chart-ranges fg-Units" role="radiogroup" aria-labelledby={`${id}-unit`}>
          {(['share', 'memory'] as const).map(one => (
            <label key={one} className="fg-Chart-range">
              <input
                type="radio"
                name={`${id}-unit`}
                checked={unit === one}
                onChange={() => {
                  setUnit(one);
                  move();
                }}
              />
              <span>{one === 'share' ? trans.__('a share') : trans.__('memory')}</span>
            </label>
          ))}
        </div>
      </div>

      {options.length > 0 && (
        <div className="fg-Form-sizes" data-stale={answer.isChecking}>
          <SizeSlider
            options={options}
            applied={null}
            requested={choice.size}
            onRequest={size => set({ size })}
            disabled={false}
            label={trans.__('Size')}
            trans={trans}
            language={language}
          />
        </div>
      )}
      <Answer
        answer={answer}
        option={option}
        size={choice.size}
        options={options}
        currency={props.currency()}
        isCluster={cluster !== null}
        onChoose={size => setByButton({ size }, "input[type='range']")}
        trans={trans}
        language={language}
      />
      {answer.failure !== null && props.withoutGPU !== null && (
        <div className="fg-Buttons">
          <button
            type="button"
            className="fg-Button fg-mod-primary"
            title={props.withoutGPU}
            onClick={props.onStartWithoutGPU}
          >
            {trans.__('Start without a GPU')}
          </button>
        </div>
      )}

      {open.map(name => {
        const { text, action } = raisedTexts(name, asked!.choice, choice, trans);
        return (
          <div key={name} className="fg-Note fg-Asked" data-kind="warning">
            <p>{text}</p>
            <div className="fg-Buttons">
              <button
                type="button"
                className="fg-Button"
                onClick={() => {
                  if (name === 'size') {
                    setModel(modelOf(asked!.choice.size));
                    setUnit(unitOf(asked!.choice.size));
                  }
                  setByButton(valuesOf(asked!.choice, name), PARAMETERS[name]);
                }}
              >
                {action.replace(/…$/, '')}
              </button>
            </div>
          </div>
        );
      })}

      <Advanced
        choice={choice}
        currency={props.currency()}
        cluster={cluster}
        isUnfolded={props.isUnfolded}
        onSet={set}
        id={id}
        trans={trans}
      />

      {props.replaces && (
        <p className="fg-Note" data-kind="warning">
          {cluster !== null
            ? trans.__(
                'The kernel that runs goes on until the GPU is granted. Then you choose when the new kernel replaces it; its variables are lost then.'
              )
            : trans.__(
                'A new kernel replaces the one that runs, and its variables are lost. Resize… changes the size and keeps them.'
              )}
        </p>
      )}
      {props.remember !== null && (
        <label className="fg-Remember">
          <input
            type="checkbox"
            checked={remember}
            onChange={event => setRemember(event.currentTarget.checked)}
          />
          {trans.__('Remember in this notebook')}
        </label>
      )}
    </div>
  );
}
