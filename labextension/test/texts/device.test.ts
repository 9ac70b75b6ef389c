import assert from 'node:assert/strict';
import test from 'node:test';

import { allocationName, healthName, unleasedProcessNotes } from '../../src/texts/device';
import type { UnleasedProcessView } from '../../src/generated/api';
import { device, GIB, message } from '../samples';
import { trans } from '../translation';

test('healthName: returns the worst condition', () => {
  const name = (changes: Parameters<typeof device>[0]) => healthName(device(changes), trans, 'en').name;
  assert.equal(name({}), 'healthy');
  assert.equal(name({ health: { state: 'suspect' } }), 'suspect');
  assert.equal(name({ health: { state: 'suspect' }, drained: true }), 'drained');
  assert.equal(name({ health: { state: 'faulty' }, drained: true }), 'faulty');
  assert.equal(name({ health: { state: 'missing' }, drained: true }), 'missing');
  const suspect = device({ health: { state: 'suspect', message: message('Xid 94.') } });
  assert.equal(healthName(suspect, trans, 'en').description, 'Xid 94.');
});

test('allocationName: as far as the viewer may know it', () => {
  const [mine] = device().allocations;
  const other = { ...mine, lease_id: null, tenant: null, notebook: null, mine: false };
  assert.equal(allocationName(mine, trans), 'train.ipynb (you)');
  assert.equal(allocationName(other, trans), 'another user');
  assert.equal(allocationName({ ...other, tenant: { key: 'uid:1002', name: 'grace' } }, trans), 'grace');
});

test('unleasedProcessNotes: one note for all processes, or one for each', () => {
  const process = (pid: number, memory_bytes: number | null): UnleasedProcessView => ({
    pid,
    user: 'root',
    memory_bytes,
    lease_id: null
  });
  const notes = (processes: UnleasedProcessView[], separate: boolean) =>
    unleasedProcessNotes(device({ unleased_processes: processes }), separate, trans, 'en');
  assert.deepEqual(notes([], false), []);
  assert.match(notes([process(7, GIB)], false)[0], /^Process 7 of user root uses GPU memory \(1 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, 2 * GIB)], false)[0], /^2 processes use GPU memory \(3 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, null)], false)[0], /\(unknown\)/);
  assert.equal(notes([process(7, GIB), process(8, null)], true).length, 2);
});
