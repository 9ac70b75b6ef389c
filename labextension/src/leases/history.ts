/**
 * What a lease or a device used in the past: how much of it is asked for, how newer readings join what is known, what
 * it comes to in figures and in rows of a table. Pure.
 */

/** Whose history it is, as the server names the two kinds. */
export interface ISubject {
  readonly kind: 'leases' | 'devices';
  readonly id: string;
  /** Of the lease or the device; null where it is not known. */
  readonly memoryBytes: number | null;
}

/** Readings by the server's clock, one for each step from `started_at` on; null where it was not known. */
export interface IHistory {
  readonly resolution_ms: number;
  readonly started_at: number;
  readonly utilization_percent: ReadonlyArray<number | null>;
  readonly memory_used_bytes: ReadonlyArray<number | null>;
  readonly memory_used_bytes_max: ReadonlyArray<number | null>;
  /** Of whole devices, where they say it. */
  readonly power_milliwatt: ReadonlyArray<number | null>;
  readonly temperature_celsius: ReadonlyArray<number | null>;
}

export const SERIES = [
  'utilization_percent',
  'memory_used_bytes',
  'memory_used_bytes_max',
  'power_milliwatt',
  'temperature_celsius'
] as const;

type Series = (typeof SERIES)[number];

/** The server's names of resolutions. */
export type Resolution = '1s' | '1m';

export const RANGES = ['minutes', 'hour', 'week'] as const;

export type Range = (typeof RANGES)[number];

interface IRange {
  readonly spanMs: number;
  readonly resolution: Resolution;
  /** How much of it one row of a table is. */
  readonly rowMs: number;
  /** How often newer readings are asked for while they are looked at. */
  readonly refreshMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const RANGE: Readonly<Record<Range, IRange>> = {
  minutes: { spanMs: 5 * MINUTE_MS, resolution: '1s', rowMs: MINUTE_MS, refreshMs: 2_000 },
  hour: { spanMs: HOUR_MS, resolution: '1s', rowMs: MINUTE_MS, refreshMs: 10_000 },
  week: { spanMs: 7 * 24 * HOUR_MS, resolution: '1m', rowMs: HOUR_MS, refreshMs: MINUTE_MS }
};

/** From when on readings are missing: the newest is asked for again, as a minute may have gone on since. */
export function missingSince(known: IHistory | null, range: Range, now: number): number {
  const from = Math.floor(now - RANGE[range].spanMs);
  return known === null || length(known) === 0 ? from : Math.max(from, endOf(known) - known.resolution_ms);
}

/**
 * How far two readings of the server's clocks may lie apart. A step is placed on the wall's clock anew with each answer,
 * and the two clocks are neither read at once nor equally fast.
 */
const DRIFT_MS_MAX = 100;

/** Whether newer readings go on where what is known ends, on the same steps; else the clock was set, or there is a gap. */
export function follows(known: IHistory, newer: IHistory): boolean {
  const apart = newer.started_at - known.started_at;
  const step = newer.resolution_ms;
  return (
    known.resolution_ms === step &&
    Math.abs(apart - Math.round(apart / step) * step) <= DRIFT_MS_MAX &&
    apart >= -DRIFT_MS_MAX &&
    newer.started_at <= endOf(known) + DRIFT_MS_MAX
  );
}

/** What is known with what came since, and nothing older than the range; what does not follow takes its place. */
export function join(known: IHistory | null, newer: IHistory, range: Range, now: number): IHistory {
  const step = newer.resolution_ms;
  const kept = known !== null && follows(known, newer) ? known : null;
  const before = kept === null ? 0 : Math.round((newer.started_at - kept.started_at) / step);
  // All times are the newest answer's: else what the clocks drift apart would add up.
  const started = newer.started_at - before * step;
  const drop = Math.max(0, Math.ceil((now - RANGE[range].spanMs - started) / step));
  const joined = (name: Series) =>
    [...(kept?.[name].slice(0, before) ?? []), ...newer[name]].slice(drop);
  return {
    resolution_ms: step,
    started_at: started + drop * step,
    utilization_percent: joined('utilization_percent'),
    memory_used_bytes: joined('memory_used_bytes'),
    memory_used_bytes_max: joined('memory_used_bytes_max'),
    power_milliwatt: joined('power_milliwatt'),
    temperature_celsius: joined('temperature_celsius')
  };
}

/** When each reading was taken, in seconds since 1970. */
export function times(history: IHistory): number[] {
  return history.utilization_percent.map(
    (_, index) => (history.started_at + index * history.resolution_ms) / 1000
  );
}

/** Memory as percent of what there is; not known where that is not. */
export function memoryPercents(history: IHistory, memoryBytes: number | null): (number | null)[] {
  const of = memoryBytes === null || memoryBytes <= 0 ? null : memoryBytes;
  return history.memory_used_bytes.map(used => (used === null || of === null ? null : (100 * used) / of));
}

/** The end of an axis from zero that `most` fits on: round, and so is its half. */
export function axisEnd(most: number): number {
  const scale = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  const found = [1, 2, 4, 6, 8].find(step => step * scale >= most) ?? 10;
  return found * scale;
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
  readonly powerMean: number | null;
  readonly powerMax: number | null;
  readonly temperatureMean: number | null;
  readonly temperatureMax: number | null;
}

/** Of the readings from `begin` to before `end`. */
export function figures(history: IHistory, begin = 0, end = length(history)): IFigures {
  const of = (name: Series) =>
    history[name].slice(begin, end).filter((value): value is number => value !== null);
  const utilization = of('utilization_percent');
  const power = of('power_milliwatt');
  const temperature = of('temperature_celsius');
  return {
    utilizationMean: mean(utilization),
    utilizationMax: most(utilization),
    memoryMax: most(of('memory_used_bytes_max')),
    powerMean: mean(power),
    powerMax: most(power),
    temperatureMean: mean(temperature),
    temperatureMax: most(temperature)
  };
}

/** Whether nothing at all is known. */
export function isEmpty(seen: IFigures): boolean {
  return Object.values(seen).every(value => value === null);
}

/** A minute or an hour of a history. */
export interface IRow {
  /** When it begins; the first may have begun before the history did. */
  readonly at: number;
  readonly seen: IFigures;
}

/** A history as few rows, the newest first. */
export function rows(history: IHistory, range: Range): ReadonlyArray<IRow> {
  const { rowMs } = RANGE[range];
  const found: IRow[] = [];
  for (let begin = 0; begin < length(history); ) {
    const started = history.started_at + begin * history.resolution_ms;
    const at = Math.floor(started / rowMs) * rowMs;
    const count = Math.ceil((at + rowMs - started) / history.resolution_ms);
    found.push({ at, seen: figures(history, begin, begin + count) });
    begin += count;
  }
  return found.reverse();
}

function mean(values: ReadonlyArray<number>): number | null {
  return values.length > 0 ? values.reduce((total, value) => total + value, 0) / values.length : null;
}

function most(values: ReadonlyArray<number>): number | null {
  return values.length > 0 ? values.reduce((max, value) => Math.max(max, value)) : null;
}

function length(history: IHistory): number {
  return history.utilization_percent.length;
}

function endOf(history: IHistory): number {
  return history.started_at + length(history) * history.resolution_ms;
}
