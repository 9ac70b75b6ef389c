/**
 * Sentences about a usage history: the names of its time ranges, its summary, the headings of its table.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import {
  formatDayTime,
  formatMemory,
  formatMemoryOf,
  formatPercent,
  formatPower,
  formatTemperature,
  formatAxisTime
} from './format';
import type { IHistorySummary, IHistorySubject, TimeRange } from '../leases/history';

/** Return the name of a time range. */
export function timeRangeName(range: TimeRange, trans: TranslationBundle): string {
  switch (range) {
    case 'minutes':
      return trans.__('5 minutes');
    case 'hour':
      return trans.__('1 hour');
    case 'week':
      return trans.__('7 days');
  }
}

/** Format used memory, with the limit if it is known. */
export function formatMemoryWithLimit(used: number, limit: number | null, language: string): string {
  return limit === null ? formatMemory(used, language) : formatMemoryOf(used, limit, language);
}

/** Return a summary of a history in one sentence; screen readers read it in place of the chart. */
export function historyNote(
  summary: IHistorySummary,
  range: TimeRange,
  subject: IHistorySubject,
  trans: TranslationBundle,
  language: string
): string {
  const parts = [
    summary.utilizationMean === null || summary.utilizationMax === null
      ? trans.__('GPU: unknown')
      : trans.__(
          'GPU: %1 on average, at most %2',
          formatPercent(summary.utilizationMean, language),
          formatPercent(summary.utilizationMax, language)
        ),
    summary.memoryMax === null
      ? trans.__('memory: unknown')
      : trans.__('memory: at most %1', formatMemoryWithLimit(summary.memoryMax, subject.memoryBytes, language))
  ];
  if (summary.powerMean !== null && summary.powerMax !== null) {
    parts.push(
      trans.__(
        'power: %1 on average, at most %2',
        formatPower(summary.powerMean, language),
        formatPower(summary.powerMax, language)
      )
    );
  }
  if (summary.temperatureMax !== null) {
    parts.push(trans.__('temperature: at most %1', formatTemperature(summary.temperatureMax, language)));
  }
  return trans.__('Last %1. %2.', timeRangeName(range, trans), parts.join('; '));
}

/**
 * Return which of power and temperature a device does not report; null if it reports both.
 *
 * A lease may be only a part of a device, which has neither, so nothing is returned for leases.
 */
export function missingNote(
  summary: IHistorySummary,
  subject: IHistorySubject,
  trans: TranslationBundle
): string | null {
  if (subject.kind === 'leases' || (summary.powerMean !== null && summary.temperatureMax !== null)) {
    return null;
  }
  return summary.powerMean !== null
    ? trans.__('Temperature: not available')
    : summary.temperatureMax !== null
      ? trans.__('Power: not available')
      : trans.__('Power and temperature: not available');
}

/** Return the caption of a history's table: its subject, its time range and how the samples are aggregated. */
export function tableCaption(
  name: string,
  range: TimeRange,
  subject: IHistorySubject,
  trans: TranslationBundle,
  language: string
): string {
  const time = timeRangeName(range, trans);
  const caption =
    range === 'week'
      ? trans.__('%1, last %2 by hour: averages; maximum for memory.', name, time)
      : trans.__('%1, last %2 by minute: averages; maximum for memory.', name, time);
  return subject.memoryBytes === null
    ? caption
    : trans.__('%1 Total memory: %2.', caption, formatMemory(subject.memoryBytes, language));
}

/** Format the start of a table row. */
export function formatRowTime(at: number, range: TimeRange, language: string): string {
  return range === 'week' ? formatDayTime(at, language) : formatAxisTime(at, false, language);
}
