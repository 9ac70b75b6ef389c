import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IHistory } from '../../src/leases/history';
import { historyNote, missingNote, tableCaption } from '../../src/texts/history';
import type { ISubject } from '../../src/leases/history';
import {
  axisEnd,
  figures,
  follows,
  isEmpty,
  isolated,
  join,
  memoryPercents,
  missingSince,
  RANGE,
  rows,
  times
} from '../../src/leases/history';
import { readHistory } from '../../src/leases/validate';
import { GIB } from '../samples';

const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, place: string) => String(values[Number(place) - 1]))
} as unknown as TranslationBundle;

const NOW = 1_700_000_000_500;

const LEASE: ISubject = { kind: 'leases', id: 'l1', memoryBytes: 40 * GIB };
const DEVICE: ISubject = { kind: 'devices', id: 'GPU-1', memoryBytes: 80 * GIB };

function seconds(started_at: number, ...percents: (number | null)[]): IHistory {
  const memory = percents.map(percent => (percent === null ? null : percent * GIB));
  return {
    resolution_ms: 1000,
    started_at,
    utilization_percent: percents,
    memory_used_bytes: memory,
    memory_used_bytes_max: memory,
    power_milliwatt: percents.map(() => null),
    temperature_celsius: percents.map(() => null)
  };
}

/** As `seconds`, of a device that says its power and its temperature, too. */
function warm(started_at: number, ...percents: (number | null)[]): IHistory {
  return {
    ...seconds(started_at, ...percents),
    power_milliwatt: percents.map(percent => (percent === null ? null : 1000 * percent)),
    temperature_celsius: percents.map(percent => (percent === null ? null : 30 + percent))
  };
}

test('all of a range is asked for first, and then only what is missing', () => {
  assert.equal(missingSince(null, 'minutes', NOW), NOW - RANGE.minutes.spanMs);
  assert.equal(missingSince(seconds(NOW - 500), 'minutes', NOW), NOW - RANGE.minutes.spanMs);
  // The newest step is asked for again: a minute may have gone on.
  assert.equal(missingSince(seconds(NOW - 3500, 1, 2, 3), 'minutes', NOW), NOW - 1500);
  assert.equal(missingSince(seconds(0, 1, 2, 3), 'minutes', NOW), NOW - RANGE.minutes.spanMs);
});

test('what comes later takes the place of what was known, and is put behind it', () => {
  const joined = join(seconds(NOW - 3500, 1, 2, 3), seconds(NOW - 1500, 9, null, 5), 'minutes', NOW);
  assert.deepEqual(joined.utilization_percent, [1, 2, 9, null, 5]);
  assert.equal(joined.started_at, NOW - 3500);
  assert.equal(joined.memory_used_bytes.length, 5);
});

test('what is older than the range is dropped', () => {
  const known = seconds(NOW - RANGE.minutes.spanMs - 1500, 1, 2, 3);
  const joined = join(known, seconds(known.started_at + 2000, 3, 4), 'minutes', NOW);
  assert.deepEqual(joined.utilization_percent, [3, 4]);
  assert.equal(joined.started_at, known.started_at + 2000);
});

test('the clocks of two answers may lie a little apart, and what they drift does not add up', () => {
  let known = seconds(NOW - 3500, 1, 2);
  for (const drift of [1, -1, 40, 80, 120, 160]) {
    const newer = seconds(NOW - 2500 + drift, 2, 3);
    assert.ok(follows(known, newer), `${drift}`);
    known = join(known, newer, 'minutes', NOW);
    assert.deepEqual(known.utilization_percent, [1, 2, 3]);
    assert.equal(known.started_at, NOW - 3500 + drift);
  }
  assert.ok(!follows(known, seconds(NOW - 2500 + 300, 2, 3)));
});

test('readings of another past are not joined', () => {
  const newer = seconds(NOW - 1500, 7);
  for (const known of [
    seconds(NOW - 90_500, 1, 2), // there is a gap between them
    seconds(NOW - 2700, 1, 2), // the clock was set: not on the same steps
    seconds(NOW + 60_500, 1, 2), // by a minute
    { ...seconds(NOW - 61_500, 1, 2), resolution_ms: 60_000 }
  ]) {
    assert.ok(!follows(known, newer));
    assert.deepEqual(join(known, newer, 'hour', NOW).utilization_percent, [7]);
  }
});

test('columns are in seconds and percent of the limit; a gap stays one', () => {
  const history = seconds(2000, 50, null, 80);
  assert.deepEqual(times(history), [2, 3, 4]);
  assert.deepEqual(memoryPercents(history, 160 * GIB), [31.25, null, 50]);
  assert.deepEqual(memoryPercents(history, null), [null, null, null]);
  assert.deepEqual(memoryPercents(history, 0), [null, null, null]);
});

test('an axis ends at a round number whose half is round, too', () => {
  for (const [most, end] of [[0, 1], [7, 8], [70, 80], [99, 100], [100, 100], [212, 400], [700, 800], [901, 1000]]) {
    assert.equal(axisEnd(most), end);
  }
});

test('a table has a row a minute or an hour, the newest first, and whole ones but for the first and the last', () => {
  const from = 1_700_000_040_000; // a full minute
  const found = rows(warm(from - 2000, 10, 20, ...Array<number>(60).fill(50), 70, null), 'minutes');
  assert.deepEqual(
    found.map(({ at, seen }) => [at - from, seen.utilizationMean, seen.memoryMax, seen.powerMean, seen.temperatureMean]),
    [
      [60_000, 70, 70 * GIB, 70_000, 100],
      [0, 50, 50 * GIB, 50_000, 80],
      [-60_000, 15, 20 * GIB, 15_000, 45]
    ]
  );
  const week = { ...seconds(from, ...Array<number>(10_080).fill(7)), resolution_ms: 60_000 };
  const hours = rows(week, 'week');
  assert.equal(hours.length, 169);
  assert.ok(hours.every(({ at, seen }) => at % 3_600_000 === 0 && seen.utilizationMean === 7));
  assert.deepEqual(rows(seconds(from), 'hour'), []);
});

test('a row in which nothing is known stays, and says nothing', () => {
  const [row] = rows(seconds(NOW, null), 'minutes');
  assert.ok(isEmpty(row.seen));
});

test('a value between two gaps is found', () => {
  assert.deepEqual(isolated([1, null, 2, 3, null, 4]), [0, 5]);
  assert.deepEqual(isolated([7]), [0]);
  assert.deepEqual(isolated([null, undefined]), []);
});

test('a sentence says what the chart shows', () => {
  const seen = { ...seconds(0, 20, null, 40), memory_used_bytes_max: [GIB, null, 12 * GIB] };
  assert.equal(
    historyNote(figures(seen), 'hour', LEASE, trans, 'en'),
    'Last 1 hour. GPU: 30% on average, at most 40%; memory: at most 12 / 40 GiB.'
  );
  assert.equal(
    historyNote(figures(seconds(0, null)), 'week', LEASE, trans, 'en'),
    'Last 7 days. GPU: not known; memory: not known.'
  );
  assert.equal(
    historyNote(figures(warm(0, 10, 30)), 'minutes', DEVICE, trans, 'en'),
    'Last 5 minutes. GPU: 20% on average, at most 30%; memory: at most 30 / 80 GiB; ' +
      'power: 20 W on average, at most 30 W; temperature: at most 60°C.'
  );
});

test('a device says what it does not measure; a lease, which may be a part of one, does not', () => {
  const cold = { ...warm(0, 10), temperature_celsius: [null] };
  assert.equal(missingNote(figures(warm(0, 10)), DEVICE, trans), null);
  assert.equal(missingNote(figures(cold), DEVICE, trans), 'Temperature: not available');
  assert.equal(missingNote(figures(seconds(0, 10)), DEVICE, trans), 'Power and temperature: not available');
  assert.equal(missingNote(figures(seconds(0, 10)), LEASE, trans), null);
});

test('the caption of a table says whose it is, of when, and how it was put together', () => {
  assert.equal(
    tableCaption('GPU 0', 'week', DEVICE, trans, 'en'),
    'GPU 0, last 7 days by the hour: averages, and of memory the most. It has 80 GiB.'
  );
  assert.match(tableCaption('a.ipynb', 'hour', { ...LEASE, memoryBytes: null }, trans, 'en'), /by the minute.*most\.$/);
});

test('what the server sends is looked at', () => {
  const sent = { ...warm(1000, 1, null), energy_millijoule: null };
  assert.deepEqual(readHistory(sent, 'history'), warm(1000, 1, null));
  const older = { ...sent, temperature_celsius: undefined };
  assert.deepEqual(readHistory(older, 'history').temperature_celsius, [null, null]);
  for (const wrong of [
    { ...sent, power_milliwatt: [1] },
    { ...sent, power_milliwatt: undefined },
    { ...sent, temperature_celsius: [1, 'hot'] },
    { ...sent, utilization_percent: [101] },
    { ...sent, memory_used_bytes: ['1'] },
    { ...sent, resolution_ms: 0 },
    { ...sent, started_at: 'now' },
    []
  ]) {
    assert.throws(() => readHistory(wrong, 'history'), /is not/);
  }
});
