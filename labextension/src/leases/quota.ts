/**
 * What the user may hold: fetched when there is a reason to, never on a timer.
 *
 * Quotas are not in the event stream. They are asked for when the page is connected and whenever a lease of the user's
 * came, went or changed its size, because that is when they matter; what cannot be fetched is not shown.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { ILeaseManager } from '../tokens';
import type { ILease } from './lease';

/** Amounts are in thousandths of GPUs. */
export interface IEntitlement {
  readonly name: string;
  /** A group of users together, not the user alone. */
  readonly isGroup: boolean;
  readonly guaranteed_milli: number;
  readonly limit_milli: number | null;
  readonly held_milli: number;
}

/** What is known of quotas; tests put a fake in its place. */
export interface IQuotaAPI {
  quota(): Promise<ReadonlyArray<IEntitlement>>;
}

export class Quota {
  constructor(options: Quota.IOptions) {
    this._options = options;
    options.manager.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  /** Those that limit the user, or guarantee something; empty where none does, or none is known. */
  get entitlements(): ReadonlyArray<IEntitlement> {
    return this._entitlements;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  private _onChanged(): void {
    const { manager } = this._options;
    const wanted = manager.connection.kind === 'connected' ? reasonOf(manager.state.leases) : null;
    if (wanted !== this._asked) {
      this._asked = wanted;
      if (wanted !== null && !this._asking) {
        void this._ask();
      }
    }
  }

  /** One request at a time; what changed meanwhile is asked for after it. */
  private async _ask(): Promise<void> {
    this._asking = true;
    let answered: string | null = null;
    while (this._asked !== null && this._asked !== answered) {
      answered = this._asked;
      const all = await this._options.api.quota().catch(() => []);
      this._entitlements = relevant(all, this._options.manager.state.leases);
    }
    this._asking = false;
    this._changed.emit();
  }

  private readonly _options: Quota.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private _entitlements: ReadonlyArray<IEntitlement> = [];
  /** For which picture of the leases quotas were last asked for; null while there is no connection. */
  private _asked: string | null = null;
  private _asking = false;
}

export namespace Quota {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly api: IQuotaAPI;
  }
}

/** Changes whenever what the user holds may have. */
export function reasonOf(leases: ReadonlyArray<ILease>): string {
  return leases.map(lease => `${lease.id} ${lease.state} ${lease.profile}`).join('\n');
}

/** Of those that the server knows, the ones that say something to this user. */
export function relevant(
  all: ReadonlyArray<IEntitlement>,
  leases: ReadonlyArray<ILease>
): ReadonlyArray<IEntitlement> {
  const users = all.filter(one => !one.isGroup);
  // An administrator is told of everybody; who the user is, the user's own leases say.
  const own = leases.length > 0 ? leases[leases.length - 1].tenant : users[0]?.name;
  return all.filter(
    one =>
      (one.isGroup || one.name === own) && (one.limit_milli !== null || one.guaranteed_milli > 0)
  );
}
