import assert from 'node:assert/strict';
import test from 'node:test';

import type { IPoolState, IUsage } from '../../src/leases/lease';
import { leaseOfKernel } from '../../src/leases/lease';
import { EMPTY_STATE, ENDED_MAX, HISTORY_MAX, reduce } from '../../src/leases/reduce';
import { device, GIB, lease, pool, snapshot, ticket } from '../samples';

const loaded: IPoolState = reduce(EMPTY_STATE, snapshot());

function usage(percent: number | null, changes = {}): IUsage {
  return {
    type: 'usage',
    devices: [{ id: 'GPU-1', utilization_percent: 70, memory_used_bytes: 9 * GIB }],
    leases: [
      {
        id: 'l1',
        utilization_percent: percent,
        memory_used_bytes: GIB,
        active_ms: 6_000,
        cost_micro: 1_700,
        ...changes
      }
    ]
  };
}

test('a snapshot replaces everything but the charts of leases that are still there', () => {
  const charted = reduce(loaded, usage(33));
  const again = reduce(charted, snapshot({ seq: 1, leases: [lease(), lease({ id: 'l9' })] }));
  assert.equal(again.seq, 1);
  assert.deepEqual(again.history, { l1: [33] });
  const gone = reduce(again, snapshot({ seq: 2, leases: [lease({ id: 'l9' })] }));
  assert.deepEqual(gone.history, {});
  assert.deepEqual(
    gone.leases.map(each => each.id),
    ['l9']
  );
});

test('a change before the snapshot is ignored', () => {
  const changed = { type: 'changed', seq: 1, devices: [], leases: [lease()], queue: [] } as const;
  assert.equal(reduce(EMPTY_STATE, changed), EMPTY_STATE);
});

test('a change replaces what it names, keeps the rest, and brings the whole queue', () => {
  const next = reduce(loaded, {
    type: 'changed',
    seq: 8,
    devices: [device({ id: 'GPU-0', index: 0 })],
    leases: [lease({ id: 'l2', version: 1, state: 'waiting', requested_at: 20_000 })],
    queue: [ticket({ place: 2, mine: false }), ticket({ place: 1 })]
  });
  assert.deepEqual(
    next.devices.map(each => each.id),
    ['GPU-0', 'GPU-1']
  );
  assert.deepEqual(
    next.leases.map(each => each.id),
    ['l1', 'l2']
  );
  assert.deepEqual(
    next.queue.map(each => each.place),
    [1, 2]
  );
  assert.equal(next.pool, loaded.pool);
});

test('a change that is late or doubled is ignored', () => {
  const changed = { type: 'changed', seq: 7, devices: [], leases: [], queue: [ticket()] } as const;
  assert.equal(reduce(loaded, changed), loaded);
});

test('an older version of a lease does not replace a newer one', () => {
  const changed = {
    type: 'changed',
    seq: 8,
    devices: [],
    leases: [lease({ version: 2, state: 'preparing' })],
    queue: []
  } as const;
  assert.equal(reduce(loaded, changed).leases[0].state, 'active');
});

test('a change of the pool arrives', () => {
  const changed = {
    type: 'changed',
    seq: 8,
    pool: { ...pool, message: 'No driver.' },
    devices: [],
    leases: [],
    queue: []
  } as const;
  assert.equal(reduce(loaded, changed).pool?.message, 'No driver.');
});

test('usage updates meters and devices and grows the chart', () => {
  const next = reduce(reduce(loaded, usage(40)), usage(null));
  assert.deepEqual(next.history, { l1: [40, null] });
  assert.equal(next.leases[0].utilization_percent, null);
  assert.equal(next.leases[0].cost_micro, 1_700);
  assert.equal(next.devices[0].memory_used_bytes, 9 * GIB);
});

test('a meter never runs backwards', () => {
  const next = reduce(loaded, usage(40, { active_ms: 1, cost_micro: 1 }));
  assert.equal(next.leases[0].active_ms, 5_000);
  assert.equal(next.leases[0].cost_micro, 1_388);
});

test('the chart keeps the newest samples only', () => {
  let state = loaded;
  for (let sample = 0; sample < HISTORY_MAX + 5; sample += 1) {
    state = reduce(state, usage(sample % 100));
  }
  assert.equal(state.history.l1.length, HISTORY_MAX);
  assert.equal(state.history.l1[0], 5);
  assert.equal(state.history.l1[HISTORY_MAX - 1], (HISTORY_MAX + 4) % 100);
});

test('usage of what is not known, or has ended, changes nothing', () => {
  const other = { ...usage(1, { id: 'l99' }), devices: [] };
  assert.equal(reduce(loaded, other), loaded);
  const ended = reduce(EMPTY_STATE, snapshot({ leases: [lease({ state: 'ended', ended_at: 9 })] }));
  assert.equal(reduce(ended, { ...usage(1), devices: [] }), ended);
});

test('a keepalive changes nothing', () => {
  assert.equal(reduce(loaded, { type: 'keepalive' }), loaded);
});

test('the end of a lease takes its chart away', () => {
  const ended = reduce(reduce(loaded, usage(1)), {
    type: 'changed',
    seq: 9,
    devices: [],
    leases: [lease({ version: 4, state: 'ended', ended_at: 99 })],
    queue: []
  });
  assert.deepEqual(ended.history, {});
  assert.equal(ended.leases.length, 1);
});

test('ended leases do not pile up: the oldest go', () => {
  const many = Array.from({ length: ENDED_MAX + 10 }, (_, index) =>
    lease({ id: `e${index}`, state: 'ended', ended_at: index })
  );
  const state = reduce(EMPTY_STATE, snapshot({ leases: [lease(), ...many] }));
  assert.equal(state.leases.length, ENDED_MAX + 1);
  assert.ok(!state.leases.some(each => each.id === 'e0'));
  assert.ok(state.leases.some(each => each.id === `e${ENDED_MAX + 9}`));
});

test('the input is not touched', () => {
  const frozen = JSON.stringify(loaded);
  reduce(loaded, usage(5));
  assert.equal(JSON.stringify(loaded), frozen);
});

test('the lease of a kernel is the open one, else the last', () => {
  const old = lease({ id: 'old', state: 'ended', requested_at: 50_000 });
  const open = lease({ id: 'open', requested_at: 10_000 });
  const foreign = lease({ id: 'foreign', kernel_id: 'k2' });
  assert.equal(leaseOfKernel([old, open, foreign], 'k1')?.id, 'open');
  assert.equal(leaseOfKernel([old, lease({ id: 'older', state: 'ended' })], 'k1')?.id, 'old');
  assert.equal(leaseOfKernel([foreign], 'k1'), null);
  assert.equal(leaseOfKernel([lease({ kernel_id: null })], null), null);
});
