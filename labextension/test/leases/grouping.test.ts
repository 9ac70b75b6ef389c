import assert from 'node:assert/strict';
import test from 'node:test';

import type { LeaseView } from '../../src/generated/api';
import type { IListOptions } from '../../src/leases/grouping';
import { leaseRows } from '../../src/leases/grouping';
import { rowKey } from '../../src/leases/rows';
import { lease } from '../samples';

function named(id: string, changes: Partial<LeaseView> = {}): LeaseView {
  const base = lease({ id, ...changes });
  return { ...base, holder: { ...base.holder, notebook: `${id}.ipynb` } };
}

function keys(leases: LeaseView[], changes: Partial<IListOptions> = {}): string[] {
  return leaseRows(leases, {
    currentId: null,
    filter: '',
    order: 'name',
    folded: new Set(),
    showEnded: true,
    now: 10_000,
    nameOf: one => one.holder.notebook ?? '',
    textOf: one => `${one.holder.notebook} ${one.state}`,
    ...changes
  }).map(row => rowKey(row, ({ id }) => id));
}

const ENDED = { ...lease().times, ended_at: 9_000 };

test('leaseRows: the current one first, then groups with headings in their order', () => {
  const leases = [
    named('gone', { state: 'ended', times: ENDED }),
    named('parked', { state: 'parked' }),
    named('b'),
    named('a'),
    named('current'),
    named('queued', { state: 'waiting' })
  ];
  assert.deepEqual(keys(leases, { currentId: 'current' }), [
    'current', 'group waiting', 'queued', 'group active', 'a', 'b', 'group parked', 'parked', 'group ended', 'gone'
  ]);
  assert.deepEqual(keys(leases, { folded: new Set(['active', 'parked']), showEnded: false }), [
    'group waiting', 'queued', 'group active', 'group parked'
  ]);
});

test('leaseRows: a filter with several words, also in folded groups', () => {
  const leases = [named('train-a'), named('train-b', { state: 'parked' }), named('other')];
  assert.deepEqual(keys(leases, { filter: 'TRAIN parked', folded: new Set(['parked']) }), [
    'group parked', 'train-b'
  ]);
  assert.deepEqual(keys(leases, { filter: 'nothing' }), []);
});

test('leaseRows: orders, and waiting leases always by position', () => {
  const money = lease().money;
  const cheap = named('cheap', { money: { ...money, cost_micro: 1 } });
  const dear = named('dear', { money: { ...money, cost_micro: 9 } });
  assert.deepEqual(keys([cheap, dear], { order: 'cost' }), ['group active', 'dear', 'cheap']);
  const queue = (position: number) => ({
    position,
    reason: { code: 'x', params: {}, text: '' },
    holder: null,
    estimate_ms: null,
    estimate_basis: { code: 'x', params: {}, text: '' }
  });
  const waiting = [named('a', { state: 'waiting', queue: queue(2) }), named('b', { state: 'waiting', queue: queue(1) })];
  assert.deepEqual(keys(waiting, { order: 'name' }), ['group waiting', 'b', 'a']);
});
