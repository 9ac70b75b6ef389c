import assert from 'node:assert/strict';
import test from 'node:test';

import {
  axisMaximum,
  historyRows,
  isContinuation,
  isEmptySummary,
  isolatedIndices,
  memoryPercents,
  mergeHistory,
  missingSince,
  sampleTimes,
  TIME_RANGES
} from '../../src/leases/history';
import { readHistory } from '../../src/leases/validate';
import { GIB, deviceHistory, leaseHistory } from '../samples';

const NOW = 1_700_000_000_500;

test('missingSince: the whole range at first, then only missing samples', () => {
  assert.equal(missingSince(null, 'minutes', NOW), NOW - TIME_RANGES.minutes.spanMs);
  assert.equal(missingSince(leaseHistory(NOW - 500), 'minutes', NOW), NOW - TIME_RANGES.minutes.spanMs);
  // The newest step is requested again, because its minute may have continued.
  assert.equal(missingSince(leaseHistory(NOW - 3500, 1, 2, 3), 'minutes', NOW), NOW - 1500);
  assert.equal(missingSince(leaseHistory(0, 1, 2, 3), 'minutes', NOW), NOW - TIME_RANGES.minutes.spanMs);
});

test('mergeHistory: newer samples replace and extend known ones', () => {
  const merged = mergeHistory(leaseHistory(NOW - 3500, 1, 2, 3), leaseHistory(NOW - 1500, 9, null, 5), 'minutes', NOW);
  assert.deepEqual(merged.utilization_percent, [1, 2, 9, null, 5]);
  assert.equal(merged.started_at, NOW - 3500);
  assert.equal(merged.memory_used_bytes.length, 5);
});

test('mergeHistory: samples older than the range, dropped', () => {
  const known = leaseHistory(NOW - TIME_RANGES.minutes.spanMs - 1500, 1, 2, 3);
  const merged = mergeHistory(known, leaseHistory(known.started_at + 2000, 3, 4), 'minutes', NOW);
  assert.deepEqual(merged.utilization_percent, [3, 4]);
  assert.equal(merged.started_at, known.started_at + 2000);
});

test('mergeHistory: clock drift is tolerated and does not accumulate', () => {
  let known = leaseHistory(NOW - 3500, 1, 2);
  for (const drift of [1, -1, 40, 80, 120, 160]) {
    const newer = leaseHistory(NOW - 2500 + drift, 2, 3);
    assert.ok(isContinuation(known, newer), `${drift}`);
    known = mergeHistory(known, newer, 'minutes', NOW);
    assert.deepEqual(known.utilization_percent, [1, 2, 3]);
    assert.equal(known.started_at, NOW - 3500 + drift);
  }
  assert.ok(!isContinuation(known, leaseHistory(NOW - 2500 + 300, 2, 3)));
});

test('isContinuation: gap, changed clock or resolution, false', () => {
  const newer = leaseHistory(NOW - 1500, 7);
  for (const known of [
    leaseHistory(NOW - 90_500, 1, 2), // there is a gap between them
    leaseHistory(NOW - 2700, 1, 2), // the clock was set: not on the same steps
    leaseHistory(NOW + 60_500, 1, 2), // by a minute
    { ...leaseHistory(NOW - 61_500, 1, 2), resolution_ms: 60_000 }
  ]) {
    assert.ok(!isContinuation(known, newer));
    assert.deepEqual(mergeHistory(known, newer, 'hour', NOW).utilization_percent, [7]);
  }
});

test('sampleTimes, memoryPercents: seconds and percentages, with gaps', () => {
  const history = leaseHistory(2000, 50, null, 80);
  assert.deepEqual(sampleTimes(history), [2, 3, 4]);
  assert.deepEqual(memoryPercents(history, 160 * GIB), [31.25, null, 50]);
  assert.deepEqual(memoryPercents(history, null), [null, null, null]);
  assert.deepEqual(memoryPercents(history, 0), [null, null, null]);
});

test('axisMaximum: it and its half are round numbers', () => {
  for (const [most, end] of [[0, 1], [7, 8], [70, 80], [99, 100], [100, 100], [212, 400], [700, 800], [901, 1000]]) {
    assert.equal(axisMaximum(most), end);
  }
});

test('historyRows: one row for each minute or hour, the newest first', () => {
  const from = 1_700_000_040_000; // a full minute
  const found = historyRows(deviceHistory(from - 2000, 10, 20, ...Array<number>(60).fill(50), 70, null), 'minutes');
  assert.deepEqual(
    found.map(({ start, summary }) => [start - from, summary.utilizationMean, summary.memoryMax, summary.powerMean, summary.temperatureMean]),
    [
      [60_000, 70, 70 * GIB, 70_000, 100],
      [0, 50, 50 * GIB, 50_000, 80],
      [-60_000, 15, 20 * GIB, 15_000, 45]
    ]
  );
  const week = { ...leaseHistory(from, ...Array<number>(10_080).fill(7)), resolution_ms: 60_000 };
  const hours = historyRows(week, 'week');
  assert.equal(hours.length, 169);
  assert.ok(hours.every(({ start, summary }) => start % 3_600_000 === 0 && summary.utilizationMean === 7));
  assert.deepEqual(historyRows(leaseHistory(from), 'hour'), []);
});

test('historyRows: a row without known samples has an empty summary', () => {
  const [row] = historyRows(leaseHistory(NOW, null), 'minutes');
  assert.ok(isEmptySummary(row.summary));
});

test('isolatedIndices: values between two gaps', () => {
  assert.deepEqual(isolatedIndices([1, null, 2, 3, null, 4]), [0, 5]);
  assert.deepEqual(isolatedIndices([7]), [0]);
  assert.deepEqual(isolatedIndices([null, undefined]), []);
});

test('readHistory: invalid histories, throws', () => {
  const sent = deviceHistory(1000, 1, null);
  assert.deepEqual(readHistory(sent), deviceHistory(1000, 1, null));
  for (const wrong of [
    { ...sent, power_milliwatt: [1] },
    { ...sent, power_milliwatt: undefined },
    { ...sent, temperature_celsius: undefined },
    { ...sent, temperature_celsius: [1, 'hot'] },
    { ...sent, utilization_percent: [101] },
    { ...sent, memory_used_bytes: ['1'] },
    { ...sent, resolution_ms: 0 },
    { ...sent, started_at: 'now' },
    []
  ]) {
    assert.throws(() => readHistory(wrong), /is not/);
  }
});
