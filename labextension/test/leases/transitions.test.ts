import assert from 'node:assert/strict';
import test from 'node:test';

import type { LeaseView, MessageView } from '../../src/generated/api';
import type { LeaseState } from '../../src/generated/lifecycle';
import { findTransitions } from '../../src/leases/transitions';
import { lease, message, parkedFor } from '../samples';

/** Return the transitions while one lease passes through the states. */
function transitionsOf(states: LeaseState[], endReason: string | null = null): string[] {
  const waited = new Set<string>();
  let before: ReturnType<typeof lease>[] = [];
  return states.flatMap(state => {
    const after = [lease({ state, end_reason: endReason === null || state !== 'ended' ? null : message(endReason, `end.${endReason}`) })];
    const transitions = findTransitions(before, after, waited);
    before = after;
    return transitions.map(({ kind }) => `${kind} at ${state}`);
  });
}

test('findTransitions: granted after a wait, reported once', () => {
  assert.deepEqual(transitionsOf(['waiting', 'preparing', 'active', 'active']), ['granted at active']);
});

test('findTransitions: granted without a wait, not reported', () => {
  assert.deepEqual(transitionsOf(['preparing', 'active']), []);
  assert.deepEqual(transitionsOf(['active']), []);
});

test('findTransitions: a second wait, reported again', () => {
  assert.equal(transitionsOf(['waiting', 'active', 'parking', 'parked', 'waiting', 'resuming', 'active']).length, 2);
});

test('findTransitions: an unrequested end is reported, a requested one is not', () => {
  for (const reason of ['over_limit', 'device_lost', 'prepare_failed', 'resume_failed', 'expired']) {
    assert.deepEqual(transitionsOf(['active', 'draining', 'ended', 'ended'], reason), ['lost at ended']);
  }
  for (const reason of ['released', 'cancelled', 'holder_died']) {
    assert.deepEqual(transitionsOf(['waiting', 'active', 'draining', 'ended'], reason), ['granted at active']);
  }
});

test('findTransitions: an end before the first state, not reported', () => {
  assert.deepEqual(transitionsOf(['ended'], 'device_lost'), []);
});

test('findTransitions: a preemption, reported once', () => {
  const kindsAfter = (reason: string) => {
    const parked = { parking: parkedFor(reason) };
    const steps = [
      lease(),
      lease({ ...parked, state: 'parking' }),
      lease({ ...parked, state: 'waiting' }),
      lease(parked)
    ];
    const waited = new Set<string>();
    return steps
      .slice(1)
      .flatMap((after, step) => findTransitions([steps[step]], [after], waited))
      .map(({ kind }) => kind);
  };
  for (const reason of ['priority', 'guarantee', 'fairness', 'budget', 'over_limit']) {
    assert.deepEqual(kindsAfter(reason), ['preempted', 'granted']);
  }
  for (const reason of ['requested', 'idle']) {
    assert.deepEqual(kindsAfter(reason), ['granted']);
  }
});

test('findTransitions: a new budget message, reported once', () => {
  const waited = new Set<string>();
  const notified = lease({ money: { message: message('It has cost 80 % of its budget.') } });
  const kinds = (before: typeof notified, after: typeof notified) =>
    findTransitions([before], [after], waited).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), notified), ['budget']);
  assert.deepEqual(kinds(notified, notified), []);
  assert.deepEqual(kinds(notified, lease()), []);
});

test('findTransitions: the budget of a tenant, reported once for all its leases', () => {
  const spent = (percent: number): MessageView => ({
    code: 'budget.tenant_spent_stop',
    params: { tenant: 'ada', spent_percent: percent },
    text: `ada has spent ${percent} %`
  });
  const leases = (count: number, told: number, percent = 100) =>
    Array.from({ length: count }, (_, index) =>
      lease({ id: `l${index}`, money: { message: index < told ? spent(percent) : null } })
    );
  const kinds = (before: LeaseView[], after: LeaseView[]) =>
    findTransitions(before, after, new Set()).map(({ kind }) => kind);
  assert.deepEqual(kinds(leases(300, 0), leases(300, 300)), ['budget']);
  // The stream may update some of the leases first.
  assert.deepEqual(kinds(leases(300, 0), leases(300, 100)), ['budget']);
  assert.deepEqual(kinds(leases(300, 100), leases(300, 300)), []);
  assert.deepEqual(kinds(leases(300, 300, 80), leases(300, 300, 100)), ['budget']);
});

test('findTransitions: a new limit message, reported once', () => {
  const waited = new Set<string>();
  const notified = lease({
    enforcement: { message: message('It uses 45 GiB of its GPU, more than its 40 GiB.') }
  });
  const kinds = (before: typeof notified, after: typeof notified) =>
    findTransitions([before], [after], waited).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), notified), ['limit']);
  assert.deepEqual(kinds(notified, notified), []);
  assert.deepEqual(kinds(notified, lease()), []);
});

test('findTransitions: each new fault message, reported once', () => {
  const faulty = lease({ health: { message: message('Your code read outside its memory: Xid 31.') } });
  const kinds = (before: typeof faulty, after: typeof faulty) =>
    findTransitions([before], [after], new Set()).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), faulty), ['fault']);
  assert.deepEqual(kinds(faulty, faulty), []);
  assert.deepEqual(kinds(faulty, lease()), []);
  assert.deepEqual(kinds(faulty, lease({ health: { message: message('Its GPU is lost.') } })), ['fault']);
  assert.deepEqual(findTransitions([], [faulty], new Set()), []);
});
