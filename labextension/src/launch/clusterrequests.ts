/**
 * The requests of notebooks for kernels on a cluster, which start when their leases are granted.
 *
 * A notebook without a kernel waits: its start goes on with the grant. One that has a kernel keeps it, and is offered
 * the move when the lease is granted. A page that is loaded again finds the requests of its notebooks among the leases.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import { UUID } from '@lumino/coreutils';

import type { IntentBody, LeaseView, RequestedView } from '../generated/api';
import { OVER } from '../generated/lifecycle';
import { isOfNotebook } from '../leases/lease';
import type { ILeaseManager } from '../tokens';
import { parametersOf } from './choice';
import type { INotebook, IPlan } from './starter';

/** The requests to the server; tests provide a fake. */
export interface IRequestAPI {
  /** Request the lease of a kernel that does not run; a repeated request changes nothing. */
  requestForKernel(
    kernelId: string,
    body: { readonly kernel: string; readonly notebook: string; readonly parameters: IntentBody }
  ): Promise<RequestedView>;
}

/** `requesting`: sent; `waiting`; `starting`: the kernel starts; `offered`: granted beside another kernel; `over`. */
export type RequestPhase = 'requesting' | 'waiting' | 'starting' | 'offered' | 'over';

/** The request of one notebook. */
export interface IClusterRequest {
  readonly notebook: INotebook;
  /** The kernelspec, and the id under which its kernel starts. */
  readonly kernel: string;
  readonly kernelId: string;
  readonly size: string;
  readonly phase: RequestPhase;
  /** Null before the server has answered. */
  readonly lease: LeaseView | null;
  /** How long after the grant the lease is kept for the kernel. */
  readonly keptForMs: number | null;
}

interface IOwnRequest extends IClusterRequest {
  plan: IPlan | null;
  phase: RequestPhase;
  lease: LeaseView | null;
  keptForMs: number | null;
  /** Ends the wait of the notebook: true when the lease is granted, false if it gets no kernel from it. */
  end: ((isGranted: boolean) => void) | null;
}

export class ClusterRequests {
  constructor(options: ClusterRequests.IOptions) {
    this._options = options;
    options.manager.changed.connect(this._onChanged, this);
  }

  /** Emitted when a request has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Return the request of a notebook; null if it has none. */
  of(notebook: INotebook): IClusterRequest | null {
    return this._requests.get(notebook) ?? this._find(notebook) ?? null;
  }

  /** Return with what the notebook asked for a kernel last; null if it has not. */
  planOf(notebook: INotebook): IPlan | null {
    return this._plans.get(notebook) ?? null;
  }

  /** See `ICluster`. */
  endWait(notebook: INotebook): void {
    this._requests.get(notebook)?.end?.(false);
  }

  /** Forget a notebook that is closed; its request goes on. */
  forget(notebook: INotebook): void {
    this.endWait(notebook);
    this._requests.delete(notebook);
  }

  /** See `ICluster`. */
  async start<T>(
    plan: IPlan,
    start: (kernelId: string, leaseId: string) => Promise<T>
  ): Promise<T | null> {
    const request = await this._requested(plan);
    if (!(await this._granted(request)) || request.lease === null) {
      return null;
    }
    request.phase = 'starting';
    this._changed.emit();
    try {
      return await start(request.kernelId, request.lease.id);
    } finally {
      this._remove(request);
    }
  }

  /** Forget a request that is over, which the user has read. */
  dismiss(notebook: INotebook): void {
    const request = this._requests.get(notebook);
    if (request?.phase === 'over') {
      this._remove(request);
    }
  }

  /** Return the request of a plan: the one that the notebook has, unless the user has just chosen another one. */
  private async _requested(plan: IPlan): Promise<IOwnRequest> {
    const { notebook } = plan;
    this._plans.set(notebook, plan);
    let request = this._requests.get(notebook) ?? this._find(notebook);
    const isOther = request !== undefined && plan.isExplicit && !isSame(request, plan);
    if (request !== undefined && (request.phase === 'over' || isOther)) {
      if (isOther) {
        await this._options.manager.release(request.lease?.id ?? '').catch(() => undefined);
      }
      request.end?.(false);
      this._remove(request);
      request = undefined;
    }
    if (request !== undefined) {
      request.plan = plan;
      // A page that was loaded again does not know how long the server keeps it.
      return request.keptForMs === null && request.phase !== 'requesting' ? this._ask(request, plan) : request;
    }
    const made: IOwnRequest = {
      notebook,
      plan,
      kernel: plan.kernel,
      kernelId: UUID.uuid4(),
      size: plan.choice.size,
      phase: 'requesting',
      lease: null,
      keptForMs: null,
      end: null
    };
    this._requests.set(notebook, made);
    this._changed.emit();
    try {
      return await this._ask(made, plan);
    } catch (reason) {
      this._remove(made);
      throw reason;
    }
  }

  private async _ask(request: IOwnRequest, plan: IPlan): Promise<IOwnRequest> {
    const { lease, kept_for_ms } = await this._options.api.requestForKernel(request.kernelId, {
      kernel: request.kernel,
      notebook: request.notebook.path,
      parameters: {
        ...parametersOf(plan.choice),
        ...(request.lease === null ? {} : { lease_id: request.lease.id })
      }
    });
    request.lease = lease;
    request.keptForMs = kept_for_ms;
    request.phase = request.phase === 'requesting' ? 'waiting' : request.phase;
    this._changed.emit();
    return request;
  }

  /** Return when the lease is granted; false if the notebook has a kernel meanwhile, or the request ended. */
  private async _granted(request: IOwnRequest): Promise<boolean> {
    request.end?.(false); // an earlier start of the same notebook, which this one replaces
    if (request.lease?.state === 'active') {
      return true;
    }
    if (hasKernel(request.notebook)) {
      return false;
    }
    const granted = new Promise<boolean>(resolve => {
      request.end = isGranted => {
        request.end = null;
        resolve(isGranted);
      };
    });
    this._onChanged();
    return granted;
  }

  private _onChanged(): void {
    const { manager, notebooks } = this._options;
    if (manager.connection.kind !== 'connected') {
      return;
    }
    for (const notebook of notebooks) {
      const request = this._requests.get(notebook) ?? this._find(notebook);
      if (request !== undefined) {
        this._update(request);
      }
    }
  }

  private _update(request: IOwnRequest): void {
    const lease = this._options.manager.state.leases.find(({ id }) => id === request.lease?.id);
    if (lease === undefined || request.phase === 'starting' || request.phase === 'over') {
      return;
    }
    const before = request.lease;
    request.lease = lease;
    if (OVER.has(lease.state)) {
      void this._end(request);
      return;
    }
    if (hasKernel(request.notebook)) {
      request.end?.(false);
    }
    if (lease.state === 'active' && request.phase === 'waiting') {
      if (request.end !== null) {
        request.phase = 'starting';
        request.end(true);
      } else {
        request.phase = 'offered';
      }
    }
    if (lease !== before) {
      this._changed.emit();
    }
  }

  /** End a request: the notebook is left without a kernel if it waited for one. */
  private async _end(request: IOwnRequest): Promise<void> {
    const { end } = request;
    if (request.phase === 'over') {
      return;
    }
    request.phase = 'over';
    if (end !== null) {
      await request.notebook.stopKernel().catch(() => undefined);
      end(false);
    }
    if (request.lease === null || isByUser(request.lease)) {
      this._remove(request);
    } else {
      this._changed.emit();
    }
  }

  private _remove(request: IOwnRequest): void {
    if (this._requests.get(request.notebook) === request) {
      this._requests.delete(request.notebook);
    }
    this._changed.emit();
  }

  /** Find the request of a notebook among the leases, after the page was loaded again. */
  private _find(notebook: INotebook): IOwnRequest | undefined {
    const { manager, runs } = this._options;
    const lease = manager.state.leases.find(
      ({ cluster, holder, state }) =>
        cluster !== null &&
        !['starting', 'running'].includes(cluster.kernel?.state ?? '') &&
        ['waiting', 'preparing', 'active'].includes(state) &&
        holder.kernel_id !== null &&
        isOfNotebook(holder.notebook, notebook.path) &&
        notebook.session?.kernel?.id !== holder.kernel_id &&
        !runs(holder.kernel_id)
    );
    const kernel = this._options.kernelOf(notebook);
    if (lease === undefined || kernel === null) {
      return undefined;
    }
    const request: IOwnRequest = {
      notebook,
      plan: null,
      kernel,
      kernelId: lease.holder.kernel_id ?? '',
      size: lease.request.size,
      phase: lease.state === 'active' && hasKernel(notebook) ? 'offered' : 'waiting',
      lease,
      keptForMs: null,
      end: null
    };
    this._requests.set(notebook, request);
    return request;
  }

  private readonly _options: ClusterRequests.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _plans = new WeakMap<INotebook, IPlan>();
  private readonly _requests = new Map<INotebook, IOwnRequest>();
}

/** Return whether a notebook has a kernel that lives. */
function hasKernel({ session }: INotebook): boolean {
  const kernel = session?.kernel ?? null;
  return kernel !== null && kernel.status !== 'dead';
}

/** Return whether a plan asks for what was requested. */
function isSame(request: IOwnRequest, { kernel, choice }: IPlan): boolean {
  const before = request.plan === null ? null : JSON.stringify(request.plan.choice);
  return request.kernel === kernel && (before === null ? request.size === choice.size : before === JSON.stringify(choice));
}

/** Return whether the user has ended a lease, so that there is nothing to say about it. */
export function isByUser(lease: LeaseView): boolean {
  return lease.end_reason?.code === 'end.released' || lease.end_reason?.code === 'end.cancelled';
}

export namespace ClusterRequests {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly api: IRequestAPI;
    /** The notebooks that are open in the page. */
    readonly notebooks: Iterable<INotebook>;
    /** Return whether a kernel runs, as far as the page knows. */
    readonly runs: (kernelId: string) => boolean;
    /** Return the kernelspec with which a notebook gets a lease; null if there is none. */
    readonly kernelOf: (notebook: INotebook) => string | null;
  }
}
