/**
 * Transitions of leases that the user is notified of: the GPU was granted, failed or was taken back, or a limit is
 * near. Pure.
 */

import type { LeaseView, MessageView } from '../generated/api';
import { BECOMING_ACTIVE } from '../generated/lifecycle';
import type { MessageCode } from '../generated/messages';
import { byId, isParkedOrReturning } from './lease';

/** A transition; `kind` selects the notification. */
export interface ILeaseTransition {
  readonly kind: 'granted' | 'lost' | 'preempted' | 'budget' | 'limit' | 'fault' | 'idle' | 'ending';
  readonly lease: LeaseView;
}

/** The codes of ends that the user did not request. */
const UNREQUESTED_ENDS: ReadonlySet<string | undefined> = new Set<MessageCode>([
  'end.device_lost',
  'end.prepare_failed',
  'end.resume_failed',
  'end.expired',
  'end.over_limit',
  'end.idle',
  'end.cluster_refused',
  'end.allocation_lost'
]);

/** The code of the message that the time of an allocation is nearly over, which changes with the time. */
const ENDS_SOON = 'cluster.ends_soon';

/** The codes of reasons to park a lease that was not idle and whose user did not request it. */
const PREEMPTION_REASONS: ReadonlySet<string | undefined> = new Set<MessageCode>([
  'park.priority',
  'park.guarantee',
  'park.fairness',
  'park.budget',
  'park.over_limit',
  'park.idle_policy'
]);

/**
 * Return the transitions between two states of the leases.
 *
 * A lease that is missing in `before` has no transition: a page that was just opened does not report the past.
 *
 * @param waited - The ids of leases that were seen waiting. The caller preserves the set between calls and this
 * function updates it, because a lease passes through other states between waiting and active.
 */
export function findTransitions(
  before: ReadonlyArray<LeaseView>,
  after: ReadonlyArray<LeaseView>,
  waited: Set<string>
): ReadonlyArray<ILeaseTransition> {
  const previous = byId(before);
  const transitions: ILeaseTransition[] = [];
  let reported: Set<string | null> | null = null;
  for (const lease of after) {
    const old = previous.get(lease.id);
    if (old !== undefined) {
      for (const transition of messageTransitions(old, lease)) {
        if (transition.kind === 'budget') {
          const key = budgetKey(lease);
          reported ??= new Set(before.map(budgetKey));
          if (reported.has(key)) {
            continue;
          }
          reported.add(key);
        }
        transitions.push(transition);
      }
    }
    if (lease.state === 'waiting') {
      waited.add(lease.id);
    } else if (lease.state === 'active') {
      if (waited.delete(lease.id) && old !== undefined) {
        transitions.push({ kind: 'granted', lease });
      }
    } else if (!BECOMING_ACTIVE.has(lease.state)) {
      waited.delete(lease.id);
      if (
        lease.state === 'ended' &&
        old !== undefined &&
        old.state !== 'ended' &&
        UNREQUESTED_ENDS.has(lease.end_reason?.code)
      ) {
        transitions.push({ kind: 'lost', lease });
      }
    }
  }
  return transitions;
}

/** Return the transitions that carry a message: a preemption, or else a new budget or limit message; and a new fault. */
function messageTransitions(old: LeaseView, lease: LeaseView): ReadonlyArray<ILeaseTransition> {
  const transitions: ILeaseTransition[] = [];
  if (
    old.state === 'active' &&
    isParkedOrReturning(lease) &&
    PREEMPTION_REASONS.has(lease.parking.reason?.code)
  ) {
    transitions.push({ kind: 'preempted', lease });
  } else if (lease.state !== 'ended' && isNewMessage(old.money.message, lease.money.message)) {
    transitions.push({ kind: 'budget', lease });
  } else if (isNewMessage(old.enforcement.message, lease.enforcement.message)) {
    transitions.push({ kind: 'limit', lease });
  }
  // The text of such a message changes with the time; its code says what it announces.
  if (lease.idle.message !== null && lease.idle.message.code !== old.idle.message?.code) {
    transitions.push({ kind: 'idle', lease });
  }
  const ending = lease.cluster?.message ?? null;
  if (ending?.code === ENDS_SOON && old.cluster?.message?.code !== ENDS_SOON) {
    transitions.push({ kind: 'ending', lease });
  }
  if (isNewMessage(old.health.message, lease.health.message)) {
    transitions.push({ kind: 'fault', lease });
  }
  return transitions;
}

/**
 * Return what identifies the event that a message about money is about; null without a message.
 *
 * The budget of a tenant concerns all its leases, and they are not all updated at once.
 */
export function budgetKey({ id, money: { message } }: LeaseView): string | null {
  if (message === null) {
    return null;
  }
  const { tenant, spent_percent } = message.params;
  return tenant === undefined ? `lease ${id}: ${message.text}` : `tenant ${tenant}: ${spent_percent}`;
}

function isNewMessage(old: MessageView | null, message: MessageView | null): boolean {
  return message !== null && message.text !== old?.text;
}
