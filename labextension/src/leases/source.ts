/** The source of a lease for the controls, made from the page's model of the pool. */

import type { AdviceView, HistoryView, LeaseView, PoolView, SizeOptions, SpendingView } from '../generated/api';
import type { IBudget, ILeaseSource, ISizesQuery, ISourceActions, SourceAction } from '../controls/source';
import type { ILeaseManager } from '../tokens';
import { LEASE_ACTION_NAMES } from './actions';
import type { LeaseAction } from './actions';
import type { IHistorySubject, Resolution } from './history';
import type { Connection } from './lease';
import { startOfDay } from './spending';

/** The requests that the source needs beside those of the manager; tests provide a fake. */
export interface ISourceAPI {
  sizes(query: ISizesQuery): Promise<SizeOptions>;
  history(subject: IHistorySubject, resolution: Resolution, since: number): Promise<HistoryView>;
  spending(since: number): Promise<SpendingView>;
  advice(leaseId: string): Promise<AdviceView>;
  silenceAdvice(leaseId: string, silenced: boolean): Promise<AdviceView>;
}

const NO_SAMPLES: ReadonlyArray<null> = [];

/** The lease that `find` chooses from the user's leases, with the requests of the page. */
export class PageSource implements ILeaseSource {
  constructor(options: PageSource.IOptions) {
    this._options = options;
  }

  get lease(): LeaseView | null {
    return this._options.find(this.leases);
  }

  get connection(): Connection {
    return this._options.manager.connection;
  }

  get updatedAt(): number | null {
    return this._options.manager.updatedAt;
  }

  get samples(): ReadonlyArray<number | null> {
    const { lease } = this;
    return lease === null ? NO_SAMPLES : this._options.manager.state.samples.of(lease.id);
  }

  get pool(): PoolView | null {
    return this._options.manager.state.pool;
  }

  get leases(): ReadonlyArray<LeaseView> {
    return this._options.manager.state.leases;
  }

  get queueLength(): number | null {
    return this.pool === null ? null : this._options.manager.state.queue.length;
  }

  get canAct(): boolean {
    return this._options.manager.canAct;
  }

  get isPending(): boolean {
    const { manager, kernelId } = this._options;
    const { lease } = this;
    return (
      (lease !== null &&
        (manager.pendingReleases.has(lease.id) || manager.pendingActions.has(lease.id))) ||
      (kernelId !== null && manager.pendingActions.has(kernelId))
    );
  }

  get isGated(): boolean | null {
    return this._options.isGated?.() ?? null;
  }

  now(): number {
    return this._options.manager.now();
  }

  readonly changed = (listener: () => void): (() => void) => {
    const { changed } = this._options.manager;
    changed.connect(listener);
    return () => {
      changed.disconnect(listener);
    };
  };

  async act<A extends SourceAction>(
    action: A,
    args: ISourceActions[A],
    leaseId?: string
  ): Promise<void> {
    const { manager, kernelId } = this._options;
    if (action === 'request') {
      if (kernelId !== null) {
        await manager.requestLease(kernelId, { ...args });
      }
      return;
    }
    const id = leaseId ?? this.lease?.id;
    if (id === undefined) {
      return;
    }
    if (action === 'release') {
      await manager.release(id);
    } else if (isLeaseAction(action)) {
      await manager.requestAction(id, action);
    } else {
      await manager.change(id, action, { ...args });
    }
  }

  sizes(query: ISizesQuery): Promise<SizeOptions> {
    return this._options.api.sizes(query);
  }

  readonly loadHistory = (
    subject: IHistorySubject,
    resolution: Resolution,
    since: number
  ): Promise<HistoryView> => this._options.api.history(subject, resolution, since);

  /** Return the budget of the month, from the same answer as the section *Spending*. */
  readonly loadBudget = async (): Promise<IBudget | null> => {
    const { month_micro, budget_micro, currency, warn_milli } = await this._options.api.spending(
      startOfDay(Date.now())
    );
    return month_micro === null || budget_micro === null
      ? null
      : { spent_micro: month_micro, budget_micro, currency, warn_milli };
  };

  readonly loadAdvice = (leaseId: string): Promise<AdviceView> => this._options.api.advice(leaseId);

  readonly silenceAdvice = (leaseId: string, silenced: boolean): Promise<AdviceView> =>
    this._options.api.silenceAdvice(leaseId, silenced);

  refresh(): void {
    this._options.manager.refresh();
  }

  private readonly _options: PageSource.IOptions;
}

export namespace PageSource {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly api: ISourceAPI;
    /** Return the lease of the source; null if there is none. */
    readonly find: (leases: ReadonlyArray<LeaseView>) => LeaseView | null;
    /** The kernel that a lease can be requested for; null if there is none. */
    readonly kernelId: string | null;
    /** Return whether the kernel's cells wait for a lease; null if that is unknown. */
    readonly isGated?: () => boolean | null;
  }
}

function isLeaseAction(action: SourceAction): action is LeaseAction {
  return (LEASE_ACTION_NAMES as ReadonlyArray<string>).includes(action);
}
