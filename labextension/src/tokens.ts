/**
 * What the plugins give each other, and other extensions.
 */

import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { Change, Connection, ILease, IPoolState } from './leases/lease';

/** The page's model of the pool. */
export interface ILeaseManager extends IDisposable {
  /** What is known of the pool: live while connected, the last known otherwise. */
  readonly state: IPoolState;
  readonly connection: Connection;
  /** When the last message came, by this browser's clock; null before the first. */
  readonly updatedAt: number | null;
  /** Emitted when `state` or `connection` have changed. */
  readonly changed: ISignal<ILeaseManager, void>;
  /** The leases whose release has been asked for and not answered yet. */
  readonly releasing: ReadonlySet<string>;
  /** The leases of which another change has been asked for and not answered yet. */
  readonly changing: ReadonlySet<string>;
  /** The time by the server's clock, which the times in `state` are in. */
  now(): number;
  /** Connect anew, now, and take a fresh snapshot. */
  refresh(): void;
  /** Give a lease back; raises a `FastGPUError` when the server refuses. */
  release(leaseId: string): Promise<void>;
  /** Park a lease, want it back, pin or unpin it; raises a `FastGPUError` when the server refuses. */
  change(leaseId: string, change: Change): Promise<void>;
}

export const ILeaseManager = new Token<ILeaseManager>(
  'fastgpu-jupyter:ILeaseManager',
  'The pool of GPUs as this page knows it, and what can be asked of leases.'
);

/** The notebook or console that the user is in, and its lease. */
export interface ICurrentLease {
  /** The kernel of the current widget; null when it has none. */
  readonly kernelId: string | null;
  /** Its lease: the open one, or the one that ended last; null when it never had one. */
  readonly lease: ILease | null;
  /** Emitted when either has changed. */
  readonly changed: ISignal<ICurrentLease, void>;
}

export const ICurrentLease = new Token<ICurrentLease>(
  'fastgpu-jupyter:ICurrentLease',
  'The lease of the notebook or console that the user is in.'
);

/** The domain of the translations. */
export const TRANSLATION_DOMAIN = 'fastgpu_jupyter';
