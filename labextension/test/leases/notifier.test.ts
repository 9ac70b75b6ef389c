import assert from 'node:assert/strict';
import test from 'node:test';

import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../../src/generated/api';
import { GrantNotifier } from '../../src/leases/notifier';
import type { ILeaseManager } from '../../src/tokens';
import { lease } from '../samples';
import { settle } from './fakes';

class FakeManager {
  readonly changed = new Signal<this, void>(this);
  connection = { kind: 'connected' };
  state = { leases: [] as LeaseView[] };
  followsWhileHidden = false;

  followWhileHidden(_: object, isNeeded: boolean): void {
    this.followsWhileHidden = isNeeded;
  }

  set(...leases: LeaseView[]): void {
    this.state = { leases };
    this.changed.emit();
  }
}

function setUp(stored: string[] = []) {
  const manager = new FakeManager();
  const announced: string[] = [];
  const saved: string[][] = [];
  let asked = 0;
  const notifier = new GrantNotifier({
    manager: manager as unknown as ILeaseManager,
    store: {
      load: () => Promise.resolve(stored),
      save: ids => {
        saved.push([...ids]);
        return Promise.resolve();
      }
    },
    announce: granted => announced.push(granted.id),
    onChosen: () => (asked += 1)
  });
  return { manager, announced, saved, notifier, asked: () => asked };
}

test('GrantNotifier: announces a chosen grant once, and follows while hidden until then', async () => {
  const { manager, announced, saved, notifier, asked } = setUp();
  manager.set(lease({ state: 'waiting' }));
  notifier.choose('l1', true);
  assert.deepEqual([notifier.isChosen('l1'), manager.followsWhileHidden, asked()], [true, true, 1]);
  manager.set(lease({ state: 'preparing' }));
  assert.deepEqual(announced, []);
  manager.set(lease({ state: 'active' }));
  manager.set(lease({ state: 'active', version: 9 }));
  await settle();
  assert.deepEqual(announced, ['l1']);
  assert.deepEqual(saved, [['l1'], []]);
  assert.deepEqual([notifier.isChosen('l1'), manager.followsWhileHidden], [false, false]);
  assert.ok(notifier.handles('l1'));
});

test('GrantNotifier: a grant while the page was closed, announced when it is loaded', async () => {
  const { manager, announced } = setUp(['l1']);
  manager.set(lease({ state: 'active' }));
  await settle();
  assert.deepEqual(announced, ['l1']);
});

test('GrantNotifier: a choice that was taken back or whose lease ended, announces nothing', async () => {
  const { manager, announced, saved, notifier } = setUp();
  manager.set(lease({ state: 'waiting' }), lease({ id: 'l2', state: 'waiting' }));
  notifier.choose('l1', true);
  notifier.choose('l2', true);
  notifier.choose('l1', false);
  manager.set(lease({ state: 'active' }), lease({ id: 'l2', state: 'ended' }));
  await settle();
  assert.deepEqual(announced, []);
  assert.deepEqual(saved[saved.length - 1], []);
});

test('GrantNotifier: no connection, what is unknown is not taken for ended', async () => {
  const { manager, notifier } = setUp();
  manager.set(lease({ state: 'waiting' }));
  notifier.choose('l1', true);
  manager.connection = { kind: 'unreachable' };
  manager.set();
  await settle();
  assert.ok(notifier.isChosen('l1'));
});
