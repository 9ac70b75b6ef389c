/** What is applied and what is requested, side by side, with the buttons that apply the choice or discard it. */

import * as React from 'react';

import { effectText, optionText, rateText } from '../texts/size';
import { EffectMark } from './sizeslider';
import type { SizeOption } from '../generated/api';
import type { ITextContext } from './textcontext';

export function PendingChange(
  props: ITextContext & {
    /** Null while no size is applied. */
    readonly applied: SizeOption | null;
    readonly requested: SizeOption;
    readonly currency: string;
    readonly disabled: boolean;
    readonly onApply: () => void;
    /** Undefined if there is nothing to go back to. */
    readonly onKeep?: () => void;
    /** The size that *Keep* keeps. */
    readonly keeps: string | null;
  }
): React.JSX.Element {
  const { applied, requested, currency, trans, language } = props;
  const [effect, ...details] = effectText(requested, trans, language);
  return (
    <div className="fg-Pending">
      <dl className="fg-Pending-box">
        {applied !== null && (
          <div>
            <dt>
              <span className="fg-Pending-ring" data-kind="applied" aria-hidden="true" />
              {trans.__('Applied')}
            </dt>
            <dd>{optionText(applied, currency, trans, language)}</dd>
          </div>
        )}
        <div>
          <dt>
            <span className="fg-Pending-ring" data-kind="requested" aria-hidden="true" />
            {trans.__('Requested')}
          </dt>
          <dd className="fg-mod-strong">{optionText(requested, currency, trans, language)}</dd>
        </div>
        <div>
          <dt>
            <EffectMark effect={requested.effect} />
            {trans.__('Takes effect')}
          </dt>
          <dd>{[effect, ...details].join('; ')}</dd>
        </div>
      </dl>
      <div className="fg-Buttons">
        {props.onKeep !== undefined && props.keeps !== null && (
          <button type="button" className="fg-Button" onClick={props.onKeep}>
            {trans.__('Keep %1', props.keeps)}
          </button>
        )}
        <button
          type="button"
          className="fg-Button fg-mod-primary"
          disabled={props.disabled || !isApplicable(requested)}
          onClick={props.onApply}
        >
          {trans.__(
            'Apply %1 · %2',
            requested.size,
            rateText(requested.rate_micro, currency, trans, language)
          )}
        </button>
      </div>
    </div>
  );
}

/** Return whether a size can be requested for the lease: not one that is refused, now or until a restart. */
export function isApplicable({ effect }: SizeOption): boolean {
  return effect === 'now' || effect === 'after_parking' || effect === 'queued';
}
