/**
 * Transitions of leases that the user is notified of: the GPU was granted, failed or was taken back, or a limit is
 * near. Pure.
 */

import type { ILease } from './lease';
import { isParkedOrReturning } from './lease';

/** A transition; `kind` selects the notification. */
export interface ILeaseTransition {
  readonly kind: 'granted' | 'lost' | 'preempted' | 'budget' | 'limit' | 'fault';
  readonly lease: ILease;
}

/** Ends that the user did not request. */
const UNREQUESTED_ENDS: ReadonlySet<string | null> = new Set([
  'revoked',
  'device_lost',
  'prepare_failed',
  'resume_failed',
  'expired',
  'over_limit'
]);

/** Reasons to park a lease that was not idle and whose user did not request it. */
const PREEMPTION_REASONS: ReadonlySet<string | null> = new Set([
  'priority',
  'guarantee',
  'fairness',
  'budget',
  'over_limit'
]);

/** States between the request and the GPU. */
const STATES_BEFORE_GPU: ReadonlySet<string> = new Set(['waiting', 'preparing', 'resuming']);

/**
 * Return the transitions between two states of the leases.
 *
 * A lease that is missing in `before` has no transition: a page that was just opened does not report the past.
 *
 * @param waited - The ids of leases that were seen waiting. The caller preserves the set between calls and this
 * function updates it, because a lease passes through other states between waiting and active.
 */
export function findTransitions(
  before: ReadonlyArray<ILease>,
  after: ReadonlyArray<ILease>,
  waited: Set<string>
): ReadonlyArray<ILeaseTransition> {
  const previous = new Map(before.map(lease => [lease.id, lease]));
  const transitions: ILeaseTransition[] = [];
  for (const lease of after) {
    const old = previous.get(lease.id);
    if (old !== undefined) {
      transitions.push(...messageTransitions(old, lease));
    }
    if (lease.state === 'waiting') {
      waited.add(lease.id);
    } else if (lease.state === 'active') {
      if (waited.delete(lease.id) && old !== undefined) {
        transitions.push({ kind: 'granted', lease });
      }
    } else if (!STATES_BEFORE_GPU.has(lease.state)) {
      waited.delete(lease.id);
      if (
        lease.state === 'ended' &&
        old !== undefined &&
        old.state !== 'ended' &&
        UNREQUESTED_ENDS.has(lease.end_reason)
      ) {
        transitions.push({ kind: 'lost', lease });
      }
    }
  }
  return transitions;
}

/** Return the transitions that carry a message: a preemption, or else a new budget or limit message; and a new fault. */
function messageTransitions(old: ILease, lease: ILease): ReadonlyArray<ILeaseTransition> {
  const transitions: ILeaseTransition[] = [];
  if (
    old.state === 'active' &&
    isParkedOrReturning(lease) &&
    PREEMPTION_REASONS.has(lease.park_reason)
  ) {
    transitions.push({ kind: 'preempted', lease });
  } else if (lease.state !== 'ended' && isNewMessage(old.budget_message, lease.budget_message)) {
    transitions.push({ kind: 'budget', lease });
  } else if (isNewMessage(old.limit_message, lease.limit_message)) {
    transitions.push({ kind: 'limit', lease });
  }
  if (isNewMessage(old.fault_message, lease.fault_message)) {
    transitions.push({ kind: 'fault', lease });
  }
  return transitions;
}

function isNewMessage(old: string | null, message: string | null): boolean {
  return message !== null && message !== old;
}
