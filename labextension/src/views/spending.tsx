/**
 * What the user has spent: today, this month and of the budget, and how much of it while no cell ran.
 */

import * as React from 'react';

import { FormattedText } from '../controls/components';
import type { ITextContext } from '../controls/textcontext';
import type { SpendingView } from '../generated/api';
import type { IBudgetState } from '../leases/spending';
import { budgetState } from '../leases/spending';
import { formatMoney, formatPercent, formatTime } from '../texts/format';
import { amountText, budgetNotes, monthName } from '../texts/spending';

export interface ISpendingProps extends ITextContext {
  /** Null before the first answer. */
  readonly spending: SpendingView | null;
  /** The browser's time of the last answer; null before the first. */
  readonly spendingAt: number | null;
  /** Why the last request failed; null if it did not. */
  readonly spendingFailure: string | null;
  /** Save the statement of a month as a file; rejects with an error for the user. */
  readonly onStatement: (month: string) => Promise<void>;
  /** Undefined while no command opens the dashboard. */
  readonly onDashboard?: () => void;
  /** Advice that can save money; undefined if there is none. */
  readonly advice?: React.ReactNode;
}

/** The content of the section *Spending*. */
export function SpendingSection(props: ISpendingProps): React.JSX.Element {
  const { spending, spendingAt, spendingFailure, trans, language } = props;
  if (spending === null) {
    return (
      <p className="fg-Empty" role="status">
        {spendingFailure ?? trans.__('Loading…')}
      </p>
    );
  }
  const { currency } = spending;
  const state = budgetState(spending);
  return (
    <div className="fg-Spending">
      <dl className="fg-Spending-amounts">
        <div>
          <dt>{trans.__('Today')}</dt>
          <dd>{amountText(spending.today_micro, currency, trans, language)}</dd>
        </div>
        <div>
          <dt>{monthName(spending.month, language)}</dt>
          <dd>
            <strong>{amountText(spending.month_micro, currency, trans, language)}</strong>
            {state !== null && (
              <> {trans.__('of %1', formatMoney(state.budgetMicro, currency, language))}</>
            )}
          </dd>
        </div>
      </dl>
      {state !== null && <BudgetBar {...props} state={state} spending={spending} />}
      {state === null && (
        <p className="fg-Note">
          {spending.month_micro === null
            ? trans.__('The pool manager has not said what you have spent.')
            : rateNote(spending, trans, language)}
        </p>
      )}
      <IdleShare {...props} spending={spending} />
      {props.advice}
      {spendingFailure !== null && spendingAt !== null && (
        <p className="fg-Note" data-kind="warning" role="status">
          <FormattedText text={spendingFailure} />{' '}
          {trans.__('The amounts are of %1.', formatTime(spendingAt, language))}
        </p>
      )}
      <SpendingButtons {...props} month={spending.month} />
    </div>
  );
}

function rateNote(
  { rate_micro_per_hour: rate, currency }: SpendingView,
  trans: ITextContext['trans'],
  language: string
): string {
  if (rate === null) {
    return trans.__('No budget is set.');
  }
  return rate === 0
    ? trans.__('No budget is set; nothing is billed now.')
    : trans.__('No budget is set; %1 per hour are billed now.', formatMoney(rate, currency, language));
}

/** The budget as a bar with a mark at the warning. */
function BudgetBar(
  props: ITextContext & { readonly state: IBudgetState; readonly spending: SpendingView }
): React.JSX.Element {
  const { state, spending, trans, language } = props;
  const { currency } = spending;
  const level = state.leftMicro === 0 ? 'full' : state.warns ? 'high' : 'normal';
  return (
    <>
      <div
        className="fg-Meter fg-BudgetBar"
        data-level={level}
        role="meter"
        aria-label={trans.__('Budget')}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * state.part)}
        aria-valuetext={trans.__(
          '%1 of %2',
          formatMoney(state.spentMicro, currency, language),
          formatMoney(state.budgetMicro, currency, language)
        )}
      >
        <div className="fg-Meter-fill" style={{ width: `${100 * state.part}%` }} />
        <div className="fg-BudgetBar-mark" style={{ left: `${spending.warn_milli / 10}%` }} />
      </div>
      <p className="fg-Note" data-kind={state.leftMicro === 0 ? 'warning' : undefined}>
        {budgetNotes(state, spending, trans, language).join(' ')}
      </p>
    </>
  );
}

/** How much of the month's amount was spent while no cell ran. */
function IdleShare(
  props: ITextContext & { readonly spending: SpendingView }
): React.JSX.Element | null {
  const { spending, trans, language } = props;
  const { busy_micro: busy, idle_micro: idle, month_micro: month, currency } = spending;
  if (busy === null || idle === null || month === null) {
    return (
      <p className="fg-Note">{trans.__('Idle share: not known yet.')}</p>
    );
  }
  const seen = busy + idle;
  if (seen === 0) {
    return null;
  }
  const other = Math.max(0, month - seen);
  const total = seen + other;
  const parts = [
    { kind: 'mine', micro: busy, name: trans.__('a cell ran') },
    { kind: 'other', micro: idle, name: trans.__('idle') },
    { kind: 'free', micro: other, name: trans.__('reserved or unknown') }
  ].filter(({ kind, micro }) => kind !== 'free' || micro > 0);
  return (
    <div className="fg-IdleShare">
      <p className="fg-Spending-line">
        <span title={trans.__('What your leases cost while no cell ran')}>{trans.__('Idle share')}</span>
        <span>
          <strong>{formatPercent((100 * idle) / seen, language)}</strong>
          {` · ${formatMoney(idle, currency, language)}`}
        </span>
      </p>
      <div className="fg-Allocations-bar fg-IdleShare-bar" aria-hidden="true">
        {parts.map(({ kind, micro }) => (
          <div
            key={kind}
            className="fg-Allocations-part"
            data-kind={kind}
            style={{ width: `${(100 * micro) / total}%` }}
          />
        ))}
      </div>
      <ul className="fg-Legend">
        {parts.map(({ kind, micro, name }) => (
          <li key={kind}>
            <span className="fg-Swatch" data-kind={kind} aria-hidden="true" />
            {name} {formatMoney(micro, currency, language)}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Buttons that open the dashboard and save the statement. */
function SpendingButtons(props: ISpendingProps & { readonly month: string }): React.JSX.Element {
  const { month, trans, onStatement, onDashboard } = props;
  const [isSaving, setIsSaving] = React.useState(false);
  const [failure, setFailure] = React.useState<string | null>(null);
  const save = () => {
    setIsSaving(true);
    setFailure(null);
    onStatement(month)
      .catch((reason: unknown) => setFailure(reason instanceof Error ? reason.message : String(reason)))
      .finally(() => setIsSaving(false));
  };
  return (
    <>
      {failure !== null && (
        <p className="fg-Note" data-kind="error" role="alert">
          <FormattedText text={failure} />
        </p>
      )}
      <div className="fg-Buttons">
        {onDashboard !== undefined && (
          <button type="button" className="fg-Button" onClick={onDashboard}>
            {trans.__('Dashboard')}
          </button>
        )}
        <button type="button" className="fg-Button" disabled={isSaving} onClick={save}>
          {isSaving ? trans.__('Preparing…') : trans.__('Statement (CSV)')}
        </button>
      </div>
    </>
  );
}
