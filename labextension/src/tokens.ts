/**
 * The services that the plugins provide to each other and to other extensions.
 */

import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { JobView, LeaseView } from './generated/api';
import type { IJobsState } from './jobs/job';
import type { IJobsAPI } from './jobs/restapi';
import type { IJobGPU } from './texts/job';
import type { LeaseAction } from './leases/actions';
import type { Cluster } from './launch/cluster';
import type { Consent } from './launch/consent';
import type { NotebookDocument } from './launch/document';
import type { KernelStarter } from './launch/starter';
import type { Connection, IPoolState } from './leases/lease';

/** The page's model of the pool. */
export interface ILeaseManager extends IDisposable {
  /** The current state of the pool while connected, otherwise the last known one. */
  readonly state: IPoolState;
  readonly connection: Connection;
  /** The browser's time at which the last message arrived; null before the first. */
  readonly updatedAt: number | null;
  /** Emitted when `state`, `connection` or the pending requests have changed. */
  readonly changed: ISignal<ILeaseManager, void>;
  /** The ids of leases with a pending request for their release. */
  readonly pendingReleases: ReadonlySet<string>;
  /** The ids of leases with a pending request for another action, and of kernels with one for a lease. */
  readonly pendingActions: ReadonlySet<string>;
  /** The ids of leases with a request that was not answered in time and may have been done. */
  readonly unanswered: ReadonlySet<string>;
  /** Set whether someone needs the stream to stay open while the page is hidden. */
  followWhileHidden(by: object, isNeeded: boolean): void;
  /**
   * Return the server's time, to which the times in `state` refer. While the pool manager is unreachable it is that of
   * the last message: how long a kernel has been idle is not known from then on.
   */
  now(): number;
  /** Reconnect immediately and load a new snapshot. */
  refresh(): void;
  /** Release a lease; throws a `FastGPUError` if the server refuses. */
  release(leaseId: string): Promise<void>;
  /** Request an action on a lease; throws a `FastGPUError` if the server refuses. */
  requestAction(leaseId: string, action: LeaseAction): Promise<void>;
  /** Post a body to a path of a lease; throws a `FastGPUError` if the server refuses. */
  change(leaseId: string, path: string, body: object): Promise<void>;
  /** Request a lease for a running kernel that has none; throws a `FastGPUError` if the server refuses. */
  requestLease(kernelId: string, body: object): Promise<void>;
  /** Whether the user may change leases, as far as the server says. */
  readonly canAct: boolean;
}

export const ILeaseManager = new Token<ILeaseManager>(
  'fastgpu-jupyter:ILeaseManager',
  'The state of the GPU pool and the requests that change leases.'
);

/** The lease of the notebook or console that the user works in. */
export interface ICurrentLease {
  /** The kernel of the current widget; null if it has none. */
  readonly kernelId: string | null;
  /** The kernel's open lease, or else the one that ended last; null if it never had one. */
  readonly lease: LeaseView | null;
  /** Emitted when either has changed. */
  readonly changed: ISignal<ICurrentLease, void>;
}

export const ICurrentLease = new Token<ICurrentLease>(
  'fastgpu-jupyter:ICurrentLease',
  'The lease of the notebook or console that the user works in.'
);

/** Starts the kernels of notebooks with the sizes that users choose. */
export interface IKernelStart {
  readonly starter: KernelStarter;
  /** What the user has agreed to that notebooks ask for. */
  readonly consent: Consent;
  /** The notebooks that are open in the page. */
  readonly documents: ReadonlySet<NotebookDocument>;
  /** Starts kernels on a cluster, if one grants the leases. */
  readonly cluster: Cluster;
}

export const IKernelStart = new Token<IKernelStart>(
  'fastgpu-jupyter:IKernelStart',
  'Starts the kernels of notebooks with the sizes that users choose.'
);

/** What the user wants to be notified of, by id. */
export interface IChoiceNotifier {
  /** Return whether what happens next to a lease or a job will be announced. */
  isChosen(id: string | null): boolean;
  /** Return whether the notifier will announce that, or has done so. */
  handles(id: string): boolean;
  /** Set whether it is announced. Call it in an event of the user: the browser may ask then. */
  choose(id: string | null, isChosen: boolean): void;
  /** Emitted when a choice has changed. */
  readonly changed: ISignal<IChoiceNotifier, void>;
}

/** The leases whose grant the user wants to be notified of. */
export type IGrantNotifier = IChoiceNotifier;

export const IGrantNotifier = new Token<IGrantNotifier>(
  'fastgpu-jupyter:IGrantNotifier',
  'The leases whose grant the user wants to be notified of.'
);

/** The user's jobs. */
export interface IJobs {
  readonly state: IJobsState;
  /** Requests whose answers are shown at once and kept nowhere. */
  readonly api: IJobsAPI;
  /** Emitted when `state`, the pending requests or the known rates have changed. */
  readonly changed: ISignal<IJobs, void>;
  /** The numbers of jobs with a pending request. */
  readonly pending: ReadonlySet<number>;
  /** Whether the user may change jobs, as far as the server says. */
  readonly canAct: boolean;
  /** Whether what is known of the jobs is what they are now. */
  readonly isHeard: boolean;
  /** The time at which something was heard of the jobs last; null if that never was. */
  readonly heardAt: number | null;
  /** Return the server's time, to which the times of jobs refer. */
  now(): number;
  /** Return the job with a number; null if there is none. */
  find(id: number): JobView | null;
  /** Return what the page knows of the GPU of a job. */
  gpuOf(job: JobView): IJobGPU;
  /** Return what a size costs an hour now; null while that is not known. */
  rateOf(size: string): { readonly rateMicro: number; readonly currency: string } | null;
  /** Cancel a job; throws a `FastGPUError` if the server refuses. Null if a request about it is pending. */
  cancel(id: number): Promise<JobView | null>;
  /** Submit a job again, and return the new one; see `cancel`. */
  rerun(id: number): Promise<JobView | null>;
  /** Reconnect and load everything again. */
  refresh(): void;
}

export const IJobs = new Token<IJobs>('fastgpu-jupyter:IJobs', "The user's jobs.");

/** The jobs whose end the user wants to be notified of, by number. */
export type IJobNotifier = IChoiceNotifier;

export const IJobNotifier = new Token<IJobNotifier>(
  'fastgpu-jupyter:IJobNotifier',
  'The jobs whose end the user wants to be notified of.'
);

/** The domain of the translations. */
export const TRANSLATION_DOMAIN = 'fastgpu_jupyter';
