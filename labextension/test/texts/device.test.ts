import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';

import { foreignNotes, healthName, holdingName, holdingState } from '../../src/texts/device';
import type { IForeign } from '../../src/leases/lease';
import { isGranting } from '../../src/leases/lease';
import { device, GIB } from '../samples';

const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, place: string) => String(values[Number(place) - 1]))
} as unknown as TranslationBundle;

test('a device has the worst that is known of it as its name', () => {
  const name = (changes: Parameters<typeof device>[0]) => healthName(device(changes), trans).name;
  assert.equal(name({}), 'healthy');
  assert.equal(name({ health: 'suspect' }), 'suspect');
  assert.equal(name({ health: 'suspect', drained: true }), 'drained');
  assert.equal(name({ health: 'faulty', drained: true }), 'faulty');
  assert.equal(healthName(device({ health: 'suspect', health_reason: 'Xid 94.' }), trans).meaning, 'Xid 94.');
});

test('what a device has left is free only where it is granted', () => {
  assert.ok(isGranting(device()));
  assert.ok(!isGranting(device({ drained: true })));
  assert.ok(!isGranting(device({ health: 'suspect' })));
});

test('who is on a device is named as far as one may know', () => {
  const [mine] = device().holdings;
  const other = { ...mine, lease_id: null, tenant: null, notebook: null, mine: false };
  assert.equal(holdingName(mine, trans), 'train.ipynb (you)');
  assert.equal(holdingName(other, trans), 'somebody else');
  assert.equal(holdingName({ ...other, tenant: 'grace' }, trans), 'grace');
  assert.equal(holdingState(mine, trans), 'active');
  assert.equal(holdingState({ ...mine, state: 'draining' }, trans), 'releasing');
  assert.equal(holdingState({ ...mine, state: 'something new' }, trans), 'something new');
});

test('processes without a lease are one sentence, or one each where that is asked for', () => {
  const process = (pid: number, memory_bytes: number | null): IForeign => ({
    pid,
    user: 'root',
    memory_bytes,
    lease_id: null
  });
  const notes = (foreign: IForeign[], each: boolean) =>
    foreignNotes(device({ foreign }), each, trans, 'en');
  assert.deepEqual(notes([], false), []);
  assert.match(notes([process(7, GIB)], false)[0], /^Process 7 of root has memory here \(1 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, 2 * GIB)], false)[0], /^2 processes have memory here \(3 GiB\)/);
  assert.match(notes([process(7, GIB), process(8, null)], false)[0], /\(unknown\)/);
  assert.equal(notes([process(7, GIB), process(8, null)], true).length, 2);
});
