import assert from 'node:assert/strict';
import test from 'node:test';

import {
  isGranting,
  isParkedOrReturning,
  leaseOfKernel
} from '../../src/leases/lease';
import { device, lease, parkedFor } from '../samples';

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
