/**
 * Usage histories of leases and devices: time ranges, merging of newer samples, summaries and table rows. Pure.
 */

import type { HistoryView } from '../generated/api';

/** The lease or device whose history is shown; `kind` is the part of the URL. */
export interface IHistorySubject {
  readonly kind: 'leases' | 'devices';
  readonly id: string;
  /** The memory of the lease or device; null if it is unknown. */
  readonly memoryBytes: number | null;
}

/** The names of the lists in a history, which have one sample for each step. */
type Series = {
  [Name in keyof HistoryView]: HistoryView[Name] extends ReadonlyArray<unknown> ? Name : never;
}[keyof HistoryView];

/** A list that the interface adds or removes is an error of the compiler here; the schemas would be a large import. */
const IS_SERIES: Readonly<Record<Series, true>> = {
  utilization_percent: true,
  memory_used_bytes: true,
  memory_used_bytes_max: true,
  power_milliwatt: true,
  temperature_celsius: true
};

export const SERIES = Object.keys(IS_SERIES) as ReadonlyArray<Series>;

/** The names of the server's resolutions. */
export type Resolution = '1s' | '1m';

export const TIME_RANGE_NAMES = ['minutes', 'hour', 'week'] as const;

export type TimeRange = (typeof TIME_RANGE_NAMES)[number];

interface ITimeRange {
  readonly spanMs: number;
  readonly resolution: Resolution;
  /** The duration that one row of the table covers. */
  readonly rowMs: number;
  /** The interval between requests for newer samples while the history is visible. */
  readonly refreshMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const TIME_RANGES: Readonly<Record<TimeRange, ITimeRange>> = {
  minutes: { spanMs: 5 * MINUTE_MS, resolution: '1s', rowMs: MINUTE_MS, refreshMs: 2_000 },
  hour: { spanMs: HOUR_MS, resolution: '1s', rowMs: MINUTE_MS, refreshMs: 10_000 },
  week: { spanMs: 7 * 24 * HOUR_MS, resolution: '1m', rowMs: HOUR_MS, refreshMs: MINUTE_MS }
};

/** Return the time from which samples are missing. The newest one is requested again, because its minute may have continued. */
export function missingSince(known: HistoryView | null, range: TimeRange, now: number): number {
  const start = Math.floor(now - TIME_RANGES[range].spanMs);
  return known === null || sampleCount(known) === 0
    ? start
    : Math.max(start, endTime(known) - known.resolution_ms);
}

/**
 * The largest difference between the start times of the same step in two answers.
 *
 * The server converts its monotonic clock to wall-clock time for each answer; the two clocks are not read at the same
 * instant and do not run at exactly the same speed.
 */
const DRIFT_MS_MAX = 100;

/** Return whether newer samples continue the known ones on the same steps, without a gap or a changed clock. */
export function isContinuation(known: HistoryView, newer: HistoryView): boolean {
  const offset = newer.started_at - known.started_at;
  const step = newer.resolution_ms;
  return (
    known.resolution_ms === step &&
    Math.abs(offset - Math.round(offset / step) * step) <= DRIFT_MS_MAX &&
    offset >= -DRIFT_MS_MAX &&
    newer.started_at <= endTime(known) + DRIFT_MS_MAX
  );
}

/**
 * Return the known samples extended by the newer ones, without those older than the range.
 *
 * Newer samples that are not a continuation replace the known ones.
 */
export function mergeHistory(
  known: HistoryView | null,
  newer: HistoryView,
  range: TimeRange,
  now: number
): HistoryView {
  const step = newer.resolution_ms;
  const previous = known !== null && isContinuation(known, newer) ? known : null;
  const before = previous === null ? 0 : Math.round((newer.started_at - previous.started_at) / step);
  // All times follow the newest answer, so that the drift of the clocks does not accumulate.
  const started = newer.started_at - before * step;
  const drop = Math.max(0, Math.ceil((now - TIME_RANGES[range].spanMs - started) / step));
  const merged = (name: Series) =>
    [...(previous?.[name].slice(0, before) ?? []), ...newer[name]].slice(drop);
  return {
    ...newer,
    started_at: started + drop * step,
    ...Object.fromEntries(SERIES.map(name => [name, merged(name)]))
  };
}

/** Return the time of each sample, in seconds since 1970. */
export function sampleTimes(history: HistoryView): number[] {
  return history.utilization_percent.map(
    (_, index) => (history.started_at + index * history.resolution_ms) / 1000
  );
}

/** Return used memory as a percentage of the limit; null for each sample if the limit is unknown. */
export function memoryPercents(history: HistoryView, memoryBytes: number | null): (number | null)[] {
  const limit = memoryBytes === null || memoryBytes <= 0 ? null : memoryBytes;
  return history.memory_used_bytes.map(used =>
    used === null || limit === null ? null : (100 * used) / limit
  );
}

/** Return the end of an axis that starts at zero and includes `value`; it and its half are round numbers. */
export function axisMaximum(value: number): number {
  const scale = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  const factor = [1, 2, 4, 6, 8].find(candidate => candidate * scale >= value) ?? 10;
  return factor * scale;
}

/** Return the indices of values with a gap on both sides. */
export function isolatedIndices(values: ArrayLike<number | null | undefined>): number[] {
  const isGap = (index: number) => values[index] === null || values[index] === undefined;
  return Array.from(values, (_, index) => index).filter(
    index => !isGap(index) && isGap(index - 1) && isGap(index + 1)
  );
}

/** Means and maxima of the known samples; null if none is known. */
export interface IHistorySummary {
  readonly utilizationMean: number | null;
  readonly utilizationMax: number | null;
  readonly memoryMax: number | null;
  readonly powerMean: number | null;
  readonly powerMax: number | null;
  readonly temperatureMean: number | null;
  readonly temperatureMax: number | null;
}

/** Return the summary of the samples with indices from `begin` to `end`, excluding `end`. */
export function summarize(
  history: HistoryView,
  begin = 0,
  end = sampleCount(history)
): IHistorySummary {
  const known = (name: Series) =>
    history[name].slice(begin, end).filter((value): value is number => value !== null);
  const utilization = known('utilization_percent');
  const power = known('power_milliwatt');
  const temperature = known('temperature_celsius');
  return {
    utilizationMean: mean(utilization),
    utilizationMax: maximum(utilization),
    memoryMax: maximum(known('memory_used_bytes_max')),
    powerMean: mean(power),
    powerMax: maximum(power),
    temperatureMean: mean(temperature),
    temperatureMax: maximum(temperature)
  };
}

/** Return whether no value of a summary is known. */
export function isEmptySummary(summary: IHistorySummary): boolean {
  return Object.values(summary).every(value => value === null);
}

/** The summary of one minute or hour of a history. */
export interface IHistoryRow {
  /** The start of the minute or hour; in the first row it may precede the first sample. */
  readonly start: number;
  readonly summary: IHistorySummary;
}

/** Return a history summarized by minute or hour, the newest row first. */
export function historyRows(history: HistoryView, range: TimeRange): ReadonlyArray<IHistoryRow> {
  const { rowMs } = TIME_RANGES[range];
  const rows: IHistoryRow[] = [];
  for (let begin = 0; begin < sampleCount(history); ) {
    const time = history.started_at + begin * history.resolution_ms;
    const start = Math.floor(time / rowMs) * rowMs;
    const count = Math.ceil((start + rowMs - time) / history.resolution_ms);
    rows.push({ start, summary: summarize(history, begin, begin + count) });
    begin += count;
  }
  return rows.reverse();
}

function mean(values: ReadonlyArray<number>): number | null {
  return values.length > 0 ? values.reduce((total, value) => total + value, 0) / values.length : null;
}

function maximum(values: ReadonlyArray<number>): number | null {
  return values.length > 0 ? values.reduce((max, value) => Math.max(max, value)) : null;
}

function sampleCount(history: HistoryView): number {
  return history.utilization_percent.length;
}

function endTime(history: HistoryView): number {
  return history.started_at + sampleCount(history) * history.resolution_ms;
}
