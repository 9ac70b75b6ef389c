/** The parameters of a start that few users change, folded, with their values in one line. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IChoice, Isolation, Priority } from '../launch/choice';
import { BUDGET, ISOLATIONS, PRIORITIES, WAIT } from '../launch/choice';
import { advancedSummary, isolationName, isolationNote, priorityName } from '../texts/start';

export function Advanced(
  props: {
    readonly trans: TranslationBundle;
    readonly isUnfolded: boolean;
    readonly choice: IChoice;
    readonly currency: string;
    readonly onSet: (changes: Partial<IChoice>) => void;
    readonly id: string;
  }
): React.JSX.Element {
  const { choice, onSet, id, trans } = props;
  const [open, setOpen] = React.useState(props.isUnfolded);
  return (
    <details
      className="fg-Collapsible fg-Advanced"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>
        <strong>{trans.__('Advanced')}</strong>
        {!open && <span>{advancedSummary(choice, trans)}</span>}
      </summary>
      <div className="fg-Fields">
        <label htmlFor={`${id}-isolation`}>{trans.__('Isolation')}</label>
        <div>
          <select
            id={`${id}-isolation`}
            className="fg-Select"
            value={choice.isolation}
            aria-describedby={`${id}-isolation-note`}
            onChange={event => onSet({ isolation: event.currentTarget.value as Isolation })}
          >
            {ISOLATIONS.map(one => (
              <option key={one} value={one}>
                {isolationName(one, trans)}
              </option>
            ))}
          </select>
          <p id={`${id}-isolation-note`} className="fg-Note">
            {isolationNote(choice.isolation, trans)}
          </p>
        </div>
        <label htmlFor={`${id}-priority`}>{trans.__('Priority')}</label>
        <select
          id={`${id}-priority`}
          data-parameter="priority"
          className="fg-Select"
          value={choice.priority}
          onChange={event => onSet({ priority: event.currentTarget.value as Priority })}
        >
          {PRIORITIES.map(one => (
            <option key={one} value={one}>
              {priorityName(one, trans)}
            </option>
          ))}
        </select>
        <label htmlFor={`${id}-hold`}>{trans.__('When idle')}</label>
        <select
          id={`${id}-hold`}
          data-parameter="hold"
          className="fg-Select"
          value={choice.hold ? 'hold' : 'yield'}
          onChange={event => onSet({ hold: event.currentTarget.value === 'hold' })}
        >
          <option value="yield">{trans.__('May be parked')}</option>
          <option value="hold">{trans.__('Keeps its GPU')}</option>
        </select>
        <label htmlFor={`${id}-budget`}>{trans.__('Budget of this lease')}</label>
        <input
          id={`${id}-budget`}
          data-parameter="budget"
          className="fg-Input"
          inputMode="decimal"
          pattern={BUDGET.source}
          placeholder={trans.__('no limit')}
          title={trans.__('An amount in %1, such as 20 or 2.50; empty for no limit.', props.currency)}
          value={choice.budget}
          onChange={event => onSet({ budget: event.currentTarget.value })}
        />
        <label htmlFor={`${id}-wait`}>{trans.__('Longest wait')}</label>
        <input
          id={`${id}-wait`}
          className="fg-Input"
          pattern={WAIT.source}
          placeholder={trans.__('no limit')}
          title={trans.__('A time, such as 10m or 2h; empty for no limit.')}
          value={choice.wait}
          onChange={event => onSet({ wait: event.currentTarget.value })}
        />
      </div>
    </details>
  );
}
