import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IHistory } from '../src/leases/history';
import { columns, figures, isolated, join, missingSince, RANGE } from '../src/leases/history';
import { readHistory } from '../src/leases/validate';
import { historyNote } from '../src/texts';
import { GIB } from './samples';

const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, place: string) => String(values[Number(place) - 1]))
} as unknown as TranslationBundle;

const NOW = 1_700_000_000_500;

function seconds(started_at: number, ...percents: (number | null)[]): IHistory {
  const memory = percents.map(percent => (percent === null ? null : percent * GIB));
  return {
    resolution_ms: 1000,
    started_at,
    utilization_percent: percents,
    memory_used_bytes: memory,
    memory_used_bytes_max: memory
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

test('readings of another past are not joined', () => {
  const newer = seconds(NOW - 1500, 7);
  for (const known of [
    seconds(NOW - 90_500, 1, 2), // there is a gap between them
    seconds(NOW - 2700, 1, 2), // the clock was set: not on the same steps
    seconds(NOW + 60_500, 1, 2), // by a minute
    { ...seconds(NOW - 61_500, 1, 2), resolution_ms: 60_000 }
  ]) {
    assert.deepEqual(join(known, newer, 'hour', NOW).utilization_percent, [7]);
  }
});

test('columns are in seconds and percent of the limit; a gap stays one', () => {
  const [at, gpu, memory] = columns(seconds(2000, 50, null, 80), 160 * GIB);
  assert.deepEqual(at, [2, 3, 4]);
  assert.deepEqual(gpu, [50, null, 80]);
  assert.deepEqual(memory, [31.25, null, 50]);
  assert.deepEqual(columns(seconds(2000, 50), null)[2], [null]);
});

test('a value between two gaps is found', () => {
  assert.deepEqual(isolated([1, null, 2, 3, null, 4]), [0, 5]);
  assert.deepEqual(isolated([7]), [0]);
  assert.deepEqual(isolated([null, undefined]), []);
});

test('a sentence says what the chart shows', () => {
  const seen = { ...seconds(0, 20, null, 40), memory_used_bytes_max: [GIB, null, 12 * GIB] };
  assert.equal(
    historyNote(figures(seen), 'hour', 40 * GIB, trans, 'en'),
    'Last 1 hour. GPU: 30% on average, at most 40%; memory: at most 12 / 40 GiB.'
  );
  assert.equal(
    historyNote(figures(seconds(0, null)), 'week', null, trans, 'en'),
    'Last 7 days. GPU: not known; memory: not known.'
  );
});

test('what the server sends is looked at', () => {
  const sent = { ...seconds(1000, 1, null), power_milliwatt: [null, null], energy_millijoule: null };
  assert.deepEqual(readHistory(sent, 'history'), seconds(1000, 1, null));
  for (const wrong of [
    { ...sent, utilization_percent: [101] },
    { ...sent, memory_used_bytes: ['1'] },
    { ...sent, resolution_ms: 0 },
    { ...sent, started_at: 'now' },
    []
  ]) {
    assert.throws(() => readHistory(wrong, 'history'), /is not/);
  }
});
