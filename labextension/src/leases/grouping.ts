/**
 * The rows of the list of leases: the current notebook's first, then groups by state, filtered and sorted. Pure.
 */

import type { LeaseView } from '../generated/api';
import { PARKED_OR_PARKING } from '../generated/lifecycle';
import { isOpen } from './lease';
import type { Row } from './rows';
import { groupedRows } from './rows';

/** How long a lease is listed after its end. */
export const ENDED_SHOWN_MS = 3_600_000;

/** The groups, in the order of their headings. */
export const LEASE_GROUPS = ['waiting', 'active', 'parked', 'ended'] as const;

export type LeaseGroup = (typeof LEASE_GROUPS)[number];

/** The orders, the first being the default; the waiting group is always in order of position. */
export const LEASE_ORDERS = ['newest', 'name', 'cost', 'utilization'] as const;

export type LeaseOrder = (typeof LEASE_ORDERS)[number];

export type LeaseRow = Row<LeaseGroup, LeaseView>;

/** What the rows depend on beside the leases. */
export interface IListOptions {
  /** The lease of the current notebook; null if it has none. */
  readonly currentId: string | null;
  /** Words that a listed lease has all; empty for all leases. */
  readonly filter: string;
  readonly order: LeaseOrder;
  readonly folded: ReadonlySet<LeaseGroup>;
  readonly showEnded: boolean;
  /** The server's time. */
  readonly now: number;
  /** Return the displayed name of a lease. */
  readonly nameOf: (lease: LeaseView) => string;
  /** Return the text of a lease in which words of the filter are found. */
  readonly textOf: (lease: LeaseView) => string;
}

/** Return the group of a lease. */
export function groupOf(lease: LeaseView): LeaseGroup {
  if (!isOpen(lease)) {
    return 'ended';
  }
  if (lease.state === 'waiting') {
    return 'waiting';
  }
  return PARKED_OR_PARKING.has(lease.state) ? 'parked' : 'active';
}

/** Return the leases that may be listed: open ones, and those that ended recently. */
export function listedLeases(
  leases: ReadonlyArray<LeaseView>,
  { showEnded, now }: Pick<IListOptions, 'showEnded' | 'now'>
): ReadonlyArray<LeaseView> {
  return leases.filter(
    lease => isOpen(lease) || (showEnded && now - (lease.times.ended_at ?? 0) < ENDED_SHOWN_MS)
  );
}

/** Return the rows of the list. */
export function leaseRows(
  leases: ReadonlyArray<LeaseView>,
  options: IListOptions
): ReadonlyArray<LeaseRow> {
  const { currentId } = options;
  return groupedRows<LeaseGroup, LeaseView>(listedLeases(leases, options), {
    ...options,
    groups: LEASE_GROUPS,
    groupOf: lease => (lease.id === currentId && isOpen(lease) ? null : groupOf(lease)),
    rateOf: ({ money }) => money.billed_micro_per_hour,
    comparison: group => comparison(group, options)
  });
}

function comparison(
  group: LeaseGroup,
  { order, nameOf }: IListOptions
): (a: LeaseView, b: LeaseView) => number {
  const byTime = (a: LeaseView, b: LeaseView) =>
    b.times.requested_at - a.times.requested_at || (a.id < b.id ? -1 : 1);
  if (group === 'waiting') {
    const place = (lease: LeaseView) => lease.queue?.position ?? Number.MAX_SAFE_INTEGER;
    return (a, b) => place(a) - place(b) || byTime(a, b);
  }
  switch (order) {
    case 'newest':
      return byTime;
    case 'name':
      return (a, b) => nameOf(a).localeCompare(nameOf(b)) || byTime(a, b);
    case 'cost':
      return (a, b) => b.money.cost_micro - a.money.cost_micro || byTime(a, b);
    case 'utilization':
      return (a, b) =>
        (b.usage.utilization_percent ?? -1) - (a.usage.utilization_percent ?? -1) || byTime(a, b);
  }
}
