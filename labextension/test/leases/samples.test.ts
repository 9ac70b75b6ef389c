import assert from 'node:assert/strict';
import test from 'node:test';

import { UTILIZATION_SAMPLES_MAX, UtilizationSamples } from '../../src/leases/samples';

/** Return the samples after readings of some leases in turn. */
function after(...readings: ReadonlyArray<Record<string, number | null>>): UtilizationSamples {
  return readings.reduce<UtilizationSamples>(
    (samples, reading) => samples.with(new Map(Object.entries(reading))),
    UtilizationSamples.EMPTY
  );
}

void test('samples: a lease without a reading, has no gap, and one that joins begins with its first', () => {
  const samples = after({ a: 1 }, { a: null, b: 100 }, { b: 0 });
  assert.deepEqual(samples.of('a'), [1, null]);
  assert.deepEqual(samples.of('b'), [100, 0]);
  assert.deepEqual(samples.of('c'), []);
});

void test('samples: readings of a state, stay as they were', () => {
  const before = after({ a: 1 });
  before.with(new Map([['a', 2], ['b', 3]]));
  assert.deepEqual(before.of('a'), [1]);
  assert.deepEqual(before.of('b'), []);
});

void test('samples: more readings than the limit, keeps the newest', () => {
  const samples = after(...Array.from({ length: UTILIZATION_SAMPLES_MAX + 3 }, (_, index) => ({ a: index % 100 })));
  assert.equal(samples.of('a').length, UTILIZATION_SAMPLES_MAX);
  assert.equal(samples.of('a')[0], 3);
});

void test('samples: leases that are not kept, are gone, also where places are used again', () => {
  const many = Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`l${index}`, index % 100]));
  const samples = after(many, many);
  assert.equal(samples.keep(() => true), samples);
  const kept = samples.keep(id => id === 'l399').with(new Map([['l399', 7], ['new', 8]]));
  assert.deepEqual(kept.of('l399'), [99, 99, 7]);
  assert.deepEqual(kept.of('new'), [8]);
  assert.deepEqual(kept.of('l0'), []);
});
