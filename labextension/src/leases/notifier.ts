/**
 * What the user has chosen to be notified of, once each, also after the page was loaded again.
 *
 * While there is something, the page follows the stream although it is hidden.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../generated/api';
import type { IChoiceNotifier, ILeaseManager } from '../tokens';
import { isOpen } from './lease';

/** A longer list loses its oldest entries. */
const CHOSEN_MAX = 50;

/** Where the choices are kept; tests provide a fake. */
export interface IChoiceStore {
  load(): Promise<ReadonlyArray<string>>;
  save(ids: ReadonlyArray<string>): Promise<void>;
}

/** Whether what the user waits for has come, is still to come, or cannot come any more. */
export type Progress = 'reached' | 'pending' | 'over';

export class ChoiceNotifier<T> implements IChoiceNotifier {
  constructor(options: ChoiceNotifier.IOptions<T>) {
    this._options = options;
    options.manager.changed.connect(this._onChanged, this);
    void this._load();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  isChosen(id: string | null): boolean {
    return id !== null && this._chosen.has(id);
  }

  handles(id: string): boolean {
    return this._chosen.has(id) || this._announced.has(id);
  }

  choose(id: string | null, isChosen: boolean): void {
    if (id === null || this._chosen.has(id) === isChosen) {
      return;
    }
    if (isChosen) {
      this._chosen.add(id);
      this._announced.delete(id);
      this._options.onChosen();
      for (const oldest of [...this._chosen].slice(0, -CHOSEN_MAX)) {
        this._chosen.delete(oldest);
      }
    } else {
      this._chosen.delete(id);
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
    this._options.manager.followWhileHidden(this, this._chosen.size > 0);
  }

  private _onChanged(): void {
    const { find, progressOf, announce } = this._options;
    const subjects = this._chosen.size === 0 ? null : find();
    if (subjects === null) {
      return;
    }
    let isDone = false;
    for (const id of [...this._chosen]) {
      const subject = subjects.get(id);
      const progress = subject === undefined ? 'over' : progressOf(subject);
      if (progress === 'pending') {
        continue;
      }
      this._chosen.delete(id);
      isDone = true;
      if (subject !== undefined && progress === 'reached') {
        this._announced.add(id);
        announce(subject);
      }
    }
    if (isDone) {
      this._save();
    }
  }

  private readonly _options: ChoiceNotifier.IOptions<T>;
  private readonly _changed = new Signal<this, void>(this);
  private _chosen = new Set<string>();
  /** Announced by this page, which announces nothing else about the same event. */
  private readonly _announced = new Set<string>();
}

export namespace ChoiceNotifier {
  export interface IOptions<T> {
    readonly manager: ILeaseManager;
    readonly store: IChoiceStore;
    /** Return what can be chosen, by id; null while it is not known. */
    readonly find: () => ReadonlyMap<string, T> | null;
    readonly progressOf: (subject: T) => Progress;
    /** Notify the user. */
    readonly announce: (subject: T) => void;
    /** Called when the user has chosen something, in the same event. */
    readonly onChosen: () => void;
  }
}

/** The leases whose grant the user wants to be notified of. */
export class GrantNotifier extends ChoiceNotifier<LeaseView> {
  constructor(options: Omit<ChoiceNotifier.IOptions<LeaseView>, 'find' | 'progressOf'>) {
    const { manager } = options;
    super({
      ...options,
      find: () =>
        manager.connection.kind === 'connected'
          ? new Map(manager.state.leases.map(lease => [lease.id, lease]))
          : null,
      progressOf: lease =>
        lease.state === 'active' ? 'reached' : isOpen(lease) ? 'pending' : 'over'
    });
  }
}
