import assert from 'node:assert/strict';
import test from 'node:test';

import {
  isGranting,
  isParkedOrReturning,
  leaseOfKernel,
  leaseOfNotebook
} from '../../src/leases/lease';
import { device, lease, onCluster, parkedFor } from '../samples';

test('isParkedOrReturning: from parking until active again', () => {
  const isParked = (changes: Parameters<typeof lease>[0]) => isParkedOrReturning(lease(changes));
  for (const state of ['parking', 'parked'] as const) {
    assert.ok(isParked({ state }));
  }
  for (const state of ['waiting', 'resuming'] as const) {
    assert.ok(isParked({ state, parking: parkedFor('idle') }));
    assert.ok(!isParked({ state }));
  }
  assert.ok(!isParked({ state: 'active', parking: parkedFor('idle') }));
});

test('leaseOfKernel: the open lease, or else the last', () => {
  const old = lease({ id: 'old', state: 'ended', times: { requested_at: 50_000 } });
  const open = lease({ id: 'open', times: { requested_at: 10_000 } });
  const foreign = lease({ id: 'foreign', holder: { kernel_id: 'k2' } });
  assert.equal(leaseOfKernel([old, open, foreign], 'k1')?.id, 'open');
  assert.equal(leaseOfKernel([old, lease({ id: 'older', state: 'ended' })], 'k1')?.id, 'old');
  assert.equal(leaseOfKernel([foreign], 'k1'), null);
  assert.equal(leaseOfKernel([lease({ holder: { kernel_id: null } })], null), null);
});

test('isGranting: false for unhealthy and drained devices', () => {
  assert.ok(isGranting(device()));
  assert.ok(!isGranting(device({ drained: true })));
  assert.ok(!isGranting(device({ health: { state: 'suspect' } })));
  assert.ok(!isGranting(device({ health: { state: 'missing' } })));
});

test('leaseOfNotebook: the lease of its kernel, or else its request that waits on a cluster', () => {
  const asked = { state: 'waiting', holder: { kernel_id: 'k2', notebook: '/home/a/b.ipynb' } } as const;
  const request = onCluster({ ...asked, id: 'waiting' });
  const own = lease({ id: 'own' });
  const over = lease({ id: 'over', state: 'ended' });
  assert.equal(leaseOfNotebook([request, own], 'k1', 'a/b.ipynb')?.id, 'own');
  assert.equal(leaseOfNotebook([request, over], 'k1', 'a/b.ipynb')?.id, 'waiting');
  assert.equal(leaseOfNotebook([request, over], 'k1', 'b/b.ipynb')?.id, 'over');
  assert.equal(leaseOfNotebook([lease(asked)], 'k1', 'a/b.ipynb'), null, 'a local request is of its own kernel');
});
