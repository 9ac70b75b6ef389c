/**
 * The texts of the notebook's toolbar item: what it shows of a lease, and its accessible name.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { MarkShape } from '../controls/statemark';
import { leaseMark } from '../controls/statemark';
import type { LeaseView } from '../generated/api';
import type { Connection } from '../leases/lease';
import { isOnCluster, isOpen, positionOf } from '../leases/lease';
import { ENDS_SOON_MS, endsIn } from './cluster';
import { countdown, formatDuration, formatMoney, formatPercent } from './format';

/** A lease that is parked or released within this time is announced in the toolbar. */
export const WARNING_MS = 120_000;

/** The parts of the toolbar item; an empty one is not shown. */
export interface IToolbarTexts {
  readonly shape: MarkShape;
  /** What stays when the toolbar is narrow: the size, the position, the time left. */
  readonly short: string;
  /** What goes before it in a wide toolbar: the size where `short` is not the size. */
  readonly size: string;
  readonly word: string;
  /** Whether the word replaces the sparkline, because the user should see it. */
  readonly isUrgent: boolean;
  readonly cost: string;
  /** What screen readers announce when it changes: state and position, not usage. */
  readonly status: string;
}

/** Return what the toolbar item shows of a kernel's lease. */
export function toolbarTexts(
  lease: LeaseView | null,
  connection: Connection['kind'],
  now: number,
  trans: TranslationBundle,
  language: string
): IToolbarTexts {
  const open = lease !== null && isOpen(lease) ? lease : null;
  const { shape, word: state } = leaseMark(open, connection, trans);
  const base = { shape, size: '', word: '', isUrgent: false, cost: '', status: state };
  if (shape === 'diamond') {
    return { ...base, short: '?', word: trans.__('GPU unknown') };
  }
  if (open === null) {
    return { ...base, short: trans.__('GPU'), word: trans.__('Get a GPU…') };
  }
  const { size } = open.request;
  const cost =
    open.money.cost_micro > 0 || open.state === 'active'
      ? formatMoney(open.money.cost_micro, open.money.currency, language)
      : '';
  const left = isOnCluster(open) && open.cluster.ends_at !== null ? open.cluster.ends_at - now : Infinity;
  if (open.state === 'active' && left < ENDS_SOON_MS) {
    return { ...base, size, short: countdown(left), word: endsIn(left, trans), isUrgent: true, cost };
  }
  if (open.state === 'waiting' && isOnCluster(open)) {
    const position = positionOf(open);
    return position === null
      ? { ...base, size, short: size, word: state.toLowerCase(), isUrgent: true, cost }
      : {
          ...base,
          size,
          short: String(position),
          word: trans.__('position %1', position),
          isUrgent: true,
          cost,
          status: trans.__('%1, position %2', state, position)
        };
  }
  if (open.state === 'waiting' && open.queue !== null) {
    const { position, estimate_ms } = open.queue;
    return {
      ...base,
      size,
      short: String(position),
      word: trans.__('position %1', position),
      isUrgent: true,
      cost: estimate_ms === null ? '' : trans.__('about %1', formatDuration(estimate_ms)),
      status: trans.__('%1, position %2', state, position)
    };
  }
  if (open.state !== 'active') {
    return { ...base, short: size, word: state.toLowerCase(), cost };
  }
  const warning = nextStep(open, now, trans);
  if (warning !== null) {
    return { ...base, cost, size, isUrgent: true, ...warning };
  }
  return { ...base, short: size, word: activity(open, now, trans, language), cost };
}

/** Return what an active lease does now; empty if that is unknown. */
function activity(
  { usage }: LeaseView,
  now: number,
  trans: TranslationBundle,
  language: string
): string {
  if (usage.busy === false) {
    const minutes = Math.floor((now - usage.last_used_at) / 60_000);
    return minutes < 1 ? trans.__('idle') : trans.__('idle %1 min', minutes);
  }
  return usage.utilization_percent === null ? '' : formatPercent(usage.utilization_percent, language);
}

/** Return the countdown to the next step of the idle policy; null if none is near or known. */
function nextStep(
  { idle }: LeaseView,
  now: number,
  trans: TranslationBundle
): { readonly short: string; readonly word: string } | null {
  const next = idle?.next ?? null;
  if (next === null || next.step === 'notify' || next.at - now > WARNING_MS || next.at <= now) {
    return null;
  }
  const short = countdown(next.at - now);
  switch (next.step) {
    case 'park':
      return { short, word: trans.__('parks in %1', short) };
    case 'release':
      return { short, word: trans.__('released in %1', short) };
    case 'shut_down':
      return { short, word: trans.__('kernel ends in %1', short) };
  }
}
