/**
 * One event stream for all pages of a browser.
 *
 * The page that holds a lock reads the stream and sends its messages to the others. A page that joins asks for a
 * snapshot. When the reading page is closed or hidden, the browser gives the lock to another one, which opens a stream
 * of its own; its snapshot restores whatever was missed. A page that freezes keeps its lock without sending anything, so
 * that the lock is taken from it.
 */

import type { SnapshotMessage } from '../generated/api';
import type { IJobsState } from '../jobs/job';
import { jobsMessage } from '../jobs/job';
import type { IPoolState, StreamMessage } from './lease';

/** The source of messages: the server's stream, or another page. */
export interface IEventSource {
  /** See `ILeaseAPI.events`. */
  events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncIterable<StreamMessage>;
}

/** The lock is taken from a page that has sent nothing for this time. The server sends a comment every 2 s. */
export const TAKEOVER_MS = 4_500;

/** The part of `LockManager` that is needed; tests provide a fake. */
export interface ILocks {
  request(
    name: string,
    options: { readonly signal?: AbortSignal; readonly steal?: boolean },
    held: () => Promise<void>
  ): Promise<unknown>;
}

/** The part of `BroadcastChannel` that is needed; tests provide a fake. */
export interface IChannel {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** The browser functions that are needed; null where the browser has none, and each page then has its own stream. */
export interface IBrowser {
  readonly locks: ILocks | null;
  readonly openChannel: ((name: string) => IChannel) | null;
  now(): number;
  /** Call a function once after a delay; returns the function that cancels the call. */
  after(delayMs: number, run: () => void): () => void;
}

/** What pages of one version send to each other. */
type PageMessage =
  | { readonly kind: 'hello' }
  | {
      readonly kind: 'snapshot';
      readonly snapshot: SnapshotMessage;
      /** The server's clock less that of this computer. */
      readonly clockOffset: number;
      /** Whether it is only for a page that has none yet. */
      readonly isAnswer: boolean;
    }
  | { readonly kind: 'message'; readonly message: StreamMessage };

/** The messages of the server's stream, which at most one page of the browser reads. */
export class SharedStream implements IEventSource {
  constructor(options: SharedStream.IOptions) {
    this._options = options;
  }

  async *events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<StreamMessage> {
    const { browser, source, name } = this._options;
    if (browser.locks === null || browser.openChannel === null) {
      yield* source.events(signal, onOpen);
      return;
    }
    const channel = browser.openChannel(name);
    const turn = new Turn(browser.locks, name, signal);
    try {
      while (!signal.aborted) {
        yield* this._follow(channel, turn, signal, onOpen);
        if (turn.isHeld && !signal.aborted && (yield* this._lead(channel, turn, signal, onOpen))) {
          return;
        }
      }
    } finally {
      turn.release();
      channel.close();
    }
  }

  /**
   * Read the server's stream and send its messages to the other pages.
   *
   * Returns true if the server has closed the stream, false if another page has taken the lock.
   */
  private async *_lead(
    channel: IChannel,
    turn: Turn,
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<StreamMessage, boolean> {
    const { browser, source } = this._options;
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener('abort', stop);
    turn.onLost = stop;
    let clockOffset = 0;
    let hasSnapshot = false;
    let unreachable: StreamMessage | null = null;
    const send = (message: PageMessage) => channel.postMessage(message);
    channel.onmessage = ({ data }) => {
      if ((data as PageMessage).kind !== 'hello') {
        return;
      }
      const snapshot = snapshotOf(this._options.state());
      if (snapshot !== null && (hasSnapshot || unreachable !== null)) {
        send({ kind: 'snapshot', snapshot, clockOffset, isAnswer: true });
      }
      if (unreachable !== null) {
        send({ kind: 'message', message: unreachable });
      }
      for (const message of jobsMessages(this._options.state().jobs)) {
        send({ kind: 'message', message });
      }
    };
    try {
      const opened = (serverTime: number | null) => {
        clockOffset = serverTime === null ? 0 : serverTime - browser.now();
        onOpen(serverTime);
      };
      for await (const message of source.events(stream.signal, opened)) {
        if (!turn.isHeld) {
          return false;
        }
        yield message;
        // Only now this page has applied it: a snapshot that is sent to a page that joins has it, or it follows that.
        if (message.type === 'snapshot') {
          hasSnapshot = true;
          unreachable = null;
          send({ kind: 'snapshot', snapshot: message, clockOffset, isAnswer: false });
        } else {
          unreachable = message.type === 'unreachable' ? message : unreachable;
          send({ kind: 'message', message });
        }
      }
      return turn.isHeld;
    } catch (reason) {
      if (turn.isHeld || signal.aborted) {
        throw reason;
      }
      return false;
    } finally {
      channel.onmessage = null;
      signal.removeEventListener('abort', stop);
      stream.abort();
    }
  }

  /** Yield the messages of the page that reads the stream, until this page has the lock. */
  private async *_follow(
    channel: IChannel,
    turn: Turn,
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<StreamMessage> {
    const { browser } = this._options;
    const received: StreamMessage[] = [];
    let wake: () => void = () => undefined;
    let joined = false;
    channel.onmessage = ({ data }) => {
      const page = data as PageMessage;
      if (page.kind === 'hello') {
        return;
      }
      if (page.kind === 'snapshot' && !(joined && page.isAnswer)) {
        joined = true;
        onOpen(browser.now() + page.clockOffset);
        received.push(page.snapshot);
      } else if (page.kind === 'message' && (joined || isOfItself(page.message))) {
        received.push(page.message);
      }
      wake();
    };
    signal.addEventListener('abort', () => wake());
    turn.onHeld = () => wake();
    turn.request();
    channel.postMessage({ kind: 'hello' } satisfies PageMessage);
    try {
      while (!signal.aborted && !turn.isHeld) {
        const next = received.shift();
        if (next !== undefined) {
          yield next;
          continue;
        }
        await new Promise<void>(resolve => {
          const cancel = browser.after(TAKEOVER_MS, () => {
            turn.steal();
            resolve();
          });
          wake = () => {
            cancel();
            resolve();
          };
          if (received.length > 0 || turn.isHeld || signal.aborted) {
            wake();
          }
        });
      }
    } finally {
      channel.onmessage = null;
      turn.onHeld = () => undefined;
    }
  }

  private readonly _options: SharedStream.IOptions;
}

export namespace SharedStream {
  export interface IOptions {
    readonly source: IEventSource;
    /** Pages with the same name share a stream: the same server and the same version. */
    readonly name: string;
    readonly browser: IBrowser;
    /** Return the state of this page, which a page that joins gets. */
    readonly state: () => IPoolState;
  }
}

/** The lock of the page that reads the stream. */
class Turn {
  constructor(
    private readonly _locks: ILocks,
    private readonly _name: string,
    private readonly _signal: AbortSignal
  ) {}

  onHeld: () => void = () => undefined;
  onLost: () => void = () => undefined;

  get isHeld(): boolean {
    return this._release !== null;
  }

  /** Wait for the lock. */
  request(): void {
    if (!this._isWaiting && !this.isHeld) {
      this._isWaiting = true;
      this._take({ signal: this._signal });
    }
  }

  /** Take the lock from the page that has it. */
  steal(): void {
    if (!this.isHeld) {
      this._take({ steal: true });
    }
  }

  /** Give the lock back. */
  release(): void {
    this._isWaiting = false;
    this._release?.();
    this._release = null;
  }

  private _take(options: { readonly signal?: AbortSignal; readonly steal?: boolean }): void {
    let release: (() => void) | null = null;
    this._locks
      .request(this._name, options, () => {
        this._isWaiting = false;
        if (this._signal.aborted || this.isHeld) {
          return Promise.resolve();
        }
        return new Promise<void>(resolve => {
          release = resolve;
          this._release = resolve;
          this.onHeld();
        });
      })
      .catch(() => {
        // Another page took the lock, or this page has stopped waiting.
        this._isWaiting = false;
        if (release !== null && this._release === release) {
          this._release = null;
          this.onLost();
        }
      });
  }

  private _isWaiting = false;
  private _release: (() => void) | null = null;
}

/** Return a state as the first message of a stream; null before the state is known. */
function snapshotOf({ seq, pool, devices, leases, queue }: IPoolState): SnapshotMessage | null {
  return pool === null ? null : { type: 'snapshot', seq, pool, devices, leases, queue };
}

/** Return whether a message means something without the snapshot before it. */
function isOfItself({ type }: StreamMessage): boolean {
  return type === 'unreachable' || type === 'jobs' || type === 'jobs_unreachable';
}

/** Return what is known of the jobs as messages. */
function jobsMessages(state: IJobsState): ReadonlyArray<StreamMessage> {
  const { unreachable } = state;
  const known = jobsMessage(state);
  return [
    ...(known === null ? [] : [known]),
    ...(unreachable === null ? [] : [{ type: 'jobs_unreachable' as const, ...unreachable }])
  ];
}
