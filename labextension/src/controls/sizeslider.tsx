/**
 * The slider of sizes: a native range with one step for each size that the hardware has.
 *
 * A hollow ring is the applied size, a filled one the requested size. To move it requests nothing.
 */

import * as React from 'react';

import { formatMemory } from '../texts/format';
import { effectName, formatRate, stepNames, stepText } from '../texts/size';
import type { SizeOption } from '../generated/api';
import type { SizeEffect } from './source';
import type { ITextContext } from './textcontext';

/** With more steps than this, only the chosen and the applied one, and the ends, have room for their labels. */
const LABELS_MAX = 6;

/** What each step shows of when it takes effect. */
export function EffectMark(props: { readonly effect: SizeEffect }): React.JSX.Element {
  return (
    <svg className="fg-Effect" data-effect={props.effect} viewBox="0 0 12 12" aria-hidden="true">
      {EFFECTS[props.effect]}
    </svg>
  );
}

const EFFECTS: Readonly<Record<SizeEffect, React.JSX.Element>> = {
  now: <circle className="fg-mod-solid" cx="6" cy="6" r="4" />,
  after_parking: (
    <>
      <circle cx="6" cy="6" r="4" />
      <path className="fg-mod-solid" d="M6 2a4 4 0 0 0 0 8z" />
    </>
  ),
  needs_restart: <path d="M9.6 4.2A4 4 0 1 0 10 6M10 1.6V4.4H7.2" />,
  queued: <rect className="fg-mod-solid" x="2" y="2" width="8" height="8" />,
  unavailable: <path d="M2.5 2.5L9.5 9.5M9.5 2.5L2.5 9.5" />
};

/** The slider, its labels and the legend of the marks that it shows. */
export function SizeSlider(
  props: ITextContext & {
    readonly options: ReadonlyArray<SizeOption>;
    /** Null while the lease has no size that is applied. */
    readonly applied: string | null;
    readonly requested: string | null;
    readonly onRequest: (size: string) => void;
    readonly disabled: boolean;
    /** The accessible name. */
    readonly label: string;
    /** Whether the slider takes the focus when it appears, as the first control of a dialog. */
    readonly takesFocus?: boolean;
  }
): React.JSX.Element {
  const { options, applied, requested, onRequest, disabled, takesFocus, trans, language } = props;
  const input = React.useRef<HTMLInputElement>(null);
  React.useEffect(() => {
    if (takesFocus === true) {
      input.current?.focus();
    }
  }, [takesFocus]);
  const found = options.findIndex(option => option.size === requested);
  const index = Math.max(0, found);
  const last = options.length - 1;
  const appliedIndex = options.findIndex(option => option.size === applied);
  const names = stepNames(options, trans);
  const isDense = options.length > LABELS_MAX;
  const effects = [...new Set(options.map(option => option.effect))];
  const left = (step: number) => ({ left: `${(100 * (step + 0.5)) / options.length}%` });
  const hasLabel = (step: number) => !isDense || step === index;
  return (
    <div className="fg-Slider" data-dense={isDense} data-disabled={disabled}>
      <div className="fg-Slider-track">
        {options.map((option, step) => (
          <span key={option.size} className="fg-Slider-tick" style={left(step)} />
        ))}
        <input
          ref={input}
          type="range"
          style={{ left: `${50 / options.length}%`, right: `${50 / options.length}%` }}
          min={0}
          max={last}
          step={1}
          value={index}
          data-unset={found < 0}
          disabled={disabled || options.length < 2}
          aria-label={props.label}
          aria-valuetext={stepText(options[index], trans, language)}
          onChange={event => onRequest(options[Number(event.currentTarget.value)].size)}
        />
        {appliedIndex >= 0 && <span className="fg-Slider-applied" style={left(appliedIndex)} />}
      </div>
      {/* The range announces each step; the labels are for the eye and the pointer. */}
      <div
        className="fg-Slider-steps"
        aria-hidden="true"
        style={{ gridTemplateColumns: `repeat(${options.length}, minmax(0, 1fr))` }}
      >
        {options.map((option, step) => (
          <div
            key={option.size}
            className="fg-Slider-step"
            data-effect={option.effect}
            data-chosen={step === found}
            data-edge={step === 0 ? 'first' : step === last ? 'last' : undefined}
            title={stepText(option, trans, language)}
            onClick={disabled ? undefined : () => onRequest(option.size)}
          >
            {hasLabel(step) ? (
              <>
                <span className="fg-Slider-size">{names[step]}</span>
                <span>{formatMemory(option.memory_bytes, language)}</span>
                <span>
                  {option.rate_micro === null
                    ? '–'
                    : trans.__('%1/h', formatRate(option.rate_micro, language))}
                </span>
              </>
            ) : null}
            <EffectMark effect={option.effect} />
          </div>
        ))}
      </div>
      <ul className="fg-Legend" aria-hidden="true">
        {effects.map(effect => (
          <li key={effect}>
            <EffectMark effect={effect} />
            {effectName(effect, trans)}
          </li>
        ))}
      </ul>
    </div>
  );
}
