/** Whether a cluster grants the leases of the pool, and what starts kernels there, which is loaded when it is needed. */

import type { ILeaseManager } from '../tokens';
import type { ClusterRequests } from './clusterrequests';
import type { INotebook, IPlan } from './starter';

/** A page that does not know the pool yet waits so long for it before it starts a kernel. */
const POOL_MS = 3_000;

/** Starts kernels of notebooks on a cluster. */
export interface ICluster {
  /** Return whether a cluster grants the leases; false where that is not known in time. */
  isUsed(): Promise<boolean>;
  /** End the wait of a notebook that gets a kernel of this machine; its request goes on. */
  endWait(notebook: INotebook): void;
  /**
   * Request the lease of a kernel, or find the one that was requested, and call `start` with the id of the kernel and
   * that of the lease when it is granted.
   *
   * Null if the notebook gets no kernel from this: it goes on with the one that it has, or the user chose otherwise.
   */
  start<T>(plan: IPlan, start: (kernelId: string, leaseId: string) => Promise<T>): Promise<T | null>;
}

export class Cluster implements ICluster {
  constructor(
    private readonly _manager: ILeaseManager,
    private readonly _load: () => Promise<ClusterRequests>
  ) {}

  /** Return the requests of this page. */
  requests(): Promise<ClusterRequests> {
    this._requests ??= this._load();
    return this._requests;
  }

  async isUsed(): Promise<boolean> {
    const { _manager: manager } = this;
    if (manager.state.pool === null && manager.connection.kind === 'connecting') {
      await new Promise<void>(resolve => {
        const done = () => {
          clearTimeout(timer);
          manager.changed.disconnect(onChanged);
          resolve();
        };
        const timer = setTimeout(done, POOL_MS);
        const onChanged = () => {
          if (manager.state.pool !== null || manager.connection.kind === 'unreachable') {
            done();
          }
        };
        manager.changed.connect(onChanged);
      });
    }
    return isCluster(manager);
  }

  async start<T>(plan: IPlan, start: (kernelId: string, leaseId: string) => Promise<T>): Promise<T | null> {
    return (await this.requests()).start(plan, start);
  }

  endWait(notebook: INotebook): void {
    void this._requests?.then(requests => requests.endWait(notebook));
  }

  /** Forget a notebook that is closed. */
  forget(notebook: INotebook): void {
    void this._requests?.then(requests => requests.forget(notebook));
  }

  private _requests: Promise<ClusterRequests> | null = null;
}

/** Return whether a cluster grants the leases of the pool, as far as it is known. */
export function isCluster({ state }: Pick<ILeaseManager, 'state'>): boolean {
  return (state.pool?.cluster ?? null) !== null;
}
