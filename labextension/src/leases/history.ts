/**
 * What a lease used in the past: how much of it is asked for, how newer readings join what is known, what it says in
 * a sentence. Pure.
 */

/** Readings by the server's clock, one for each step from `started_at` on; null where it was not known. */
export interface IHistory {
  readonly resolution_ms: number;
  readonly started_at: number;
  readonly utilization_percent: ReadonlyArray<number | null>;
  readonly memory_used_bytes: ReadonlyArray<number | null>;
  readonly memory_used_bytes_max: ReadonlyArray<number | null>;
}

/** The server's names of resolutions. */
export type Resolution = '1s' | '1m';

export const RANGES = ['minutes', 'hour', 'week'] as const;

export type Range = (typeof RANGES)[number];

interface IRange {
  readonly spanMs: number;
  readonly resolution: Resolution;
  /** How often newer readings are asked for while they are looked at. */
  readonly refreshMs: number;
}

const MINUTE_MS = 60_000;

export const RANGE: Readonly<Record<Range, IRange>> = {
  minutes: { spanMs: 5 * MINUTE_MS, resolution: '1s', refreshMs: 2_000 },
  hour: { spanMs: 60 * MINUTE_MS, resolution: '1s', refreshMs: 10_000 },
  week: { spanMs: 7 * 24 * 60 * MINUTE_MS, resolution: '1m', refreshMs: MINUTE_MS }
};

/** From when on readings are missing: the newest is asked for again, as a minute may have gone on since. */
export function missingSince(known: IHistory | null, range: Range, now: number): number {
  const from = Math.floor(now - RANGE[range].spanMs);
  return known === null || length(known) === 0 ? from : Math.max(from, endOf(known) - known.resolution_ms);
}

/** What is known with what came since, and nothing older than the range. */
export function join(known: IHistory | null, newer: IHistory, range: Range, now: number): IHistory {
  const step = newer.resolution_ms;
  const kept =
    known !== null &&
    known.resolution_ms === step &&
    // The clock may have been set: readings that are not on the same steps are not of the same past.
    (newer.started_at - known.started_at) % step === 0 &&
    newer.started_at >= known.started_at &&
    newer.started_at <= endOf(known)
      ? known
      : null;
  const started = kept?.started_at ?? newer.started_at;
  const before = kept === null ? 0 : (newer.started_at - kept.started_at) / step;
  const drop = Math.max(0, Math.ceil((now - RANGE[range].spanMs - started) / step));
  const joined = (name: Series) =>
    [...(kept?.[name].slice(0, before) ?? []), ...newer[name]].slice(drop);
  return {
    resolution_ms: step,
    started_at: started + drop * step,
    utilization_percent: joined('utilization_percent'),
    memory_used_bytes: joined('memory_used_bytes'),
    memory_used_bytes_max: joined('memory_used_bytes_max')
  };
}

type Series = 'utilization_percent' | 'memory_used_bytes' | 'memory_used_bytes_max';

/** The columns of a chart: seconds since 1970, percent of the GPU, percent of the lease's memory. */
export function columns(
  history: IHistory,
  memoryBytes: number | null
): [number[], (number | null)[], (number | null)[]] {
  const of = memoryBytes === null || memoryBytes <= 0 ? null : memoryBytes;
  return [
    history.utilization_percent.map((_, i) => (history.started_at + i * history.resolution_ms) / 1000),
    [...history.utilization_percent],
    history.memory_used_bytes.map(used => (used === null || of === null ? null : (100 * used) / of))
  ];
}

/** The places of values that have a gap on both sides. */
export function isolated(values: ArrayLike<number | null | undefined>): number[] {
  const gap = (index: number) => values[index] === null || values[index] === undefined;
  return Array.from(values, (_, index) => index).filter(
    index => !gap(index) && gap(index - 1) && gap(index + 1)
  );
}

/** Mean and most of what is known; null where nothing is. */
export interface IFigures {
  readonly utilizationMean: number | null;
  readonly utilizationMax: number | null;
  readonly memoryMax: number | null;
}

export function figures(history: IHistory): IFigures {
  const utilization = known(history.utilization_percent);
  const sum = utilization.reduce((total, value) => total + value, 0);
  return {
    utilizationMean: utilization.length > 0 ? sum / utilization.length : null,
    utilizationMax: most(utilization),
    memoryMax: most(known(history.memory_used_bytes_max))
  };
}

function most(values: ReadonlyArray<number>): number | null {
  return values.length > 0 ? values.reduce((max, value) => Math.max(max, value)) : null;
}

function known(values: ReadonlyArray<number | null>): number[] {
  return values.filter((value): value is number => value !== null);
}

function length(history: IHistory): number {
  return history.utilization_percent.length;
}

function endOf(history: IHistory): number {
  return history.started_at + length(history) * history.resolution_ms;
}
