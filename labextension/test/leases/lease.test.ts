import assert from 'node:assert/strict';
import test from 'node:test';

import {
  isActionAvailable,
  isGranting,
  isParkedOrReturning,
  LEASE_ACTIONS,
  leaseOfKernel
} from '../../src/leases/lease';
import { device, lease } from '../samples';

test('isParkedOrReturning: from parking until active again', () => {
  const away = (changes: Parameters<typeof lease>[0]) => isParkedOrReturning(lease(changes));
  for (const state of ['parking', 'parked'] as const) {
    assert.ok(away({ state }));
  }
  for (const state of ['waiting', 'resuming'] as const) {
    assert.ok(away({ state, park_reason: 'idle' }));
    assert.ok(!away({ state }));
  }
  assert.ok(!away({ state: 'active', park_reason: 'idle' }));
});

test('isActionAvailable: depends on state, retention, parkable and move', () => {
  const can = (changes: Parameters<typeof lease>[0]) =>
    LEASE_ACTIONS.filter(change => isActionAvailable(lease(changes), change));
  assert.deepEqual(can({}), ['park', 'pin']);
  assert.deepEqual(can({ retention: 'hold' }), ['park', 'unpin']);
  assert.deepEqual(can({ parkable: false }), []);
  assert.deepEqual(can({ state: 'parked', parkable: false }), ['resume', 'pin']);
  assert.deepEqual(can({ state: 'parking', parkable: false }), ['pin']);
  assert.deepEqual(can({ state: 'waiting', parkable: false }), []);
  for (const state of ['draining', 'ended'] as const) {
    assert.deepEqual(can({ state, retention: 'hold', move: 'live' }), []);
  }
  for (const move of ['live', 'restart']) {
    assert.deepEqual(can({ move, parkable: false }), ['move']);
  }
  assert.deepEqual(can({ move: 'accepted', parkable: false }), []);
});

test('leaseOfKernel: the open lease, or else the last', () => {
  const old = lease({ id: 'old', state: 'ended', requested_at: 50_000 });
  const open = lease({ id: 'open', requested_at: 10_000 });
  const foreign = lease({ id: 'foreign', kernel_id: 'k2' });
  assert.equal(leaseOfKernel([old, open, foreign], 'k1')?.id, 'open');
  assert.equal(leaseOfKernel([old, lease({ id: 'older', state: 'ended' })], 'k1')?.id, 'old');
  assert.equal(leaseOfKernel([foreign], 'k1'), null);
  assert.equal(leaseOfKernel([lease({ kernel_id: null })], null), null);
});

test('isGranting: false for unhealthy and drained devices', () => {
  assert.ok(isGranting(device()));
  assert.ok(!isGranting(device({ drained: true })));
  assert.ok(!isGranting(device({ health: 'suspect' })));
});
