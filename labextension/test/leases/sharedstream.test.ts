import assert from 'node:assert/strict';
import test from 'node:test';

import type { ChangedMessage } from '../../src/generated/api';
import type { IPoolState, StreamMessage } from '../../src/leases/lease';
import { EMPTY_STATE, reduce } from '../../src/leases/reduce';
import type { IBrowser, IChannel, ILocks } from '../../src/leases/sharedstream';
import { SharedStream } from '../../src/leases/sharedstream';
import { job } from '../jobs/samples';
import { lease, snapshot } from '../samples';

/** Return a message about leases that have appeared. */
function changed(message: Pick<ChangedMessage, 'seq' | 'leases'>): ChangedMessage {
  return { type: 'changed', devices: [], queue: [], ...message };
}

/** A browser's locks, of which one page has each and others can take it. */
class FakeLocks implements ILocks {
  private _waiting: (() => void)[] = [];
  private _holder: { lost: (reason: Error) => void } | null = null;

  request(
    _: string,
    options: { readonly signal?: AbortSignal; readonly steal?: boolean },
    held: () => Promise<void>
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const take = () => {
        const holder = { lost: reject };
        this._holder = holder;
        void held().then(() => {
          resolve(undefined);
          if (this._holder === holder) {
            this._holder = null;
            this._waiting.shift()?.();
          }
        });
      };
      if (options.steal === true) {
        this._holder?.lost(new Error('AbortError'));
        take();
      } else if (this._holder === null) {
        take();
      } else {
        this._waiting.push(take);
        options.signal?.addEventListener('abort', () => {
          this._waiting = this._waiting.filter(one => one !== take);
          reject(new Error('AbortError'));
        });
      }
    });
  }
}

/** The channels of all pages, which get what the others send. */
class FakeChannels {
  private _open = new Set<IChannel>();

  readonly open = (): IChannel => {
    const channels = this._open;
    const channel: IChannel = {
      onmessage: null,
      postMessage: message => {
        for (const other of channels) {
          if (other !== channel) {
            queueMicrotask(() => other.onmessage?.({ data: structuredClone(message) } as MessageEvent));
          }
        }
      },
      close: () => void channels.delete(channel)
    };
    channels.add(channel);
    return channel;
  };
}

/** A server with as many streams as are opened, to each of which messages can be sent. */
class FakeServer {
  readonly streams: { send: (message: StreamMessage) => void; close: () => void }[] = [];

  readonly source = {
    events: (signal: AbortSignal, onOpen: (time: number | null) => void) => this._events(signal, onOpen)
  };

  private async *_events(
    signal: AbortSignal,
    onOpen: (time: number | null) => void
  ): AsyncGenerator<StreamMessage> {
    const queue: StreamMessage[] = [];
    let wake = () => undefined as void;
    let closed = false;
    const stream = {
      send: (message: StreamMessage) => {
        queue.push(message);
        wake();
      },
      close: () => {
        closed = true;
        wake();
      }
    };
    this.streams.push(stream);
    onOpen(5_000);
    try {
      for (;;) {
        const next = queue.shift();
        if (next !== undefined) {
          yield next;
        } else if (signal.aborted || closed) {
          return;
        } else {
          await new Promise<void>(resolve => {
            wake = resolve;
            signal.addEventListener('abort', () => resolve());
          });
        }
      }
    } finally {
      this.streams.splice(this.streams.indexOf(stream), 1);
    }
  }
}

/** A page that reads the shared stream. */
class FakePage {
  state: IPoolState = EMPTY_STATE;
  clock: number | null = null;
  readonly messages: string[] = [];
  readonly timers = new Set<() => void>();
  ended = false;
  private readonly _stop = new AbortController();

  constructor(server: FakeServer, locks: ILocks | null, channels: FakeChannels | null) {
    const browser: IBrowser = {
      locks,
      openChannel: channels === null ? null : channels.open,
      now: () => 1_000,
      after: (_, run) => {
        this.timers.add(run);
        return () => this.timers.delete(run);
      }
    };
    const stream = new SharedStream({
      source: server.source,
      name: 'test',
      browser,
      state: () => this.state
    });
    void this._read(stream);
  }

  get jobs(): IPoolState['jobs'] {
    return this.state.jobs;
  }

  get ids(): string[] {
    return this.state.leases.map(({ id }) => id);
  }

  close(): void {
    this._stop.abort();
  }

  private async _read(stream: SharedStream): Promise<void> {
    for await (const message of stream.events(this._stop.signal, time => (this.clock = time))) {
      this.messages.push(message.type);
      this.state = reduce(this.state, message);
    }
    this.ended = true;
  }
}

/** Let all promises and messages that can settle do so. */
async function settle(): Promise<void> {
  await new Promise(resolve => setImmediate(resolve));
}

test('SharedStream: several pages, one stream, and a page that joins gets a snapshot', async () => {
  const [server, locks, channels] = [new FakeServer(), new FakeLocks(), new FakeChannels()];
  const first = new FakePage(server, locks, channels);
  await settle();
  server.streams[0].send(snapshot({ seq: 1, leases: [lease({ id: 'a' })] }));
  await settle();
  server.streams[0].send(changed({ seq: 2, leases: [lease({ id: 'b' })] }));
  await settle();
  const second = new FakePage(server, locks, channels);
  await settle();
  assert.equal(server.streams.length, 1);
  assert.deepEqual(second.ids, ['a', 'b']);
  assert.equal(second.clock, 5_000);
  server.streams[0].send(changed({ seq: 3, leases: [lease({ id: 'c' })] }));
  await settle();
  assert.deepEqual([first.ids, second.ids], [['a', 'b', 'c'], ['a', 'b', 'c']]);
  assert.deepEqual(second.messages, ['snapshot', 'changed']);
  first.close();
  second.close();
  await settle();
  assert.equal(server.streams.length, 0);
});

test('SharedStream: the page that reads is closed, another one reads from a new snapshot on', async () => {
  const [server, locks, channels] = [new FakeServer(), new FakeLocks(), new FakeChannels()];
  const first = new FakePage(server, locks, channels);
  const second = new FakePage(server, locks, channels);
  await settle();
  server.streams[0].send(snapshot({ seq: 1, leases: [lease({ id: 'a' })] }));
  await settle();
  first.close();
  await settle();
  assert.equal(server.streams.length, 1);
  // What changed in between is in the snapshot of the new stream.
  server.streams[0].send(snapshot({ seq: 9, leases: [lease({ id: 'z' })] }));
  await settle();
  assert.deepEqual(second.ids, ['z']);
});

test('SharedStream: a page that sends nothing, another one takes the lock', async () => {
  const [server, locks, channels] = [new FakeServer(), new FakeLocks(), new FakeChannels()];
  const frozen = new FakePage(server, locks, channels);
  await settle();
  server.streams[0].send(snapshot({ seq: 1, leases: [] }));
  await settle();
  const other = new FakePage(server, locks, channels);
  await settle();
  const [takeOver] = other.timers;
  takeOver();
  await settle();
  assert.equal(server.streams.length, 1);
  server.streams[0].send(snapshot({ seq: 2, leases: [lease({ id: 'a' })] }));
  await settle();
  assert.deepEqual([frozen.ids, other.ids], [['a'], ['a']]);
  other.close();
  await settle();
  server.streams[0].send(snapshot({ seq: 3, leases: [lease({ id: 'b' })] }));
  await settle();
  assert.deepEqual(frozen.ids, ['b']);
});

test('SharedStream: a page that joins while the pool is unreachable, says so', async () => {
  const [server, locks, channels] = [new FakeServer(), new FakeLocks(), new FakeChannels()];
  const first = new FakePage(server, locks, channels);
  await settle();
  server.streams[0].send(snapshot({ seq: 1, leases: [lease({ id: 'a' })] }));
  server.streams[0].send({ type: 'unreachable', message: 'no answer', since: null });
  await settle();
  const second = new FakePage(server, locks, channels);
  await settle();
  assert.deepEqual(second.messages, ['snapshot', 'unreachable']);
  server.streams[0].close();
  await settle();
  assert.equal(first.ended, true);
  assert.equal(second.ended, false);
});

test('SharedStream: a page that joins gets the jobs, and that the dispatcher does not answer', async () => {
  const [server, locks, channels] = [new FakeServer(), new FakeLocks(), new FakeChannels()];
  const first = new FakePage(server, locks, channels);
  await settle();
  // Also while nothing is known of the pool: the jobs come from another process.
  server.streams[0].send({ type: 'jobs', jobs: [job(), job({ id: 18 })], gone: [], queue: [17, 18], reset: true });
  server.streams[0].send({ type: 'unreachable', message: 'no answer', since: null });
  await settle();
  const second = new FakePage(server, locks, channels);
  await settle();
  assert.deepEqual(second.messages, ['unreachable', 'jobs']);
  server.streams[0].send({ type: 'jobs_unreachable', message: 'It is stopped.', since: 5 });
  await settle();
  const third = new FakePage(server, locks, channels);
  await settle();
  assert.deepEqual(third.messages, ['unreachable', 'jobs', 'jobs_unreachable']);
  assert.deepEqual(third.jobs, first.jobs);
  assert.deepEqual(third.jobs.jobs.map(({ id }) => id), [18, 17]);
});

test('SharedStream: a browser without locks, each page has its own stream', async () => {
  const server = new FakeServer();
  new FakePage(server, null, new FakeChannels());
  new FakePage(server, new FakeLocks(), null);
  await settle();
  assert.equal(server.streams.length, 2);
});
