/**
 * What is said of a history: the names of its times, its figures in a sentence, the words of its table.
 *
 * Pure. Takes the translator's bundle, so that every string goes through it.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import {
  formatDayTime,
  formatMemory,
  formatMemoryOf,
  formatPercent,
  formatPower,
  formatTemperature,
  formatTick
} from './format';
import type { IFigures, ISubject, Range } from '../leases/history';

/** The time that a chart shows. */
export function rangeName(range: Range, trans: TranslationBundle): string {
  switch (range) {
    case 'minutes':
      return trans.__('5 minutes');
    case 'hour':
      return trans.__('1 hour');
    case 'week':
      return trans.__('7 days');
  }
}

/** Memory, of how much there is where that is known. */
export function memoryOf(used: number, limit: number | null, language: string): string {
  return limit === null ? formatMemory(used, language) : formatMemoryOf(used, limit, language);
}

/** What a chart shows, for those who do not see it, and at a glance for those who do. */
export function historyNote(
  seen: IFigures,
  range: Range,
  of: ISubject,
  trans: TranslationBundle,
  language: string
): string {
  const parts = [
    seen.utilizationMean === null || seen.utilizationMax === null
      ? trans.__('GPU: not known')
      : trans.__(
          'GPU: %1 on average, at most %2',
          formatPercent(seen.utilizationMean, language),
          formatPercent(seen.utilizationMax, language)
        ),
    seen.memoryMax === null
      ? trans.__('memory: not known')
      : trans.__('memory: at most %1', memoryOf(seen.memoryMax, of.memoryBytes, language))
  ];
  if (seen.powerMean !== null && seen.powerMax !== null) {
    parts.push(
      trans.__(
        'power: %1 on average, at most %2',
        formatPower(seen.powerMean, language),
        formatPower(seen.powerMax, language)
      )
    );
  }
  if (seen.temperatureMax !== null) {
    parts.push(trans.__('temperature: at most %1', formatTemperature(seen.temperatureMax, language)));
  }
  return trans.__('Last %1. %2.', rangeName(range, trans), parts.join('; '));
}

/** What a device does not measure, or not tell; null where it says both, and of a lease, which may only be a part. */
export function missingNote(
  seen: IFigures,
  of: ISubject,
  trans: TranslationBundle
): string | null {
  if (of.kind === 'leases' || (seen.powerMean !== null && seen.temperatureMax !== null)) {
    return null;
  }
  return seen.powerMean !== null
    ? trans.__('Temperature: not available')
    : seen.temperatureMax !== null
      ? trans.__('Power: not available')
      : trans.__('Power and temperature: not available');
}

/** Whose history it is, which time, and how its readings were put together. */
export function tableCaption(
  name: string,
  range: Range,
  of: ISubject,
  trans: TranslationBundle,
  language: string
): string {
  const time = rangeName(range, trans);
  const caption =
    range === 'week'
      ? trans.__('%1, last %2 by the hour: averages, and of memory the most.', name, time)
      : trans.__('%1, last %2 by the minute: averages, and of memory the most.', name, time);
  return of.memoryBytes === null
    ? caption
    : trans.__('%1 It has %2.', caption, formatMemory(of.memoryBytes, language));
}

/** When a row of the table begins. */
export function rowTime(at: number, range: Range, language: string): string {
  return range === 'week' ? formatDayTime(at, language) : formatTick(at, false, language);
}
