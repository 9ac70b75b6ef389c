import assert from 'node:assert/strict';
import test from 'node:test';

import {
  baseName,
  formatDuration,
  formatMemory,
  formatMemoryOf,
  formatMoney,
  formatPercent,
  formatPower,
  formatTemperature,
  shortModel
} from '../../src/texts/format';

const GIB = 1024 ** 3;

test('formatMoney: digits, currencies and languages', () => {
  const cases: [number, string, string][] = [
    [0, 'USD', '0.00 USD'],
    [1, 'USD', '<0.0001 USD'],
    [12_345, 'USD', '0.0123 USD'],
    [999_900, 'USD', '0.9999 USD'],
    [1_234_567, 'USD', '1.23 USD'],
    [1_234_567_890, 'EUR', '1,234.57 EUR'],
    [12_345, 'credits', '0.0123 credits'],
    [5, 'credits', '<0.0001 credits'],
    [2_000_000, '', '2.00']
  ];
  for (const [micro, currency, text] of cases) {
    assert.equal(formatMoney(micro, currency, 'en'), text);
  }
  assert.equal(formatMoney(12_345, 'EUR', 'de_DE').replace(/\s/g, ' '), '0,0123 EUR');
});

test('formatMemory, formatMemoryOf: units and digits', () => {
  assert.equal(formatMemory(80 * GIB, 'en'), '80 GiB');
  assert.equal(formatMemory(12.34 * GIB, 'en'), '12.3 GiB');
  assert.equal(formatMemory(140.7 * GIB, 'en'), '141 GiB');
  assert.equal(formatMemory(24 * 1024 ** 2, 'en'), '24 MiB');
  assert.equal(formatMemory(0, 'en'), '0 GiB');
  assert.equal(formatMemoryOf(12.34 * GIB, 80 * GIB, 'en'), '12.3 / 80 GiB');
  assert.equal(formatMemoryOf(0, 80 * GIB, 'en'), '0 / 80 GiB');
});

test('formatDuration: seconds to days, never negative', () => {
  assert.equal(formatDuration(-5_000), '0 s');
  assert.equal(formatDuration(42_999), '42 s');
  assert.equal(formatDuration(252_000), '4 min 12 s');
  assert.equal(formatDuration(240_000), '4 min');
  assert.equal(formatDuration(3 * 3_600_000 + 5 * 60_000), '3 h 05 min');
  assert.equal(formatDuration(3 * 3_600_000), '3 h');
  assert.equal(formatDuration(52 * 3_600_000), '2 d 4 h');
});

test('formatPercent, baseName, shortModel', () => {
  assert.equal(formatPercent(37.4, 'en'), '37%');
  assert.equal(baseName('/home/ada/a b.ipynb'), 'a b.ipynb');
  assert.equal(baseName('a.ipynb'), 'a.ipynb');
  assert.equal(baseName('/'), '/');
  assert.equal(shortModel('NVIDIA A100-SXM4-80GB'), 'A100-SXM4-80GB');
  assert.equal(shortModel('Simulated A100'), 'Simulated A100');
  assert.equal(shortModel('NVIDIA '), 'NVIDIA ');
});

test('formatMemory: an unknown language, falls back to English', () => {
  assert.equal(formatMemory(80 * GIB, 'not a language!'), '80 GiB');
});

test('formatPower, formatTemperature: units and languages', () => {
  assert.equal(formatPower(212_400, 'en'), '212 W');
  assert.equal(formatPower(1_234_000, 'de_DE'), '1.234 W');
  assert.equal(formatTemperature(61, 'en'), '61°C');
});
