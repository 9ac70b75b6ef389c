/**
 * The leased memory and the length of the queue over time, as this page has seen them: the server has no such history.
 *
 * A time without a connection is a gap. The record of the last hour is kept for a reload of the page.
 */

import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { ILeaseManager } from '../tokens';
import type { IPoolState } from './lease';

/** The interval between samples, and their number: one hour. */
export const SAMPLE_MS = 10_000;
export const SAMPLES_MAX = 360;

/** What was leased and what waited at a time; null if it is not known. */
export interface IPoolSample {
  /** The server's time. */
  readonly at: number;
  /** Memory leased by the user, and by all users, in bytes. */
  readonly ownBytes: number | null;
  readonly leasedBytes: number | null;
  readonly waiting: number | null;
}

/** Where the record is kept; the storage of a browser's tab. */
export interface IRecordStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Records samples while the page is connected. */
export class PoolRecord {
  constructor(options: PoolRecord.IOptions) {
    this._options = options;
    this._samples = readSamples(options.storage?.getItem(options.key) ?? null);
    options.manager.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  /** The samples, the newest at the end. */
  get samples(): ReadonlyArray<IPoolSample> {
    return this._samples;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  private _onChanged(): void {
    const { manager, storage, key } = this._options;
    const now = manager.now();
    const last = this._samples[this._samples.length - 1];
    if (manager.connection.kind !== 'connected' || (last !== undefined && Math.abs(now - last.at) < SAMPLE_MS)) {
      return;
    }
    const gap = last !== undefined && now - last.at > 3 * SAMPLE_MS ? [unknownSample(now - SAMPLE_MS)] : [];
    this._samples = [...this._samples, ...gap, sampleOf(manager.state, now)].slice(-SAMPLES_MAX);
    try {
      storage?.setItem(key, JSON.stringify(this._samples));
    } catch {
      // A full storage costs the record only after a reload.
    }
    this._changed.emit();
  }

  private readonly _options: PoolRecord.IOptions;
  private readonly _changed = new Signal<this, void>(this);
  private _samples: ReadonlyArray<IPoolSample>;
}

export namespace PoolRecord {
  export interface IOptions {
    readonly manager: Pick<ILeaseManager, 'state' | 'connection' | 'changed' | 'now'>;
    /** Null where the browser has none. */
    readonly storage: IRecordStorage | null;
    readonly key: string;
  }
}

/** Return the sample of a state. */
export function sampleOf({ devices, queue }: IPoolState, at: number): IPoolSample {
  const parts = devices.flatMap(device => device.allocations);
  const sum = (own: boolean) =>
    parts.filter(({ mine }) => mine || !own).reduce((total, { memory_bytes }) => total + memory_bytes, 0);
  return { at, ownBytes: sum(true), leasedBytes: sum(false), waiting: queue.length };
}

function unknownSample(at: number): IPoolSample {
  return { at, ownBytes: null, leasedBytes: null, waiting: null };
}

/** Return kept samples; none if they are not understood. */
function readSamples(text: string | null): ReadonlyArray<IPoolSample> {
  const isKnown = (value: unknown) => value === null || typeof value === 'number';
  try {
    const list: unknown = JSON.parse(text ?? '[]');
    const samples = Array.isArray(list) ? (list as Partial<IPoolSample>[]) : [];
    return samples.every(
      one =>
        typeof one.at === 'number' &&
        isKnown(one.ownBytes) &&
        isKnown(one.leasedBytes) &&
        isKnown(one.waiting)
    )
      ? (samples.slice(-SAMPLES_MAX) as IPoolSample[])
      : [];
  } catch {
    return [];
  }
}
