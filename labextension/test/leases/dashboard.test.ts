import assert from 'node:assert/strict';
import test from 'node:test';

import { Signal } from '@lumino/signaling';

import type { AllocationView } from '../../src/generated/api';
import { csvText } from '../../src/leases/csv';
import { dashboardRows, deviceParts, totalsOf } from '../../src/leases/dashboard';
import type { IPoolState } from '../../src/leases/lease';
import type { IRecordStorage } from '../../src/leases/record';
import { PoolRecord, SAMPLE_MS, SAMPLES_MAX, sampleOf } from '../../src/leases/record';
import { EMPTY_STATE } from '../../src/leases/reduce';
import type { ILeaseManager } from '../../src/tokens';
import { device, GIB, lease, pool, queueEntry } from '../samples';

function allocation(changes: Partial<AllocationView>): AllocationView {
  return {
    lease_id: null,
    mine: false,
    memory_bytes: 0,
    notebook: null,
    job: null,
    state: 'active',
    tenant: null,
    ...changes
  };
}

const OWN = allocation({ lease_id: 'l1', mine: true, memory_bytes: 20 * GIB, notebook: '=a.ipynb' });
const OTHER = allocation({ memory_bytes: 40 * GIB });

function state(allocations: AllocationView[]): IPoolState {
  const shared = device();
  const memory = { ...shared.memory, total_bytes: 80 * GIB, free_bytes: 20 * GIB };
  return {
    ...EMPTY_STATE,
    pool,
    devices: [{ ...shared, memory, allocations }],
    leases: [lease({ id: 'l1' })],
    queue: [queueEntry()]
  };
}

test('deviceParts: own leases first, then others, then free memory, to scale', () => {
  const { devices, leases } = state([OTHER, OWN]);
  const parts = deviceParts(devices[0], new Map(leases.map(one => [one.id, one])));
  assert.deepEqual(
    parts.map(({ kind, width }) => [kind, width]),
    [['mine', 0.25], ['other', 0.5], ['free', 0.25]]
  );
  assert.equal(parts[0].lease?.id, 'l1');
  const full = deviceParts({ ...devices[0], allocations: [OTHER, OTHER, OTHER] }, new Map());
  assert.deepEqual(full.map(({ kind }) => kind), ['other', 'other', 'other']);
  assert.ok(full.every(({ width }) => Math.abs(width - 1 / 3) < 1e-9));
});

test('totalsOf: a drained device has nothing free', () => {
  const [one] = state([]).devices;
  assert.deepEqual(totalsOf([one, { ...one, drained: true }]), {
    totalBytes: 160 * GIB,
    freeBytes: 20 * GIB
  });
});

test('csvText: a row for each part, unknown values empty, and no text a formula', () => {
  const [heading, own, other, free, ...rest] = csvText(dashboardRows(state([OTHER, OWN]))).trimEnd().split('\r\n');
  assert.deepEqual(rest, []);
  assert.match(heading, /^device_index,device_id,.*,leased_bytes,cost_micro,currency$/);
  assert.match(own, new RegExp(`,yours,l1,'=a\\.ipynb,[^,]*,active,${20 * GIB},`));
  assert.match(other, new RegExp(`,others,,,,active,${40 * GIB},,$`));
  assert.match(free, new RegExp(`,free,,,,,${20 * GIB},,$`));
  assert.equal(csvText([['a"b', 'c,d', null, 1]]), '"a""b","c,d",,1\r\n');
});

/** A manager with a clock and a connection that tests set. */
class FakeManager {
  readonly state = state([OTHER, OWN]);
  connection: ILeaseManager['connection'] = { kind: 'connected' };
  clock = 0;
  readonly changed = new Signal<ILeaseManager, void>(this as unknown as ILeaseManager);

  now(): number {
    return this.clock;
  }

  tick(at: number): void {
    this.clock = at;
    this.changed.emit();
  }
}

test('PoolRecord: samples at intervals, gaps without a connection, kept for a reload', () => {
  const kept = new Map<string, string>();
  const storage: IRecordStorage = {
    getItem: key => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value)
  };
  const manager = new FakeManager();
  const record = new PoolRecord({ manager, storage, key: 'test' });
  manager.tick(SAMPLE_MS - 1);
  manager.tick(SAMPLE_MS);
  assert.deepEqual(record.samples, [sampleOf(manager.state, 0), sampleOf(manager.state, SAMPLE_MS)]);
  assert.deepEqual(record.samples[0], {
    at: 0,
    ownBytes: 20 * GIB,
    leasedBytes: 60 * GIB,
    waiting: 1
  });
  manager.connection = { kind: 'paused' };
  manager.tick(5 * SAMPLE_MS);
  manager.connection = { kind: 'connected' };
  manager.tick(9 * SAMPLE_MS);
  assert.deepEqual(record.samples.map(one => one.waiting), [1, 1, null, 1]);

  const again = new PoolRecord({ manager, storage, key: 'test' });
  assert.deepEqual(again.samples, record.samples);
  for (let index = 10; index < SAMPLES_MAX + 20; index++) {
    manager.tick(index * SAMPLE_MS);
  }
  assert.equal(again.samples.length, SAMPLES_MAX);
  for (const broken of ['{', '[{"at": "x"}]', 'null']) {
    kept.set('test', broken);
    assert.equal(new PoolRecord({ manager, storage, key: 'test' }).samples.length, 1);
  }
});
