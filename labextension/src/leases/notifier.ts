/**
 * The leases whose grant the user wants to be notified of, once each, also after the page was loaded again.
 *
 * While there is one, the page follows the pool although it is hidden.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../generated/api';
import type { IGrantNotifier, ILeaseManager } from '../tokens';
import { isOpen } from './lease';

/** A longer list loses its oldest entries. */
const CHOSEN_MAX = 50;

/** Where the choices are kept; tests provide a fake. */
export interface IChoiceStore {
  load(): Promise<ReadonlyArray<string>>;
  save(leaseIds: ReadonlyArray<string>): Promise<void>;
}

export class GrantNotifier implements IGrantNotifier {
  constructor(options: GrantNotifier.IOptions) {
    this._options = options;
    options.manager.changed.connect(this._onChanged, this);
    void this._load();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  isChosen(leaseId: string | null): boolean {
    return leaseId !== null && this._chosen.has(leaseId);
  }

  handles(leaseId: string): boolean {
    return this._chosen.has(leaseId) || this._announced.has(leaseId);
  }

  choose(leaseId: string | null, isChosen: boolean): void {
    if (leaseId === null || this._chosen.has(leaseId) === isChosen) {
      return;
    }
    if (isChosen) {
      this._chosen.add(leaseId);
      this._announced.delete(leaseId);
      this._options.onChosen();
      for (const oldest of [...this._chosen].slice(0, -CHOSEN_MAX)) {
        this._chosen.delete(oldest);
      }
    } else {
      this._chosen.delete(leaseId);
    }
    this._save();
  }

  private async _load(): Promise<void> {
    const loaded = await this._options.store.load().catch(() => []);
    if (loaded.length > 0) {
      this._chosen = new Set([...loaded, ...this._chosen]);
      this._followIfChosen();
      this._changed.emit();
      this._onChanged();
    }
  }

  private _save(): void {
    this._followIfChosen();
    this._changed.emit();
    // A choice that cannot be kept still holds until the page is closed.
    void this._options.store.save([...this._chosen]).catch(() => undefined);
  }

  private _followIfChosen(): void {
    this._options.manager.followsWhileHidden = this._chosen.size > 0;
  }

  private _onChanged(): void {
    const { manager } = this._options;
    if (this._chosen.size === 0 || manager.connection.kind !== 'connected') {
      return;
    }
    const leases = new Map(manager.state.leases.map(lease => [lease.id, lease]));
    let isDone = false;
    for (const id of [...this._chosen]) {
      const lease = leases.get(id);
      if (lease !== undefined && lease.state === 'active') {
        this._announced.add(id);
        this._chosen.delete(id);
        isDone = true;
        this._options.announce(lease);
      } else if (lease === undefined || !isOpen(lease)) {
        this._chosen.delete(id);
        isDone = true;
      }
    }
    if (isDone) {
      this._save();
    }
  }

  private readonly _options: GrantNotifier.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private _chosen = new Set<string>();
  /** Announced by this page, which announces nothing else about the same grant. */
  private readonly _announced = new Set<string>();
}

export namespace GrantNotifier {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly store: IChoiceStore;
    /** Notify the user of the grant of a lease. */
    readonly announce: (lease: LeaseView) => void;
    /** Called when the user has chosen a lease, in the same event. */
    readonly onChosen: () => void;
  }
}
