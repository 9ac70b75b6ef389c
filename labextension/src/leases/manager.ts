/**
 * The page's model of the pool: one event stream, one state, one signal.
 *
 * The pages of a browser share one open stream, and none is open while they are hidden. The last known state is preserved
 * while the connection is down, which `connection` reports; after a reconnection a new snapshot replaces the whole state.
 * The manager neither polls the server nor renders anything.
 */

import { UUID } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { ILeaseManager } from '../tokens';
import type { LeaseView, UnreachableMessage } from '../generated/api';
import type { LeaseAction } from './actions';
import type { Connection, IPoolState, StreamMessage } from './lease';
import type { IPage } from './page';
import { EMPTY_STATE, reduce } from './reduce';
import type { ILeaseAPI } from './restapi';
import { FastGPUError } from './request';
import type { IEventSource } from './sharedstream';
import { retryDelay } from './stream';

/** The connection is given up after this time without data. */
export const INACTIVITY_TIMEOUT_MS = 30_000;

/** After this time without data the connection is reported as silent. The server sends a comment every 2 s. */
export const SILENCE_MS = 5_000;

/** A change that was not answered is requested again, with the same key, after this time and while connected. */
export const UNANSWERED_RETRY_MS = 2_000;

/** A smaller difference between the clocks is attributed to network latency. */
const CLOCK_SKEW_MS_MIN = 2_000;

/** A pool manager that restarts is back within this time, so its absence is not reported earlier. */
export const GRACE_PERIOD_MS = 2_000;

/** The retry delay is reset after a connection that lasted at least this long. */
const STABLE_CONNECTION_MS_MIN = 5_000;

/** Follows the event stream and sends requests that change leases. */
export class LeaseManager implements ILeaseManager {
  constructor(options: LeaseManager.IOptions) {
    this._api = options.api;
    this._source = options.openStream?.(() => this._state) ?? options.api;
    this._page = options.page;
    this._page.visibilityChanged.connect(this._onVisibilityChanged, this);
    this._onVisibilityChanged();
    void this._api.mayChange().then(canAct => {
      if (!canAct) {
        this._canAct = false;
        this._changed.emit();
      }
    });
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

  get pendingReleases(): ReadonlySet<string> {
    return this._pendingReleases;
  }

  get pendingActions(): ReadonlySet<string> {
    return this._pendingActions;
  }

  get unanswered(): ReadonlySet<string> {
    return this._unanswered;
  }

  get canAct(): boolean {
    return this._canAct;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  now(): number {
    const { _connection: connection } = this;
    const last = connection.kind === 'unreachable' ? (connection.since ?? this._updatedAt) : null;
    return (last ?? this._page.now()) + this._clockOffset;
  }

  followWhileHidden(by: object, isNeeded: boolean): void {
    if (isNeeded !== this._followers.has(by)) {
      if (isNeeded) {
        this._followers.add(by);
      } else {
        this._followers.delete(by);
      }
      this._onVisibilityChanged();
    }
  }

  refresh(): void {
    if (this._isDisposed || !this._isFollowing) {
      return;
    }
    this._failures = 0;
    this._connect();
  }

  release(leaseId: string): Promise<void> {
    return this._request(this._pendingReleases, leaseId, key =>
      this._api.release(leaseId, key)
    );
  }

  requestAction(leaseId: string, action: LeaseAction): Promise<void> {
    return this._request(this._pendingActions, leaseId, key =>
      this._api.requestAction(leaseId, action, key)
    );
  }

  change(leaseId: string, path: string, body: object): Promise<void> {
    return this._request(this._pendingActions, leaseId, key =>
      this._api.change(leaseId, path, body, key)
    );
  }

  requestLease(kernelId: string, body: object): Promise<void> {
    return this._request(this._pendingActions, kernelId, key =>
      this._api.requestLease(kernelId, body, key)
    );
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._disconnect();
    this._page.visibilityChanged.disconnect(this._onVisibilityChanged, this);
    Signal.clearData(this);
  }

  /**
   * Send a request about a lease unless one is pending; `pending` holds the lease's id until the answer.
   *
   * A request that is not answered in time may have been done. It is sent again with the same key, which does nothing
   * twice, until there is an answer; `unanswered` holds the lease's id meanwhile.
   */
  private async _request(
    pending: Set<string>,
    leaseId: string,
    send: (key: string) => Promise<LeaseView>
  ): Promise<void> {
    if (pending.has(leaseId)) {
      return;
    }
    pending.add(leaseId);
    this._changed.emit();
    try {
      this._applyLease(await this._sendUntilAnswered(leaseId, send));
    } finally {
      pending.delete(leaseId);
      this._unanswered.delete(leaseId);
      if (!this._isDisposed) {
        this._changed.emit();
      }
    }
  }

  private async _sendUntilAnswered(
    leaseId: string,
    send: (key: string) => Promise<LeaseView>
  ): Promise<LeaseView> {
    const key = UUID.uuid4();
    for (;;) {
      try {
        return await send(key);
      } catch (reason) {
        if (
          this._isDisposed ||
          !(reason instanceof FastGPUError && reason.reason === 'unanswered')
        ) {
          throw reason;
        }
      }
      this._unanswered.add(leaseId);
      this._changed.emit();
      do {
        await new Promise<void>(resolve => this._page.after(UNANSWERED_RETRY_MS, resolve));
      } while (!this._isDisposed && this._connection.kind !== 'connected');
    }
  }

  private get _isFollowing(): boolean {
    return this._page.visible || this._followers.size > 0;
  }

  private _onVisibilityChanged(): void {
    if (this._isDisposed) {
      return;
    }
    if (!this._isFollowing) {
      this._disconnect();
      this._setConnection({ kind: 'paused' });
    } else if (this._stream === null) {
      this._failures = 0;
      this._connect();
    }
  }

  private _connect(): void {
    this._setConnection({ kind: 'connecting' });
    this._openStream();
  }

  /** Open a new stream in place of the old one; `connection` changes with its first message. */
  private _openStream(): void {
    this._disconnect();
    const stream = new AbortController();
    this._stream = stream;
    void this._readStream(stream);
  }

  /** Close the stream and cancel its timers. */
  private _disconnect(): void {
    this._cancelRetry();
    this._endGracePeriod();
    this._cancelWatchdog();
    this._isSilent = false;
    this._stream?.abort();
    this._stream = null;
  }

  /** Read one stream to its end. A stream that is no longer `this._stream` has no effect. */
  private async _readStream(stream: AbortController): Promise<void> {
    let failure = new FastGPUError('network', 'The server closed the connection.');
    let connectedAt: number | null = null;
    this._startWatchdog(stream);
    try {
      const onOpen = (serverTime: number | null) => this._setClock(serverTime);
      for await (const message of this._source.events(stream.signal, onOpen)) {
        if (stream !== this._stream) {
          return;
        }
        this._startWatchdog(stream);
        if (message.type === 'snapshot') {
          connectedAt ??= this._page.now();
        }
        this._applyMessage(message);
      }
    } catch (reason) {
      failure =
        reason instanceof FastGPUError ? reason : new FastGPUError('protocol', String(reason));
    }
    if (stream === this._stream) {
      this._onDisconnected(failure, connectedAt);
    }
  }

  private _applyMessage(message: StreamMessage): void {
    if (message.type === 'unreachable') {
      this._onPoolUnreachable(message);
      return;
    }
    if (this._isSilent) {
      this._isSilent = false;
      this._setConnection({ kind: 'connected' });
    }
    const state = reduce(this._state, message);
    if (message.type === 'snapshot' || this._connection.kind === 'connected') {
      // A keepalive has no data, but it confirms that the known state is current.
      this._updatedAt = this._page.now();
    }
    if (message.type === 'snapshot') {
      this._endGracePeriod();
      this._connection = { kind: 'connected' };
    } else if (state === this._state) {
      return;
    }
    this._state = state;
    this._changed.emit();
  }

  /** Handle a pool manager that does not answer while the server does; the server reconnects to it, not the page. */
  private _onPoolUnreachable({ message, since }: UnreachableMessage): void {
    const unreachable: Connection = {
      kind: 'unreachable',
      reason: 'pool',
      message,
      retryAt: null,
      since: since === null ? null : since - this._clockOffset
    };
    const isSilent = unreachable.since !== null && this._page.now() - unreachable.since >= SILENCE_MS;
    if (this._connection.kind === 'connected' && !isSilent) {
      this._setConnection({ kind: 'connecting' });
      this._cancelGracePeriod = this._page.after(GRACE_PERIOD_MS, () => {
        this._cancelGracePeriod = null;
        this._setConnection(unreachable);
      });
    } else if (this._cancelGracePeriod === null) {
      this._setConnection(unreachable);
    }
  }

  private _endGracePeriod(): void {
    this._cancelGracePeriod?.();
    this._cancelGracePeriod = null;
  }

  private _onDisconnected(failure: FastGPUError, connectedAt: number | null): void {
    this._disconnect();
    // Not reset at the first snapshot: a server that fails right after it would get two requests a second forever.
    if (connectedAt !== null && this._page.now() - connectedAt >= STABLE_CONNECTION_MS_MIN) {
      this._failures = 0;
    }
    this._failures += 1;
    const delay = retryDelay(this._failures, this._page.random());
    // A restarted server is back quickly: a lost connection is reported only if the next attempt fails as well.
    if (connectedAt !== null && failure.reason === 'network') {
      this._setConnection({ kind: 'connecting' });
    } else {
      this._setConnection({
        kind: 'unreachable',
        reason: failure.reason,
        message: failure.message,
        retryAt: this._page.now() + delay,
        since: this._updatedAt
      });
    }
    // `_openStream` and not `_connect`, so that the failure stays visible until there is a connection.
    this._cancelRetry = this._page.after(delay, () => this._openStream());
  }

  /** Give the stream up after a time without data; a suspended laptop or a proxy can lose it without an error. */
  private _startWatchdog(stream: AbortController): void {
    this._cancelWatchdog();
    const cancelSilence = this._page.after(SILENCE_MS, () => this._onSilence());
    const cancelTimeout = this._page.after(INACTIVITY_TIMEOUT_MS, () => {
      if (stream === this._stream) {
        this._onDisconnected(new FastGPUError('network', 'The server sends no data.'), null);
      }
    });
    this._cancelWatchdog = () => {
      cancelSilence();
      cancelTimeout();
    };
  }

  /** Report that no data comes; the stream stays open, and its next message ends this. */
  private _onSilence(): void {
    if (this._connection.kind === 'connected') {
      this._isSilent = true;
      this._setConnection({
        kind: 'unreachable',
        reason: 'network',
        message: '',
        retryAt: null,
        since: this._updatedAt
      });
    }
  }

  private _setClock(serverTime: number | null): void {
    const offset = serverTime === null ? 0 : serverTime - this._page.now();
    this._clockOffset = Math.abs(offset) < CLOCK_SKEW_MS_MIN ? 0 : offset;
  }

  /** Apply the lease in an answer without waiting for the same change in the stream. */
  private _applyLease(lease: LeaseView): void {
    const known = this._state.leases.find(({ id }) => id === lease.id);
    if (this._isDisposed || known === undefined || known.version > lease.version) {
      return;
    }
    const leases = this._state.leases.map(current => (current === known ? lease : current));
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
  private readonly _source: IEventSource;
  private readonly _page: IPage;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _pendingReleases = new Set<string>();
  private readonly _pendingActions = new Set<string>();
  private readonly _unanswered = new Set<string>();
  /** Who needs the stream to stay open while the page is hidden. */
  private readonly _followers = new Set<object>();
  private _state: IPoolState = EMPTY_STATE;
  private _connection: Connection = { kind: 'connecting' };
  private _updatedAt: number | null = null;
  private _clockOffset = 0;
  private _failures = 0;
  private _stream: AbortController | null = null;
  private _cancelRetry: () => void = () => undefined;
  /** Null unless the pool manager became unreachable and that is not reported yet. */
  private _cancelGracePeriod: (() => void) | null = null;
  private _cancelWatchdog: () => void = () => undefined;
  /** The connection is reported as unreachable although its stream is open. */
  private _isSilent = false;
  private _canAct = true;
  private _isDisposed = false;
}

export namespace LeaseManager {
  export interface IOptions {
    readonly api: ILeaseAPI;
    /** Where the messages come from, if not from the API; given a function that returns the manager's state. */
    readonly openStream?: (state: () => IPoolState) => IEventSource;
    readonly page: IPage;
  }
}
