/**
 * The last utilization readings of each lease, stored by the second: a pool has thousands of leases, and most of their
 * readings are never shown. Immutable.
 */

/** The number of readings of each lease: two minutes at one reading per second. */
export const UTILIZATION_SAMPLES_MAX = 120;

/** In place of a percentage: no reading, and one that the driver does not know. */
const ABSENT = -1;
const UNKNOWN = -2;

/** So many unused places beside the used ones are left before the readings are moved together. */
const UNUSED_MAX = 100;

/** The readings of all leases. */
export class UtilizationSamples {
  static readonly EMPTY = new UtilizationSamples(new Map(), []);

  private constructor(
    /** The index of each lease in the columns. */
    private readonly _places: ReadonlyMap<string, number>,
    /** The readings of each second, the newest at the end. */
    private readonly _columns: ReadonlyArray<Int8Array>
  ) {}

  /** Return the readings of a lease, the newest at the end; null where the utilization was unknown. */
  of(leaseId: string): ReadonlyArray<number | null> {
    const place = this._places.get(leaseId);
    if (place === undefined) {
      return NO_SAMPLES;
    }
    const readings = this._columns.map(column => column[place] ?? ABSENT);
    return readings.filter(one => one !== ABSENT).map(one => (one === UNKNOWN ? null : one));
  }

  /** Return the samples with one more reading of some leases, by lease; a lease without one has no gap. */
  with(readings: ReadonlyMap<string, number | null>): UtilizationSamples {
    let places = this._places;
    let next = this._width;
    const added = [...readings.keys()].filter(id => !places.has(id));
    if (added.length > 0) {
      places = new Map([...places, ...added.map((id): [string, number] => [id, next++])]);
    }
    const column = new Int8Array(next).fill(ABSENT);
    for (const [id, percent] of readings) {
      column[places.get(id)!] = percent ?? UNKNOWN;
    }
    return new UtilizationSamples(places, [...this._columns, column].slice(-UTILIZATION_SAMPLES_MAX));
  }

  /** Return the samples of the leases that are kept; the same object if those are all. */
  keep(isKept: (leaseId: string) => boolean): UtilizationSamples {
    const kept = [...this._places].filter(([id]) => isKept(id));
    if (kept.length === this._places.size) {
      return this;
    }
    if (this._width <= 2 * kept.length + UNUSED_MAX) {
      return new UtilizationSamples(new Map(kept), this._columns);
    }
    return new UtilizationSamples(
      new Map(kept.map(([id], index) => [id, index])),
      this._columns.map(column => Int8Array.from(kept, ([, place]) => column[place] ?? ABSENT))
    );
  }

  private get _width(): number {
    return this._columns[this._columns.length - 1]?.length ?? 0;
  }
}

const NO_SAMPLES: ReadonlyArray<number | null> = [];
