/**
 * The user's quotas, which are not part of the event stream.
 *
 * They are requested when the page connects and whenever a lease appears, ends or changes its size or state, because
 * only then the held amount changes; never on a timer. Quotas that cannot be loaded are not shown.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { ILeaseManager } from '../tokens';
import type { GroupView, LeaseView, QuotaView } from '../generated/api';
import { sameLeases } from './lease';

/** The quota of the user or of the user's group, in thousandths of GPUs. */
export interface IEntitlement
  extends Pick<GroupView, 'guaranteed_milli' | 'limit_milli' | 'held_milli'> {
  readonly name: string;
  /** Whether it is the quota of a group. */
  readonly isGroup: boolean;
}

/** The request that the model needs; tests provide a fake. */
export interface IQuotaAPI {
  quota(): Promise<QuotaView>;
}

/** Loads the quotas and emits a signal when they change. */
export class QuotaModel {
  constructor(options: QuotaModel.IOptions) {
    this._options = options;
    options.manager.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  /** The quotas with a limit or a guarantee; empty if there is none or none is known. */
  get entitlements(): ReadonlyArray<IEntitlement> {
    return this._entitlements;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  private _onChanged(): void {
    const { manager } = this._options;
    const leases = manager.connection.kind === 'connected' ? manager.state.leases : null;
    const known = this._leases;
    if (leases === null ? known !== null : known === null || !holdSame(known, leases)) {
      this._leases = leases;
      if (leases !== null && !this._isLoading) {
        void this._load();
      }
    }
  }

  /** Send one request at a time, and another one if the leases changed during the last. */
  private async _load(): Promise<void> {
    this._isLoading = true;
    let loaded: ReadonlyArray<LeaseView> | null = null;
    while (this._leases !== null && this._leases !== loaded) {
      loaded = this._leases;
      const quota = await this._options.api.quota().catch(() => null);
      this._entitlements = quota === null ? [] : relevantEntitlements(quota);
    }
    this._isLoading = false;
    this._changed.emit();
  }

  private readonly _options: QuotaModel.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private _entitlements: ReadonlyArray<IEntitlement> = [];
  /** The leases of the last change of what is held; null while there is no connection. */
  private _leases: ReadonlyArray<LeaseView> | null = null;
  private _isLoading = false;
}

export namespace QuotaModel {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly api: IQuotaAPI;
  }
}

/** Return whether the leases hold the same amounts, as far as the page can know. */
function holdSame(before: ReadonlyArray<LeaseView>, after: ReadonlyArray<LeaseView>): boolean {
  return sameLeases(
    before,
    after,
    (old, lease) => lease.state === old.state && lease.request.size === old.request.size
  );
}

/** Return the entitlements of the user and the user's group that have a limit or a guarantee. */
export function relevantEntitlements({ tenants, groups }: QuotaView): ReadonlyArray<IEntitlement> {
  return [
    // An administrator gets the entitlements of all tenants.
    ...tenants
      .filter(({ mine }) => mine)
      .map(view => ({ ...view, name: view.tenant.name, isGroup: false })),
    ...groups.map(view => ({ ...view, name: view.group, isGroup: true }))
  ].filter(({ limit_milli, guaranteed_milli }) => limit_milli !== null || guaranteed_milli > 0);
}
