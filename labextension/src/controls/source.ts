/**
 * The source of a lease's data and actions, on which all controls are built.
 *
 * JupyterLab and Notebook 7 have one made from the page's model of the pool; a widget elsewhere has one made from the
 * messages of its kernel. A source that lacks some data leaves it undefined, and the controls hide what needs it.
 *
 * The files of this folder are pure React: they import nothing but types of JupyterLab, because the widget bundles them.
 */

import type { HistoryView, LeaseView, MessageView, PoolView } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import type { IHistorySubject, Resolution } from '../leases/history';
import type { Connection } from '../leases/lease';

/** When a size would take effect. */
export type SizeEffect = 'now' | 'after_parking' | 'needs_restart' | 'queued' | 'unavailable';

/** One step of the sizes that can be requested; the server's `SizeOption`. */
export interface ISizeOption {
  /** As the user would write it: `half`, `24GiB`, `1g.10gb`. */
  readonly size: string;
  readonly devices: number;
  readonly model: string | null;
  /** That of all its devices together. */
  readonly memory_bytes: number;
  /** Per hour; null if it is unknown. */
  readonly rate_micro: number | null;
  readonly effect: SizeEffect;
  /** Why it does not take effect now; null if it does. */
  readonly reason: MessageView | null;
  readonly position: number | null;
  /** The expected wait and its basis; `wait_ms` is null if there is no estimate. */
  readonly estimate: { readonly wait_ms: number | null; readonly basis: MessageView } | null;
}

/** The sizes of a lease, or of a new request, in order of memory; the server's `SizeOptions`. */
export interface ISizeOptions {
  readonly lease_id: string | null;
  /** Null while the lease has no logical GPU. */
  readonly applied: string | null;
  readonly requested: string | null;
  readonly options: ReadonlyArray<ISizeOption>;
}

/** What sizes are asked for; without `lease_id` those of a new request. */
export interface ISizesQuery {
  readonly lease_id?: string;
  readonly model?: string;
  readonly isolation?: string;
  readonly priority?: string;
  readonly unit?: 'share' | 'memory';
}

/** The arguments of each action of a source; those of `LEASE_ACTIONS` have none. */
export interface ISourceActions extends Record<LeaseAction, undefined> {
  readonly release: undefined;
  readonly resize: { readonly size: string };
  readonly snooze: { readonly for_ms: number };
  /** Run the cells of a waiting lease on the CPU until the grant. */
  readonly cpu_meanwhile: { readonly on: boolean };
  /** Request a lease for the running kernel, which has none. */
  readonly request: { readonly size: string };
}

export type SourceAction = keyof ISourceActions;

/** What a user has spent this month, of what may be spent. */
export interface IBudget {
  readonly spent_micro: number;
  readonly budget_micro: number;
  readonly currency: string;
}

/** The lease of one kernel, with what can be done about it. */
export interface ILeaseSource {
  /** The kernel's open lease, or else the one that ended last; null if it never had one. */
  readonly lease: LeaseView | null;
  readonly connection: Connection;
  /** The browser's time of the last message; null before the first. */
  readonly updatedAt: number | null;
  /** The last samples of utilization in percent, the newest at the end; null if unknown. */
  readonly samples: ReadonlyArray<number | null>;
  /** Null before the first message. */
  readonly pool: PoolView | null;
  /** All leases of the user that the source knows, for the names of those that hold a GPU. */
  readonly leases: ReadonlyArray<LeaseView>;
  /** The number of waiting requests in the queue; null if it is unknown. */
  readonly queueLength: number | null;
  /** Whether the user may change leases. */
  readonly canAct: boolean;
  /** Whether a request about the lease is pending. */
  readonly isPending: boolean;
  /** Whether the kernel's cells wait for a lease; false if a lease needs another kernel, null if it is unknown. */
  readonly isGated: boolean | null;
  /** Return the server's time, to which the times of the lease refer. */
  now(): number;
  /** Call a listener after each change; returns the function that ends this. */
  readonly changed: (listener: () => void) => () => void;
  /**
   * Request an action of the lease, or of another one of the user's leases.
   *
   * Rejects with an error whose message is for the user.
   */
  act<A extends SourceAction>(action: A, args: ISourceActions[A], leaseId?: string): Promise<void>;
  /** Return the sizes that can be had; rejects with an error whose message is for the user. */
  sizes(query: ISizesQuery): Promise<ISizeOptions>;
  /** Return the user's budget, null if there is none; undefined if the source cannot. */
  readonly loadBudget?: () => Promise<IBudget | null>;
  /** Reconnect and load everything again. */
  refresh(): void;
  /** Undefined if the source has no history. */
  readonly loadHistory?: (
    subject: IHistorySubject,
    resolution: Resolution,
    since: number
  ) => Promise<HistoryView>;
}
