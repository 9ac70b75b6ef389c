/** The user's jobs in the page: what the stream says of them, and the requests that change them. */

import { UUID } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { JobView, SizeOptions } from '../generated/api';
import type { IJobs, ILeaseManager } from '../tokens';
import type { IJobGPU } from '../texts/job';
import type { IJobsState } from './job';
import type { IJobsAPI } from './restapi';

/** Rates are asked for again after this time. */
const RATES_MS = 60_000;

export class JobsModel implements IJobs {
  constructor(options: JobsModel.IOptions) {
    this._options = options;
    this.api = options.api;
    options.manager.changed.connect(this._onManagerChanged, this);
    void this.api.mayChange().then(canAct => {
      if (!canAct) {
        this._canAct = false;
        this._changed.emit();
      }
    });
  }

  readonly api: IJobsAPI;

  get state(): IJobsState {
    return this._options.manager.state.jobs;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get pending(): ReadonlySet<number> {
    return this._pending;
  }

  get canAct(): boolean {
    return this._canAct;
  }

  get isHeard(): boolean {
    const { connection } = this._options.manager;
    // The server answers although the pool manager does not.
    const hasServer = connection.kind !== 'unreachable' || connection.reason === 'pool';
    return hasServer && this.state.unreachable === null;
  }

  get heardAt(): number | null {
    return this.state.unreachable?.since ?? this._options.manager.updatedAt;
  }

  now(): number {
    return this._options.manager.now();
  }

  find(id: number): JobView | null {
    return this.state.jobs.find(job => job.id === id) ?? null;
  }

  gpuOf(job: JobView): IJobGPU {
    const { leases, devices } = this._options.manager.state;
    const ids = job.gpu?.device_ids ?? [];
    const device = ids.length === 1 ? devices.find(({ id }) => id === ids[0]) : undefined;
    return {
      lease: leases.find(({ id }) => id === job.lease_id) ?? null,
      index: device?.index ?? null
    };
  }

  rateOf(size: string): { readonly rateMicro: number; readonly currency: string } | null {
    this._loadRates();
    const rate = this._sizes?.options.find(option => option.size === size)?.rate_micro;
    const currency = this._options.manager.state.pool?.currency;
    return rate === undefined || rate === null || currency === undefined ? null : { rateMicro: rate, currency };
  }

  cancel(id: number): Promise<JobView | null> {
    return this._request(id, key => this.api.cancel(id, key));
  }

  rerun(id: number): Promise<JobView | null> {
    return this._request(id, key => this.api.rerun(id, key));
  }

  refresh(): void {
    this._options.manager.refresh();
  }

  /** Send a request about a job unless one is pending. */
  private async _request(id: number, send: (key: string) => Promise<JobView>): Promise<JobView | null> {
    if (this._pending.has(id)) {
      return null;
    }
    this._pending.add(id);
    this._changed.emit();
    try {
      return await send(UUID.uuid4());
    } finally {
      this._pending.delete(id);
      this._changed.emit();
    }
  }

  private _loadRates(): void {
    const now = this._options.now();
    if (now - this._ratesAt < RATES_MS) {
      return;
    }
    this._ratesAt = now;
    void this._options.sizes().then(
      sizes => {
        this._sizes = sizes;
        this._changed.emit();
      },
      () => undefined // Without a pool manager no rate is known, and none is shown.
    );
  }

  private _onManagerChanged(): void {
    const { state, isHeard } = this;
    if (state !== this._last || isHeard !== this._wasHeard) {
      this._last = state;
      this._wasHeard = isHeard;
      this._changed.emit();
    }
  }

  private readonly _options: JobsModel.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _pending = new Set<number>();
  private _canAct = true;
  private _last: IJobsState | null = null;
  private _wasHeard = true;
  private _sizes: SizeOptions | null = null;
  private _ratesAt = -Infinity;
}

export namespace JobsModel {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly api: IJobsAPI;
    /** Return the sizes of a new request, with their rates. */
    readonly sizes: () => Promise<SizeOptions>;
    /** Return the browser's time. */
    readonly now: () => number;
  }
}
