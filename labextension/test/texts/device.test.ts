import assert from 'node:assert/strict';
import test from 'node:test';

import { foreignProcessNotes, healthName, holdingName, holdingStateName } from '../../src/texts/device';
import type { IForeignProcess } from '../../src/leases/lease';
import { device, GIB } from '../samples';
import { trans } from '../translation';

test('healthName: returns the worst condition', () => {
  const name = (changes: Parameters<typeof device>[0]) => healthName(device(changes), trans).name;
  assert.equal(name({}), 'healthy');
  assert.equal(name({ health: 'suspect' }), 'suspect');
  assert.equal(name({ health: 'suspect', drained: true }), 'drained');
  assert.equal(name({ health: 'faulty', drained: true }), 'faulty');
  assert.equal(healthName(device({ health: 'suspect', health_reason: 'Xid 94.' }), trans).description, 'Xid 94.');
});

test('holdingName, holdingStateName: hidden names and unknown states', () => {
  const [mine] = device().holdings;
  const other = { ...mine, lease_id: null, tenant: null, notebook: null, mine: false };
  assert.equal(holdingName(mine, trans), 'train.ipynb (you)');
  assert.equal(holdingName(other, trans), 'another user');
  assert.equal(holdingName({ ...other, tenant: 'grace' }, trans), 'grace');
  assert.equal(holdingStateName(mine, trans), 'active');
  assert.equal(holdingStateName({ ...mine, state: 'draining' }, trans), 'releasing');
  assert.equal(holdingStateName({ ...mine, state: 'something new' }, trans), 'something new');
});

test('foreignProcessNotes: one note for all processes, or one for each', () => {
  const process = (pid: number, memory_bytes: number | null): IForeignProcess => ({
    pid,
    user: 'root',
    memory_bytes,
    lease_id: null
  });
  const notes = (foreign: IForeignProcess[], each: boolean) =>
    foreignProcessNotes(device({ foreign }), each, trans, 'en');
  assert.deepEqual(notes([], false), []);
  assert.match(notes([process(7, GIB)], false)[0], /^Process 7 of user root uses GPU memory \(1 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, 2 * GIB)], false)[0], /^2 processes use GPU memory \(3 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, null)], false)[0], /\(unknown\)/);
  assert.equal(notes([process(7, GIB), process(8, null)], true).length, 2);
});
