/**
 * The page's model of the pool: one event stream, one state, one signal.
 *
 * Promises: at most one stream is open per page, and none while nobody can see the page; the last known state is kept
 * while the connection is away, and `connection` says so; after a reconnection a fresh snapshot replaces everything.
 * Must not: ask the server on a timer, or draw anything.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { ILeaseManager } from '../tokens';
import type { Change, Connection, ILease, IPoolState, Message } from './lease';
import { EMPTY_STATE, reduce } from './reduce';
import type { ILeaseAPI } from './restapi';
import { FastGPUError } from './restapi';
import { retryDelay } from './stream';

/** The server sends at least a keepalive every 10 s; three of them missing means that the connection is dead. */
export const SILENCE_MS_MAX = 30_000;

/** A difference of the clocks below this is the network's, not the clocks'. */
const CLOCK_SKEW_MS_MIN = 2_000;

/** A pool manager that restarts is back before this: no need to alarm anybody. */
export const GRACE_MS = 2_000;

/** A connection that lived this long was a good one: the pauses start again from the shortest. */
const GOOD_MS_MIN = 5_000;

/** What the manager needs of the browser; tests put a fake in its place. */
export interface IPage {
  readonly visible: boolean;
  readonly visibilityChanged: ISignal<IPage, void>;
  now(): number;
  random(): number;
  /** Run once after a time; answers with the function that cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

export class LeaseManager implements ILeaseManager {
  constructor(options: LeaseManager.IOptions) {
    this._api = options.api;
    this._page = options.page;
    this._page.visibilityChanged.connect(this._onVisibilityChanged, this);
    this._onVisibilityChanged();
  }

  get state(): IPoolState {
    return this._state;
  }

  get connection(): Connection {
    return this._connection;
  }

  get updatedAt(): number | null {
    return this._updatedAt;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get releasing(): ReadonlySet<string> {
    return this._releasing;
  }

  get changing(): ReadonlySet<string> {
    return this._changing;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  now(): number {
    return this._page.now() + this._clockOffset;
  }

  refresh(): void {
    if (this._isDisposed || !this._page.visible) {
      return;
    }
    this._failures = 0;
    this._open();
  }

  release(leaseId: string): Promise<void> {
    return this._ask(this._releasing, leaseId, () => this._api.release(leaseId));
  }

  change(leaseId: string, change: Change): Promise<void> {
    return this._ask(this._changing, leaseId, () => this._api.change(leaseId, change));
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._close();
    this._page.visibilityChanged.disconnect(this._onVisibilityChanged, this);
    Signal.clearData(this);
  }

  /** Ask the server for something about a lease, once at a time; views know from `asked` that it is under way. */
  private async _ask(
    asked: Set<string>,
    leaseId: string,
    ask: () => Promise<ILease>
  ): Promise<void> {
    if (asked.has(leaseId)) {
      return;
    }
    asked.add(leaseId);
    this._changed.emit();
    try {
      this._takeLease(await ask());
    } finally {
      asked.delete(leaseId);
      if (!this._isDisposed) {
        this._changed.emit();
      }
    }
  }

  private _onVisibilityChanged(): void {
    if (!this._page.visible) {
      this._close();
      this._setConnection({ kind: 'paused' });
    } else if (this._stream === null) {
      this._failures = 0;
      this._open();
    }
  }

  private _open(): void {
    this._close();
    this._setConnection({ kind: 'connecting' });
    const stream = new AbortController();
    this._stream = stream;
    void this._follow(stream);
  }

  /** Stop the stream and whatever was planned for it. */
  private _close(): void {
    this._cancelRetry();
    this._endGrace();
    this._cancelWatchdog();
    this._stream?.abort();
    this._stream = null;
  }

  /** Follow one stream to its end. A stream that is no longer `this._stream` changes nothing any more. */
  private async _follow(stream: AbortController): Promise<void> {
    let failure = new FastGPUError('network', 'The server closed the connection.');
    let liveSince: number | null = null;
    this._watch(stream);
    try {
      const onOpen = (serverTime: number | null) => this._setClock(serverTime);
      for await (const message of this._api.events(stream.signal, onOpen)) {
        if (stream !== this._stream) {
          return;
        }
        this._watch(stream);
        if (message.type === 'snapshot') {
          liveSince ??= this._page.now();
        }
        this._take(message);
      }
    } catch (reason) {
      failure =
        reason instanceof FastGPUError ? reason : new FastGPUError('protocol', String(reason));
    }
    if (stream === this._stream) {
      this._onLost(failure, liveSince);
    }
  }

  private _take(message: Message): void {
    if (message.type === 'unreachable') {
      this._onPoolLost(message.message);
      return;
    }
    const state = reduce(this._state, message);
    if (message.type === 'snapshot' || this._connection.kind === 'connected') {
      // A keepalive says nothing new, but it says that what is known still holds.
      this._updatedAt = this._page.now();
    }
    if (message.type === 'snapshot') {
      this._endGrace();
      this._connection = { kind: 'connected' };
    } else if (state === this._state) {
      return;
    }
    this._state = state;
    this._changed.emit();
  }

  /** The stream lives, but the pool manager behind it does not: the server looks for it, the page waits. */
  private _onPoolLost(message: string): void {
    const lost: Connection = { kind: 'unreachable', reason: 'pool', message, retryAt: null };
    if (this._connection.kind === 'connected') {
      this._setConnection({ kind: 'connecting' });
      this._cancelGrace = this._page.after(GRACE_MS, () => {
        this._cancelGrace = null;
        this._setConnection(lost);
      });
    } else if (this._cancelGrace === null) {
      this._setConnection(lost);
    }
  }

  private _endGrace(): void {
    this._cancelGrace?.();
    this._cancelGrace = null;
  }

  private _onLost(failure: FastGPUError, liveSince: number | null): void {
    this._close();
    // Not reset at the first snapshot: a server that breaks right after it would be asked twice a second for ever.
    if (liveSince !== null && this._page.now() - liveSince >= GOOD_MS_MIN) {
      this._failures = 0;
    }
    this._failures += 1;
    const delay = retryDelay(this._failures, this._page.random());
    // A restarted server is back at once: the user hears of a lost connection only when the next attempt fails too.
    if (liveSince !== null && failure.reason === 'network') {
      this._setConnection({ kind: 'connecting' });
    } else {
      this._setConnection({
        kind: 'unreachable',
        reason: failure.reason,
        message: failure.message,
        retryAt: this._page.now() + delay
      });
    }
    this._cancelRetry = this._page.after(delay, () => this._retry());
  }

  /** As `_open`, but keeps showing why there is no connection until there is one. */
  private _retry(): void {
    this._close();
    const stream = new AbortController();
    this._stream = stream;
    void this._follow(stream);
  }

  /** A connection can die without a word (a laptop that slept, a proxy that forgot): give up after a silence. */
  private _watch(stream: AbortController): void {
    this._cancelWatchdog();
    this._cancelWatchdog = this._page.after(SILENCE_MS_MAX, () => {
      if (stream === this._stream) {
        this._onLost(new FastGPUError('network', 'The server has not been heard of.'), null);
      }
    });
  }

  private _setClock(serverTime: number | null): void {
    const offset = serverTime === null ? 0 : serverTime - this._page.now();
    this._clockOffset = Math.abs(offset) < CLOCK_SKEW_MS_MIN ? 0 : offset;
  }

  /** What the server answered to a request, without waiting for the stream to say it too. */
  private _takeLease(lease: ILease): void {
    const known = this._state.leases.find(each => each.id === lease.id);
    if (this._isDisposed || known === undefined || known.version > lease.version) {
      return;
    }
    const leases = this._state.leases.map(each => (each === known ? lease : each));
    this._state = { ...this._state, leases };
  }

  private _setConnection(connection: Connection): void {
    if (this._connection.kind === connection.kind && connection.kind !== 'unreachable') {
      return;
    }
    this._connection = connection;
    this._changed.emit();
  }

  private readonly _api: ILeaseAPI;
  private readonly _page: IPage;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _releasing = new Set<string>();
  private readonly _changing = new Set<string>();
  private _state: IPoolState = EMPTY_STATE;
  private _connection: Connection = { kind: 'connecting' };
  private _updatedAt: number | null = null;
  private _clockOffset = 0;
  private _failures = 0;
  private _stream: AbortController | null = null;
  private _cancelRetry: () => void = () => undefined;
  /** Null unless the pool manager has just gone away and nobody has been told yet. */
  private _cancelGrace: (() => void) | null = null;
  private _cancelWatchdog: () => void = () => undefined;
  private _isDisposed = false;
}

export namespace LeaseManager {
  export interface IOptions {
    readonly api: ILeaseAPI;
    readonly page: IPage;
  }
}
