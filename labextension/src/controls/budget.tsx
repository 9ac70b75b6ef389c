/** What the lease or its user has spent of a budget; nothing where there is no budget. */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import { formatMoney } from '../texts/format';
import { loadRepeatedly } from './hooks';
import type { IBudget, ILeaseSource } from './source';
import type { ITextContext } from './textcontext';

/** As often as the section *Spending* asks, so that both show the same. */
const REFRESH_MS = 10_000;

/** Where no part is given at which the user is warned. */
const WARN_MILLI = 800;

/** The section with the bar; a lease's own budget goes before that of its user. */
export function BudgetSection(
  props: ITextContext & { readonly source: ILeaseSource; readonly lease: LeaseView }
): React.JSX.Element | null {
  const { source, lease, trans, language } = props;
  const monthly = useMonthly(source);
  const { budget_micro, cost_micro, currency } = lease.money;
  const own: IBudget | null = budget_micro === null ? null : { spent_micro: cost_micro, budget_micro, currency };
  const budget = own ?? monthly;
  if (budget === null) {
    return null;
  }
  const amounts = [budget.spent_micro, budget.budget_micro].map(micro =>
    formatMoney(micro, budget.currency, language)
  );
  const text =
    own === null
      ? trans.__('%1 of %2 this month', amounts[0], amounts[1])
      : trans.__('%1 of %2 of this lease', amounts[0], amounts[1]);
  const percent = Math.min(100, (100 * budget.spent_micro) / Math.max(1, budget.budget_micro));
  return (
    <section className="fg-Controls-section" aria-label={trans.__('Budget')}>
      <div className="fg-Controls-title">
        <h3>{trans.__('Budget')}</h3>
        <span>{text}</span>
      </div>
      <div
        className="fg-Meter"
        data-level={
          percent >= 100 ? 'full' : 10 * percent >= (budget.warn_milli ?? WARN_MILLI) ? 'high' : 'normal'
        }
        role="meter"
        aria-label={trans.__('Budget')}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(percent)}
        aria-valuetext={text}
      >
        <div className="fg-Meter-fill" style={{ width: `${percent}%` }} />
      </div>
    </section>
  );
}

/** Return the user's budget of this month; null without one, or while it is unknown. */
function useMonthly(source: ILeaseSource): IBudget | null {
  const [budget, setBudget] = React.useState<IBudget | null>(null);
  const isConnected = source.connection.kind === 'connected';
  React.useEffect(() => {
    const { loadBudget } = source;
    if (loadBudget === undefined || !isConnected) {
      return;
    }
    // A budget that cannot be read now is unknown, and not shown.
    return loadRepeatedly(loadBudget, REFRESH_MS, setBudget);
  }, [source, isConnected]);
  return budget;
}
