/**
 * What a user would want to be told who is not looking: the GPU has come, failed or was taken away, or money runs out.
 * Pure.
 */

import type { ILease } from './lease';
import { isAway } from './lease';

export interface INews {
  readonly kind: 'granted' | 'lost' | 'lent' | 'money' | 'limit' | 'fault';
  readonly lease: ILease;
}

/** Ends that nobody asked for. */
const LOSSES: ReadonlySet<string | null> = new Set([
  'revoked',
  'device_lost',
  'prepare_failed',
  'resume_failed',
  'expired',
  'over_limit'
]);

/** Reasons to park a lease that may have been computing: nobody asked for it, and it was not idle. */
const TAKEN: ReadonlySet<string | null> = new Set([
  'priority',
  'guarantee',
  'fairness',
  'budget',
  'over_limit'
]);

/** States in which the user is still without the GPU that was asked for. */
const COMING: ReadonlySet<string> = new Set(['waiting', 'preparing', 'resuming']);

/**
 * What is new between two pictures of the leases.
 *
 * A lease that was not there before is no news: a page that has just been opened tells nothing of the past.
 *
 * @param waited - The leases that have been seen waiting; kept by the caller and changed here, because a lease passes
 * through other states on its way from waiting to active.
 */
export function news(
  before: ReadonlyArray<ILease>,
  after: ReadonlyArray<ILease>,
  waited: Set<string>
): ReadonlyArray<INews> {
  const known = new Map(before.map(lease => [lease.id, lease]));
  const found: INews[] = [];
  for (const lease of after) {
    const old = known.get(lease.id);
    if (old?.state === 'active' && isAway(lease) && TAKEN.has(lease.park_reason)) {
      found.push({ kind: 'lent', lease });
    } else if (
      old !== undefined &&
      lease.state !== 'ended' &&
      lease.budget_message !== null &&
      lease.budget_message !== old.budget_message
    ) {
      found.push({ kind: 'money', lease });
    } else if (
      old !== undefined &&
      lease.limit_message !== null &&
      lease.limit_message !== old.limit_message
    ) {
      found.push({ kind: 'limit', lease });
    }
    if (
      old !== undefined &&
      lease.fault_message !== null &&
      lease.fault_message !== old.fault_message
    ) {
      found.push({ kind: 'fault', lease });
    }
    if (lease.state === 'waiting') {
      waited.add(lease.id);
    } else if (lease.state === 'active') {
      if (waited.delete(lease.id) && old !== undefined) {
        found.push({ kind: 'granted', lease });
      }
    } else if (!COMING.has(lease.state)) {
      waited.delete(lease.id);
      if (
        lease.state === 'ended' &&
        old !== undefined &&
        old.state !== 'ended' &&
        LOSSES.has(lease.end_reason)
      ) {
        found.push({ kind: 'lost', lease });
      }
    }
  }
  return found;
}
