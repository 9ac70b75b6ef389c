import assert from 'node:assert/strict';
import test from 'node:test';

import { availableActions, LEASE_ACTION_NAMES, LEASE_ACTIONS } from '../../src/leases/actions';
import { lease, parkedFor } from '../samples';
import { trans } from '../translation';

test('availableActions: depends on state, retention, parkable and migration', () => {
  const can = (changes: Parameters<typeof lease>[0]) => availableActions(lease(changes));
  assert.deepEqual(can({}), ['park', 'pin']);
  assert.deepEqual(can({ parking: { retention: 'hold' } }), ['park', 'unpin']);
  assert.deepEqual(can({ parking: { parkable: false } }), []);
  assert.deepEqual(can({ state: 'parked', parking: { parkable: false } }), ['resume', 'pin']);
  assert.deepEqual(can({ state: 'parking', parking: { parkable: false } }), ['pin']);
  assert.deepEqual(can({ state: 'waiting', parking: { parkable: false } }), []);
  assert.deepEqual(can({ state: 'waiting', parking: { ...parkedFor('idle'), parkable: false } }), [
    'withdraw',
    'pin'
  ]);
  for (const state of ['draining', 'ended'] as const) {
    assert.deepEqual(can({ state, parking: { retention: 'hold' }, health: { migration: 'live' } }), []);
  }
  for (const migration of ['live', 'restart'] as const) {
    assert.deepEqual(can({ health: { migration }, parking: { parkable: false } }), ['migrate']);
  }
  assert.deepEqual(can({ health: { migration: 'accepted' }, parking: { parkable: false } }), []);
});

test('LEASE_ACTIONS: each has a short label and an accessible name with the notebook', () => {
  const labels = LEASE_ACTION_NAMES.map(action => LEASE_ACTIONS[action].texts('a.ipynb', trans));
  assert.deepEqual(
    labels.map(({ label }) => label),
    ['Migrate', 'Park', 'Keep parked', 'Resume', 'Pin', 'Unpin']
  );
  for (const { aria, title, failed } of labels) {
    assert.match(aria, /a\.ipynb/);
    assert.ok(title.endsWith('.') && failed !== '');
  }
});

test('LEASE_ACTIONS: actions with the same command exclude each other', () => {
  const leases = [
    lease(),
    lease({ parking: { retention: 'hold' } }),
    lease({ state: 'parked' }),
    lease({ state: 'waiting', parking: parkedFor('idle') }),
    lease({ health: { migration: 'live' } })
  ];
  for (const available of leases.map(availableActions)) {
    const ids = available.map(action => LEASE_ACTIONS[action].command(trans).id);
    assert.equal(new Set(ids).size, ids.length);
  }
});
