import assert from 'node:assert/strict';
import test from 'node:test';

import type { SpendingView } from '../../src/generated/api';
import { budgetState, SPENDING_REFRESH_MS, SPENDING_RETRY_MS, SpendingModel, startOfDay } from '../../src/leases/spending';
import { budgetNotes, monthName } from '../../src/texts/spending';
import { heightShares } from '../../src/views/sectionheights';
import { trans } from '../translation';

function spending(changes: Partial<SpendingView> = {}): SpendingView {
  return {
    month: '2026-11',
    currency: 'USD',
    today_micro: 31_200_000,
    month_micro: 384_000_000,
    budget_micro: 600_000_000,
    budget_policy: 'stop',
    warn_milli: 800,
    rate_micro_per_hour: 9_690_000,
    busy_micro: 264_960_000,
    idle_micro: 119_040_000,
    observed_at: 1,
    ...changes
  };
}

test('budgetState: what is left, and for how long', () => {
  const state = budgetState(spending());
  assert.equal(state?.leftMicro, 216_000_000);
  assert.equal(Math.floor((state?.leftMs ?? 0) / 3_600_000), 22);
  assert.equal(state?.warns, false);
  assert.equal(budgetState(spending({ month_micro: 480_000_000 }))?.warns, true);
  assert.equal(budgetState(spending({ month_micro: 700_000_000 }))?.part, 1);
  assert.equal(budgetState(spending({ budget_micro: 0, month_micro: 0 }))?.part, 1);
  assert.equal(budgetState(spending({ month_micro: null })), null);
  assert.equal(budgetState(spending({ budget_micro: null })), null);
});

test('budgetNotes: unknown rates are not shown as nothing', () => {
  const notes = (changes: Partial<SpendingView>) => {
    const view = spending(changes);
    const state = budgetState(view);
    assert.ok(state);
    return budgetNotes(state, view, trans, 'en').join(' ');
  };
  assert.match(notes({}), /^216\.00 USD left: about 22 h 17 min at 9\.69 USD per hour\. Warning at 80 %\.$/);
  assert.match(notes({ rate_micro_per_hour: 0 }), /nothing is billed now/);
  assert.match(notes({ rate_micro_per_hour: null }), /unknown/);
  assert.match(notes({ month_micro: 600_000_000 }), /nothing more is granted/);
  assert.equal(monthName('2026-11', 'en'), 'November 2026');
});

test('SpendingModel: one request at a time, seldom, and sooner while an amount is not known', async () => {
  let asked: number[] = [];
  let answer = spending({ observed_at: null });
  const model = new SpendingModel({
    spending: async since => {
      asked.push(since);
      return answer;
    }
  });
  const ask = async (now: number) => {
    model.refresh(now);
    model.refresh(now);
    await new Promise(resolve => setImmediate(resolve));
  };
  await ask(1_000_000);
  assert.deepEqual(asked, [startOfDay(1_000_000)]);
  await ask(1_000_000 + SPENDING_RETRY_MS - 1);
  answer = spending();
  await ask(1_000_000 + SPENDING_RETRY_MS);
  assert.equal(asked.length, 2);
  asked = [];
  await ask(1_000_000 + 2 * SPENDING_RETRY_MS);
  assert.equal(asked.length, 0);
  await ask(1_000_000 + SPENDING_RETRY_MS + SPENDING_REFRESH_MS);
  assert.equal(asked.length, 1);
});

test('SpendingModel: a failure, the known amounts stay', async () => {
  let fails = false;
  const model = new SpendingModel({
    spending: () => (fails ? Promise.reject(new Error('no answer')) : Promise.resolve(spending()))
  });
  model.refresh(0);
  await new Promise(resolve => setImmediate(resolve));
  fails = true;
  model.refresh(SPENDING_REFRESH_MS);
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(model.failure, 'no answer');
  assert.equal(model.view?.month_micro, 384_000_000);
});

test('heightShares: needs first, the rest by weight, and free room to the last', () => {
  assert.deepEqual(heightShares([100, 50, 1000], [1, 1, 1], 600), [100, 50, 450]);
  assert.deepEqual(heightShares([1000, 1000], [3, 1], 400), [300, 100]);
  assert.deepEqual(heightShares([10, 10], [1, 1], 100), [10, 90]);
  assert.deepEqual(heightShares([], [], 100), []);
});
