/**
 * The source of a lease's data and actions, on which all controls are built.
 *
 * JupyterLab and Notebook 7 have one made from the page's model of the pool; a widget elsewhere has one made from the
 * messages of its kernel. A source that lacks some data leaves it undefined, and the controls hide what needs it.
 *
 * The files of this folder are pure React: they import nothing but types of JupyterLab, because the widget bundles them.
 */

import type { AdviceView, HistoryView, LeaseView, PoolView, SizeOption, SizeOptions } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import type { IHistorySubject, Resolution } from '../leases/history';
import type { Connection } from '../leases/lease';

/** When a size would take effect. */
export type SizeEffect = SizeOption['effect'];

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
  /** Refused if the lease has another size by now than `seen`, the one that its user saw. */
  readonly resize: { readonly size: string; readonly seen?: string };
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
  /** The part at which the user is warned, in thousandths; undefined for a lease's own budget. */
  readonly warn_milli?: number;
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
  sizes(query: ISizesQuery): Promise<SizeOptions>;
  /** Return the user's budget, null if there is none; undefined if the source cannot. */
  readonly loadBudget?: () => Promise<IBudget | null>;
  /** Return the advice on the size of a lease; undefined if the source cannot. */
  readonly loadAdvice?: (leaseId: string) => Promise<AdviceView>;
  /** Give no advice for the notebook of a lease, or give it again; undefined if the source cannot. */
  readonly silenceAdvice?: (leaseId: string, silenced: boolean) => Promise<AdviceView>;
  /** Reconnect and load everything again. */
  refresh(): void;
  /** Undefined if the source has no history. */
  readonly loadHistory?: (
    subject: IHistorySubject,
    resolution: Resolution,
    since: number
  ) => Promise<HistoryView>;
}
