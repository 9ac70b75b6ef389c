import assert from 'node:assert/strict';
import test from 'node:test';

import type { LeaseView } from '../../src/generated/api';
import {
  GRACE_PERIOD_MS,
  INACTIVITY_TIMEOUT_MS,
  LeaseManager,
  SILENCE_MS,
  UNANSWERED_RETRY_MS
} from '../../src/leases/manager';
import { FastGPUError } from '../../src/leases/request';
import { lease, parkedFor, snapshot } from '../samples';
import { FakeAPI, FakePage, settle } from './fakes';

function setUp(): { api: FakeAPI; page: FakePage; manager: LeaseManager } {
  const [api, page] = [new FakeAPI(), new FakePage()];
  return { api, page, manager: new LeaseManager({ api, page }) };
}

/** A call, because an assertion about a property would narrow its type for the rest of the test. */
function kindOf(manager: LeaseManager): string {
  return manager.connection.kind;
}

const network = () => new FastGPUError('network', 'No route.');

test('LeaseManager: connects and is connected after the first snapshot', async () => {
  const { api, manager } = setUp();
  let emitted = 0;
  manager.changed.connect(() => (emitted += 1));
  assert.equal(kindOf(manager), 'connecting');
  await api.last.send(snapshot());
  assert.equal(kindOf(manager), 'connected');
  assert.equal(manager.state.leases.length, 1);
  assert.equal(emitted, 1);
  await api.last.send({ type: 'keepalive' });
  assert.equal(emitted, 1, 'a keepalive draws nothing');
});

test('LeaseManager: a failed connection, reports reason and next attempt with growing delays', async () => {
  const { api, page, manager } = setUp();
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    await api.last.fail(network());
    const connection = manager.connection;
    assert.ok(connection.kind === 'unreachable' && connection.retryAt !== null);
    assert.equal(connection.message, 'No route.');
    pauses.push(connection.retryAt - page.now());
    await page.advance(connection.retryAt - page.now());
    assert.equal(api.streams.length, attempt + 2, 'one attempt for each pause');
    assert.equal(api.open.length, 1);
  }
  assert.deepEqual(
    [...pauses].sort((a, b) => a - b),
    pauses
  );
  assert.ok(pauses[0] < 1_000 && pauses[8] > 20_000);
});

test('LeaseManager: a lost connection, preserves the last state', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  await api.last.end();
  assert.equal(kindOf(manager), 'connecting', 'the first loss is not reported');
  await page.advance(1_000);
  await api.last.fail(network());
  assert.equal(kindOf(manager), 'unreachable');
  assert.equal(manager.state.leases.length, 1);
  await page.advance(60_000);
  await api.last.send(snapshot({ leases: [] }));
  assert.equal(kindOf(manager), 'connected');
  assert.equal(manager.state.leases.length, 0);
});

test('LeaseManager: a server that fails after each snapshot, delays still grow', async () => {
  const { api, page } = setUp();
  for (let round = 0; round < 8; round += 1) {
    await api.last.send(snapshot());
    await api.last.fail(new FastGPUError('protocol', 'nonsense'));
    await page.advance(30_000);
  }
  const before = api.streams.length;
  await api.last.fail(network());
  await page.advance(5_000);
  assert.equal(api.streams.length, before);
});

test('LeaseManager: a hidden page has no stream, a visible one opens a new stream', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  page.show(false);
  assert.equal(api.open.length, 0);
  assert.equal(kindOf(manager), 'paused');
  await page.advance(600_000);
  assert.equal(api.streams.length, 1, 'no attempts while hidden');
  page.show(true);
  assert.equal(api.open.length, 1);
  await api.last.send(snapshot({ seq: 1, leases: [] }));
  assert.equal(manager.state.leases.length, 0);
  assert.equal(kindOf(manager), 'connected');
});

test('LeaseManager: a hidden page, does not retry', async () => {
  const { api, page } = setUp();
  await api.last.fail(network());
  page.show(false);
  await page.advance(600_000);
  assert.equal(api.streams.length, 1);
});

test('LeaseManager: no data until the timeout, closes the stream', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  await page.advance(INACTIVITY_TIMEOUT_MS - 1_000);
  await api.last.send({ type: 'keepalive' });
  await page.advance(INACTIVITY_TIMEOUT_MS - 1_000);
  assert.ok(!api.streams[0].signal.aborted);
  await page.advance(2_000);
  assert.ok(api.streams[0].signal.aborted);
  assert.equal(kindOf(manager), 'unreachable');
});

test('LeaseManager: no data for some seconds, reported with the time of the last until the next', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  const last = page.now();
  await page.advance(SILENCE_MS - 1_000);
  assert.equal(kindOf(manager), 'connected');
  await page.advance(2_000);
  assert.ok(manager.connection.kind === 'unreachable');
  assert.equal(manager.connection.since, last);
  assert.equal(manager.now(), last, 'nothing is known of the time since');
  assert.equal(api.streams.length, 1, 'the stream stays open');
  await api.last.send({ type: 'keepalive' });
  assert.equal(kindOf(manager), 'connected');
  assert.equal(manager.now(), page.now());
});

test('LeaseManager: a silent pool manager, reported at once with the time of its last message', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  const since = page.now() - SILENCE_MS;
  await api.last.send({ type: 'unreachable', message: 'It is stopped.', since });
  assert.ok(manager.connection.kind === 'unreachable');
  assert.equal(manager.connection.since, since);
});

test('LeaseManager: an unreachable pool manager, reported after the grace period', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  await api.last.send({ type: 'unreachable', message: 'It ended.', since: null });
  assert.equal(kindOf(manager), 'connecting');
  await api.last.send(snapshot({ seq: 1 }));
  assert.equal(kindOf(manager), 'connected');
  await page.advance(GRACE_PERIOD_MS * 2);
  assert.equal(kindOf(manager), 'connected');

  await api.last.send({ type: 'unreachable', message: 'It ended.', since: null });
  await page.advance(GRACE_PERIOD_MS);
  assert.deepEqual({ ...manager.connection }, {
    kind: 'unreachable',
    reason: 'pool',
    message: 'It ended.',
    retryAt: null,
    since: null
  });
  await api.last.send({ type: 'unreachable', message: 'Still not there.', since: null });
  assert.ok('message' in manager.connection);
  assert.equal(manager.connection.message, 'Still not there.');
  assert.equal(api.streams.length, 1, 'the server tries, not the page');
  await api.last.send(snapshot({ seq: 2 }));
  assert.equal(kindOf(manager), 'connected');
});

test('LeaseManager: a pool manager unreachable from the start, reported immediately', async () => {
  const { api, manager } = setUp();
  await api.last.send({ type: 'unreachable', message: 'No pool.', since: null });
  assert.equal(kindOf(manager), 'unreachable');
});

test('LeaseManager.refresh: opens a new stream', async () => {
  const { api, manager } = setUp();
  await api.last.send(snapshot());
  manager.refresh();
  assert.equal(api.streams.length, 2);
  assert.equal(api.open.length, 1);
  await api.streams[0].send(snapshot({ leases: [] }));
  assert.equal(manager.state.leases.length, 1, 'the old stream has no say any more');
});

test('LeaseManager.refresh: a hidden page, opens no stream', () => {
  const { api, page, manager } = setUp();
  page.show(false);
  manager.refresh();
  assert.equal(api.open.length, 0);
});

test('LeaseManager.release: marks the lease, applies the answer, throws a refusal', async () => {
  const { api, manager } = setUp();
  await api.last.send(snapshot());
  api.answer = () => Promise.resolve(lease({ version: 4, state: 'draining' }));
  const released = manager.release('l1');
  assert.ok(manager.pendingReleases.has('l1'));
  await released;
  assert.equal(manager.pendingReleases.size, 0);
  assert.equal(manager.state.leases[0].state, 'draining');

  api.answer = () => Promise.reject(new FastGPUError('refused', 'Not yours.'));
  await assert.rejects(manager.release('l1'), { message: 'Not yours.' });
  assert.equal(manager.pendingReleases.size, 0);
});

test('LeaseManager.release: no answer in time, asks with the same key what became of it', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  api.answer = () => Promise.reject(new FastGPUError('unanswered', 'It may have been done.'));
  const released = manager.release('l1');
  await settle();
  assert.deepEqual([...manager.unanswered], ['l1']);
  await api.last.send({ type: 'unreachable', message: 'It is stopped.', since: 0 });
  await page.advance(2 * UNANSWERED_RETRY_MS);
  assert.equal(api.keys.length, 1, 'not asked while there is no connection');
  api.answer = () => Promise.resolve(lease({ version: 4, state: 'draining' }));
  await api.last.send(snapshot({ seq: 8 }));
  await page.advance(UNANSWERED_RETRY_MS);
  await released;
  assert.equal(api.keys.length, 2);
  assert.equal(api.keys[0], api.keys[1]);
  assert.equal(manager.unanswered.size, 0);
  assert.equal(manager.state.leases[0].state, 'draining');
});

test('LeaseManager.release: an answer older than the stream, ignored', async () => {
  const { api, manager } = setUp();
  await api.last.send(snapshot({ leases: [lease({ version: 9, state: 'ended', times: { ended_at: 1 } })] }));
  api.answer = () => Promise.resolve(lease({ version: 8, state: 'draining' }));
  await manager.release('l1');
  assert.equal(manager.state.leases[0].state, 'ended');
});

test('LeaseManager.now: corrects a clock difference, ignores latency', async () => {
  const { api, page, manager } = setUp();
  assert.equal(manager.now(), page.now());
  api.serverTime = page.now() - 3_600_000;
  manager.refresh();
  assert.equal(manager.now(), page.now() - 3_600_000);
  api.serverTime = page.now() - 900;
  manager.refresh();
  assert.equal(manager.now(), page.now());
});

test('LeaseManager.dispose: no stream, timer or signal afterwards', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  let emitted = 0;
  manager.changed.connect(() => (emitted += 1));
  manager.dispose();
  assert.equal(page.timers.size, 0);
  await page.advance(600_000);
  page.show(false);
  page.show(true);
  assert.equal(api.open.length, 0);
  assert.equal(page.timers.size, 0);
  assert.equal(emitted, 0);
});

test('LeaseManager.requestAction: marks the lease, sends one request at a time, applies the answer', async () => {
  const { api, manager } = setUp();
  await api.last.send(snapshot());
  let answer: (view: LeaseView) => void = () => undefined;
  api.answer = () => new Promise(resolve => (answer = resolve));
  const first = manager.requestAction('l1', 'park');
  void manager.requestAction('l1', 'pin');
  assert.deepEqual([...manager.pendingActions], ['l1']);
  assert.equal(manager.pendingReleases.size, 0);
  answer(lease({ version: 4, state: 'parking', parking: parkedFor('requested') }));
  await first;
  assert.deepEqual(api.asked, ['park l1']);
  assert.equal(manager.pendingActions.size, 0);
  assert.equal(manager.state.leases[0].state, 'parking');
});

test('LeaseManager.requestAction: a refusal, thrown, and a new request is possible', async () => {
  const { api, manager } = setUp();
  await api.last.send(snapshot());
  api.answer = () => Promise.reject(new FastGPUError('refused', 'Not now.'));
  await assert.rejects(manager.requestAction('l1', 'park'), { message: 'Not now.' });
  assert.equal(manager.pendingActions.size, 0);
  assert.equal(manager.state.leases[0].state, 'active');
});
