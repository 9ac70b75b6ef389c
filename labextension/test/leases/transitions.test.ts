import assert from 'node:assert/strict';
import test from 'node:test';

import type { LeaseState } from '../../src/leases/lease';
import { news } from '../../src/leases/transitions';
import { lease } from '../samples';

/** What is told while one lease goes through these states. */
function told(states: LeaseState[], endReason: string | null = null): string[] {
  const waited = new Set<string>();
  let before: ReturnType<typeof lease>[] = [];
  return states.flatMap(state => {
    const after = [lease({ state, end_reason: state === 'ended' ? endReason : null })];
    const found = news(before, after, waited);
    before = after;
    return found.map(({ kind }) => `${kind} at ${state}`);
  });
}

test('a GPU that was waited for is told, once', () => {
  assert.deepEqual(told(['waiting', 'preparing', 'active', 'active']), ['granted at active']);
});

test('a GPU that came at once, or was there when the page opened, is no news', () => {
  assert.deepEqual(told(['preparing', 'active']), []);
  assert.deepEqual(told(['active']), []);
});

test('a second wait is told again', () => {
  assert.equal(told(['waiting', 'active', 'parking', 'parked', 'waiting', 'resuming', 'active']).length, 2);
});

test('a loss is told, an end that was asked for is not', () => {
  for (const reason of ['revoked', 'device_lost', 'prepare_failed', 'resume_failed', 'expired']) {
    assert.deepEqual(told(['active', 'draining', 'ended', 'ended'], reason), ['lost at ended']);
  }
  for (const reason of ['released', 'cancelled', 'holder_died']) {
    assert.deepEqual(told(['waiting', 'active', 'draining', 'ended'], reason), ['granted at active']);
  }
});

test('what had been lost before the page opened is no news', () => {
  assert.deepEqual(told(['ended'], 'device_lost'), []);
});

test('a GPU that was taken from a lease that may have computed is told, once', () => {
  const lent = (reason: string) => {
    const parked = { park_reason: reason };
    const steps = [
      lease(),
      lease({ ...parked, state: 'parking' }),
      lease({ ...parked, state: 'waiting' }),
      lease(parked)
    ];
    const waited = new Set<string>();
    return steps
      .slice(1)
      .flatMap((after, step) => news([steps[step]], [after], waited))
      .map(({ kind }) => kind);
  };
  for (const reason of ['priority', 'guarantee', 'fairness', 'budget', 'over_limit']) {
    assert.deepEqual(lent(reason), ['lent', 'granted']);
  }
  for (const reason of ['asked', 'idle']) {
    assert.deepEqual(lent(reason), ['granted']);
  }
});

test('a budget that has come a step nearer to its end is told, once', () => {
  const message = 'It has cost 80 % of its budget.';
  const waited = new Set<string>();
  const told = lease({ budget_message: message });
  const kinds = (before: typeof told, after: typeof told) =>
    news([before], [after], waited).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), told), ['money']);
  assert.deepEqual(kinds(told, told), []);
  assert.deepEqual(kinds(told, lease()), []);
});

test('a lease that uses more memory than it has is told, once', () => {
  const waited = new Set<string>();
  const told = lease({ limit_message: 'It uses 45 GiB of its GPU, more than the 40 GiB that it has.' });
  const kinds = (before: typeof told, after: typeof told) =>
    news([before], [after], waited).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), told), ['limit']);
  assert.deepEqual(kinds(told, told), []);
  assert.deepEqual(kinds(told, lease()), []);
});

test('a fault is told, once, and again when it is another one', () => {
  const faulty = lease({ fault_message: 'Your code read outside its memory: Xid 31.' });
  const kinds = (before: typeof faulty, after: typeof faulty) =>
    news([before], [after], new Set()).map(({ kind }) => kind);
  assert.deepEqual(kinds(lease(), faulty), ['fault']);
  assert.deepEqual(kinds(faulty, faulty), []);
  assert.deepEqual(kinds(faulty, lease()), []);
  assert.deepEqual(kinds(faulty, lease({ fault_message: 'Its GPU is lost.' })), ['fault']);
  assert.deepEqual(news([], [faulty], new Set()), []);
});
