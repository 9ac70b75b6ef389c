/** Sentences about what the user has spent. All functions are pure and take the translator's bundle. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { SpendingView } from '../generated/api';
import type { IBudgetState } from '../leases/spending';
import { formatDuration, formatMoney } from './format';

/** Return the name of a month such as `2026-11`, in the language. */
export function monthName(month: string, language: string): string {
  const [year, number] = month.split('-').map(Number);
  return new Intl.DateTimeFormat(language.replace(/_/g, '-') || 'en', {
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC'
  }).format(Date.UTC(year, number - 1, 15));
}

/** Return an amount as text, also one that is not known. */
export function amountText(
  micro: number | null,
  currency: string,
  trans: TranslationBundle,
  language: string
): string {
  return micro === null ? trans.__('unknown') : formatMoney(micro, currency, language);
}

/** Return what is left of a budget and for how long, and when the user is warned. */
export function budgetNotes(
  state: IBudgetState,
  view: SpendingView,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { currency, rate_micro_per_hour: rate, budget_policy: policy } = view;
  const warning = trans.__('Warning at %1 %.', view.warn_milli / 10);
  if (state.leftMicro === 0) {
    return [
      policy === 'park'
        ? trans.__('The budget is spent: leases are parked, and nothing more is granted.')
        : policy === 'stop'
          ? trans.__('The budget is spent: leases continue, and nothing more is granted.')
          : trans.__('The budget is spent: leases continue, and new ones are granted.')
    ];
  }
  const left = formatMoney(state.leftMicro, currency, language);
  if (state.leftMs === null || rate === null) {
    return [
      rate === null
        ? trans.__('%1 left; what is billed now is unknown.', left)
        : trans.__('%1 left; nothing is billed now.', left),
      warning
    ];
  }
  return [
    trans.__(
      '%1 left: about %2 at %3.',
      left,
      formatDuration(state.leftMs),
      trans.__('%1 per hour', formatMoney(rate, currency, language))
    ),
    warning
  ];
}
