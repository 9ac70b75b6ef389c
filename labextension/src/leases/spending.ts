/**
 * What the user has spent, which is not part of the event stream: requested while it is shown, and seldom.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { SpendingView } from '../generated/api';

/** The interval between requests while the amounts are shown. */
export const SPENDING_REFRESH_MS = 10_000;

/** The interval while an amount is not known yet, because the pool manager reads its history. */
export const SPENDING_RETRY_MS = 6_000;

/** The request that the model needs; tests provide a fake. */
export interface ISpendingAPI {
  spending(since: number): Promise<SpendingView>;
}

/** Loads the amounts and emits a signal when they change. */
export class SpendingModel {
  constructor(api: ISpendingAPI) {
    this._api = api;
  }

  /** The last known amounts; null before the first answer. */
  get view(): SpendingView | null {
    return this._view;
  }

  /** The browser's time of the last answer; null before the first. */
  get loadedAt(): number | null {
    return this._loadedAt;
  }

  /** Why the last request failed; null if it did not. */
  get failure(): string | null {
    return this._failure;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Request the amounts again if that is due at the browser's time `now`; one request at a time. */
  refresh(now: number): void {
    const interval =
      this._view === null || this._view.observed_at === null
        ? SPENDING_RETRY_MS
        : SPENDING_REFRESH_MS;
    if (!this._isLoading && (this._askedAt === null || now - this._askedAt >= interval)) {
      this._askedAt = now;
      void this._load(now);
    }
  }

  private async _load(now: number): Promise<void> {
    this._isLoading = true;
    try {
      this._view = await this._api.spending(startOfDay(now));
      this._loadedAt = now;
      this._failure = null;
    } catch (reason) {
      this._failure = reason instanceof Error ? reason.message : String(reason);
    }
    this._isLoading = false;
    this._changed.emit();
  }

  private readonly _api: ISpendingAPI;
  private readonly _changed = new Signal<this, void>(this);
  private _view: SpendingView | null = null;
  private _loadedAt: number | null = null;
  private _failure: string | null = null;
  private _askedAt: number | null = null;
  private _isLoading = false;
}

/** Return the start of the day in the browser's time zone. */
export function startOfDay(now: number): number {
  return new Date(now).setHours(0, 0, 0, 0);
}

/** A budget with what is left of it. */
export interface IBudgetState {
  readonly spentMicro: number;
  readonly budgetMicro: number;
  /** The part that is spent, from 0 to 1. */
  readonly part: number;
  readonly warns: boolean;
  readonly leftMicro: number;
  /** How long the rest lasts at the present rate; null if nothing is billed or the rate is not known. */
  readonly leftMs: number | null;
}

/** Return the state of the budget; null if there is none, or it is not known what was spent. */
export function budgetState(view: SpendingView): IBudgetState | null {
  const { month_micro: spentMicro, budget_micro: budgetMicro, rate_micro_per_hour: rate } = view;
  if (spentMicro === null || budgetMicro === null) {
    return null;
  }
  const leftMicro = Math.max(0, budgetMicro - spentMicro);
  return {
    spentMicro,
    budgetMicro,
    part: budgetMicro === 0 ? 1 : Math.min(1, spentMicro / budgetMicro),
    warns: 1000 * spentMicro >= view.warn_milli * budgetMicro,
    leftMicro,
    leftMs: rate === null || rate === 0 ? null : (leftMicro / rate) * 3_600_000
  };
}
