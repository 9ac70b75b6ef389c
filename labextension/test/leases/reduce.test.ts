import assert from 'node:assert/strict';
import test from 'node:test';

import type { UsageMessage } from '../../src/generated/api';
import type { IPoolState } from '../../src/leases/lease';
import { EMPTY_STATE, ENDED_LEASES_MAX, reduce } from '../../src/leases/reduce';
import { UTILIZATION_SAMPLES_MAX } from '../../src/leases/samples';
import { device, GIB, lease, message, pool, queueEntry, snapshot } from '../samples';

const loaded: IPoolState = reduce(EMPTY_STATE, snapshot());

function usage(
  percent: number | null,
  { id = 'l1', active_ms = 6_000, cost_micro = 1_700 } = {}
): UsageMessage {
  return {
    type: 'usage',
    devices: [
      { id: 'GPU-1', usage: { utilization_percent: 70 }, memory: { used_bytes: 9 * GIB } }
    ],
    leases: [
      {
        id,
        usage: { utilization_percent: percent, active_ms },
        memory: { used_bytes: GIB },
        money: { billed_micro_per_hour: 1_000_000, cost_micro, cost_at: 17_000 }
      }
    ]
  };
}

test('reduce: a snapshot, replaces the state except samples of remaining leases', () => {
  const charted = reduce(loaded, usage(33));
  const again = reduce(charted, snapshot({ seq: 1, leases: [lease(), lease({ id: 'l9' })] }));
  assert.equal(again.seq, 1);
  assert.deepEqual(again.samples.of('l1'), [33]);
  const gone = reduce(again, snapshot({ seq: 2, leases: [lease({ id: 'l9' })] }));
  assert.deepEqual(gone.samples.of('l1'), []);
  assert.deepEqual(
    gone.leases.map(each => each.id),
    ['l9']
  );
});

test('reduce: a change before the snapshot, ignored', () => {
  const changed = { type: 'changed', seq: 1, devices: [], leases: [lease()], queue: [] } as const;
  assert.equal(reduce(EMPTY_STATE, changed), EMPTY_STATE);
});

test('reduce: a change, replaces its devices and leases and the whole queue', () => {
  const next = reduce(loaded, {
    type: 'changed',
    seq: 8,
    devices: [device({ id: 'GPU-0', index: 0 })],
    leases: [lease({ id: 'l2', version: 1, state: 'waiting', times: { requested_at: 20_000 } })],
    queue: [queueEntry({ position: 2, mine: false }), queueEntry({ position: 1 })]
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
    next.queue.map(each => each.position),
    [1, 2]
  );
  assert.equal(next.pool, loaded.pool);
});

test('reduce: a change of the queue alone, moves a waiting lease', () => {
  const queue = (position: number) => ({
    position,
    reason: message('Waits for 80 GiB.'),
    holder: null,
    estimate_ms: null,
    estimate_basis: message('unknown')
  });
  const waiting = lease({ id: 'l2', state: 'waiting', queue: queue(4) });
  const state = reduce(loaded, snapshot({ leases: [lease(), waiting] }));
  const entries = [queueEntry({ lease_id: null, position: 1 }), queueEntry({ position: 2 })];
  const next = reduce(state, { type: 'changed', seq: 8, devices: [], leases: [], queue: entries });
  assert.deepEqual(
    next.leases.map(each => each.queue),
    [null, queue(2)]
  );
});

test('reduce: a late or repeated change, ignored', () => {
  const changed = { type: 'changed', seq: 7, devices: [], leases: [], queue: [queueEntry()] } as const;
  assert.equal(reduce(loaded, changed), loaded);
});

test('reduce: an older version of a lease, ignored', () => {
  const changed = {
    type: 'changed',
    seq: 8,
    devices: [],
    leases: [lease({ version: 2, state: 'preparing' })],
    queue: []
  } as const;
  assert.equal(reduce(loaded, changed).leases[0].state, 'active');
});

test('reduce: a change of the pool, applied', () => {
  const changed = {
    type: 'changed',
    seq: 8,
    pool: { ...pool, message: message('No driver.') },
    devices: [],
    leases: [],
    queue: []
  } as const;
  assert.equal(reduce(loaded, changed).pool?.message?.text, 'No driver.');
});

test('reduce: usage, updates meters and devices and adds a sample', () => {
  const next = reduce(reduce(loaded, usage(40)), usage(null));
  assert.deepEqual(next.samples.of('l1'), [40, null]);
  assert.equal(next.leases[0].usage.utilization_percent, null);
  assert.equal(next.leases[0].money.cost_micro, 1_700);
  assert.equal(next.devices[0].memory.used_bytes, 9 * GIB);
});

test('reduce: usage with smaller meters, does not decrease them', () => {
  const next = reduce(loaded, usage(40, { active_ms: 1, cost_micro: 1 }));
  assert.equal(next.leases[0].usage.active_ms, 5_000);
  assert.equal(next.leases[0].money.cost_micro, 1_388);
});

test('reduce: more samples than the limit, keeps the newest', () => {
  let state = loaded;
  for (let sample = 0; sample < UTILIZATION_SAMPLES_MAX + 5; sample += 1) {
    state = reduce(state, usage(sample % 100));
  }
  assert.equal(state.samples.of('l1').length, UTILIZATION_SAMPLES_MAX);
  assert.equal(state.samples.of('l1')[0], 5);
  assert.equal(state.samples.of('l1')[UTILIZATION_SAMPLES_MAX - 1], (UTILIZATION_SAMPLES_MAX + 4) % 100);
});

test('reduce: usage of unknown or ended leases, ignored', () => {
  const other = { ...usage(1, { id: 'l99' }), devices: [] };
  assert.equal(reduce(loaded, other), loaded);
  const ended = reduce(EMPTY_STATE, snapshot({ leases: [lease({ state: 'ended', times: { ended_at: 9 } })] }));
  assert.equal(reduce(ended, { ...usage(1), devices: [] }), ended);
});

test('reduce: a keepalive, returns the same state', () => {
  assert.equal(reduce(loaded, { type: 'keepalive' }), loaded);
});

test('reduce: the end of a lease, removes its samples', () => {
  const ended = reduce(reduce(loaded, usage(1)), {
    type: 'changed',
    seq: 9,
    devices: [],
    leases: [lease({ version: 4, state: 'ended', times: { ended_at: 99 } })],
    queue: []
  });
  assert.deepEqual(ended.samples.of('l1'), []);
  assert.equal(ended.leases.length, 1);
});

test('reduce: more ended leases than the limit, removes the oldest', () => {
  const many = Array.from({ length: ENDED_LEASES_MAX + 10 }, (_, index) =>
    lease({ id: `e${index}`, state: 'ended', times: { ended_at: index } })
  );
  const state = reduce(EMPTY_STATE, snapshot({ leases: [lease(), ...many] }));
  assert.equal(state.leases.length, ENDED_LEASES_MAX + 1);
  assert.ok(!state.leases.some(each => each.id === 'e0'));
  assert.ok(state.leases.some(each => each.id === `e${ENDED_LEASES_MAX + 9}`));
});

test('reduce: does not modify its input', () => {
  const frozen = JSON.stringify(loaded);
  reduce(loaded, usage(5));
  assert.equal(JSON.stringify(loaded), frozen);
});
