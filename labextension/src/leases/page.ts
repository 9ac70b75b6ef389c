/**
 * The browser functions that the manager needs: visibility, clock, random numbers and timers.
 */

import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { IBrowser, IChannel, ILocks } from './sharedstream';

/** The browser functions that the manager needs; tests provide a fake. */
export interface IPage {
  readonly visible: boolean;
  readonly visibilityChanged: ISignal<IPage, void>;
  now(): number;
  random(): number;
  /** Call a function once after a delay; returns the function that cancels the call. */
  after(delayMs: number, run: () => void): () => void;
}

/** The implementation for real pages. */
export class BrowserPage implements IPage, IBrowser, IDisposable {
  readonly visibilityChanged = new Signal<this, void>(this);

  constructor() {
    document.addEventListener('visibilitychange', this._onVisibilityChange);
    // Some browsers report a page that is restored from the back/forward cache only by this event.
    window.addEventListener('pageshow', this._onVisibilityChange);
  }

  get visible(): boolean {
    return document.visibilityState !== 'hidden';
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Null in a browser without locks, and where the page was not loaded securely. */
  get locks(): ILocks | null {
    return navigator.locks ?? null;
  }

  /** Null in a browser without channels. */
  get openChannel(): ((name: string) => IChannel) | null {
    return typeof BroadcastChannel === 'undefined' ? null : name => new BroadcastChannel(name);
  }

  now(): number {
    return Date.now();
  }

  random(): number {
    return Math.random();
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = window.setTimeout(run, delayMs);
    return () => window.clearTimeout(timer);
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this._onVisibilityChange);
    window.removeEventListener('pageshow', this._onVisibilityChange);
    Signal.clearData(this);
  }

  private readonly _onVisibilityChange = (): void => {
    this.visibilityChanged.emit();
  };

  private _isDisposed = false;
}
