/** A page and a server that a test drives. */

import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../../src/generated/api';
import type { LeaseAction } from '../../src/leases/actions';
import type { StreamMessage } from '../../src/leases/lease';
import type { IPage } from '../../src/leases/page';
import type { ILeaseAPI } from '../../src/leases/restapi';
import { FastGPUError } from '../../src/leases/request';
import { lease } from '../samples';

/** A page whose clock the test advances. */
export class FakePage implements IPage {
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
export class FakeStream {
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

export class FakeAPI implements ILeaseAPI {
  readonly streams: FakeStream[] = [];
  readonly asked: string[] = [];
  readonly keys: string[] = [];
  serverTime: number | null = null;
  allowed = true;
  answer: () => Promise<LeaseView> = () => Promise.resolve(lease());

  events(signal: AbortSignal, onOpen: (time: number | null) => void): AsyncIterable<StreamMessage> {
    const stream = new FakeStream(signal);
    this.streams.push(stream);
    onOpen(this.serverTime);
    return stream.read();
  }

  release(_: string, key: string): Promise<LeaseView> {
    this.keys.push(key);
    return this.answer();
  }

  requestAction(leaseId: string, action: LeaseAction, key: string): Promise<LeaseView> {
    this.asked.push(`${action} ${leaseId}`);
    this.keys.push(key);
    return this.answer();
  }

  change(leaseId: string, path: string, body: object, key: string): Promise<LeaseView> {
    this.asked.push(`${path} ${leaseId} ${JSON.stringify(body)}`);
    this.keys.push(key);
    return this.answer();
  }

  requestLease(kernelId: string, body: object, key: string): Promise<LeaseView> {
    return this.change(kernelId, 'request', body, key);
  }

  mayChange(): Promise<boolean> {
    return Promise.resolve(this.allowed);
  }

  get open(): FakeStream[] {
    return this.streams.filter(stream => !stream.signal.aborted);
  }

  get last(): FakeStream {
    return this.streams[this.streams.length - 1];
  }
}

/** Let everything that is ready run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}
