import assert from 'node:assert/strict';
import test from 'node:test';

import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../../src/generated/api';
import type { LeaseAction } from '../../src/leases/actions';
import type { StreamMessage } from '../../src/leases/lease';
import type { IPage } from '../../src/leases/manager';
import { GRACE_PERIOD_MS, LeaseManager, INACTIVITY_TIMEOUT_MS } from '../../src/leases/manager';
import type { ILeaseAPI } from '../../src/leases/restapi';
import { FastGPUError } from '../../src/leases/restapi';
import { lease, parkedFor, snapshot } from '../samples';

/** A page whose clock the test advances. */
class FakePage implements IPage {
  visible = true;
  readonly visibilityChanged = new Signal<this, void>(this);
  readonly timers = new Map<number, () => void>();

  now(): number {
    return this._now;
  }

  random(): number {
    return 0.5;
  }

  after(delayMs: number, run: () => void): () => void {
    // Times may coincide; the fraction keeps the keys apart and the order.
    const at = this._now + delayMs + (this._count += 1e-6);
    this.timers.set(at, run);
    return () => this.timers.delete(at);
  }

  show(visible: boolean): void {
    this.visible = visible;
    this.visibilityChanged.emit();
  }

  async advance(ms: number): Promise<void> {
    const end = this._now + ms;
    for (;;) {
      const due = [...this.timers.keys()].filter(at => at <= end + 0.5).sort((a, b) => a - b)[0];
      if (due === undefined) {
        break;
      }
      this._now = Math.max(this._now, Math.floor(due));
      const run = this.timers.get(due);
      this.timers.delete(due);
      run?.();
      await settle();
    }
    this._now = end;
    await settle();
  }

  private _now = 1_000_000;
  private _count = 0;
}

/** One connection, driven by the test. */
class FakeStream {
  constructor(readonly signal: AbortSignal) {
    signal.addEventListener('abort', () => this._wake?.());
  }

  send(message: StreamMessage): Promise<void> {
    this._queue.push(() => message);
    this._wake?.();
    return settle();
  }

  fail(error: FastGPUError): Promise<void> {
    this._queue.push(() => {
      throw error;
    });
    this._wake?.();
    return settle();
  }

  end(): Promise<void> {
    this._queue.push(() => null);
    this._wake?.();
    return settle();
  }

  async *read(): AsyncGenerator<StreamMessage> {
    for (;;) {
      while (this._queue.length === 0) {
        if (this.signal.aborted) {
          throw new FastGPUError('network', 'aborted');
        }
        await new Promise<void>(resolve => (this._wake = resolve));
      }
      const message = this._queue.shift()!();
      if (message === null) {
        return;
      }
      yield message;
    }
  }

  private readonly _queue: (() => StreamMessage | null)[] = [];
  private _wake: (() => void) | undefined;
}

class FakeAPI implements ILeaseAPI {
  readonly streams: FakeStream[] = [];
  readonly asked: string[] = [];
  serverTime: number | null = null;
  answer: () => Promise<LeaseView> = () => Promise.resolve(lease());

  events(signal: AbortSignal, onOpen: (time: number | null) => void): AsyncIterable<StreamMessage> {
    const stream = new FakeStream(signal);
    this.streams.push(stream);
    onOpen(this.serverTime);
    return stream.read();
  }

  release(): Promise<LeaseView> {
    return this.answer();
  }

  requestAction(leaseId: string, action: LeaseAction): Promise<LeaseView> {
    this.asked.push(`${action} ${leaseId}`);
    return this.answer();
  }

  get open(): FakeStream[] {
    return this.streams.filter(stream => !stream.signal.aborted);
  }

  get last(): FakeStream {
    return this.streams[this.streams.length - 1];
  }
}

/** Let everything that is ready run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

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
  assert.equal(kindOf(manager), 'connected');
  await page.advance(2_000);
  assert.ok(api.streams[0].signal.aborted);
  assert.equal(kindOf(manager), 'unreachable');
});

test('LeaseManager: an unreachable pool manager, reported after the grace period', async () => {
  const { api, page, manager } = setUp();
  await api.last.send(snapshot());
  await api.last.send({ type: 'unreachable', message: 'It ended.' });
  assert.equal(kindOf(manager), 'connecting');
  await api.last.send(snapshot({ seq: 1 }));
  assert.equal(kindOf(manager), 'connected');
  await page.advance(GRACE_PERIOD_MS * 2);
  assert.equal(kindOf(manager), 'connected');

  await api.last.send({ type: 'unreachable', message: 'It ended.' });
  await page.advance(GRACE_PERIOD_MS);
  assert.deepEqual({ ...manager.connection }, {
    kind: 'unreachable',
    reason: 'pool',
    message: 'It ended.',
    retryAt: null
  });
  await api.last.send({ type: 'unreachable', message: 'Still not there.' });
  assert.ok('message' in manager.connection);
  assert.equal(manager.connection.message, 'Still not there.');
  assert.equal(api.streams.length, 1, 'the server tries, not the page');
  await api.last.send(snapshot({ seq: 2 }));
  assert.equal(kindOf(manager), 'connected');
});

test('LeaseManager: a pool manager unreachable from the start, reported immediately', async () => {
  const { api, manager } = setUp();
  await api.last.send({ type: 'unreachable', message: 'No pool.' });
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
