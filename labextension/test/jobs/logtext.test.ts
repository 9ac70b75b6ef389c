import assert from 'node:assert/strict';
import test from 'node:test';

import { LogText } from '../../src/jobs/logtext';

test('LogText: lines that come in parts', () => {
  const log = new LogText();
  assert.equal(log.push('epoch 1\nepo'), 'epoch 1\n');
  assert.equal(log.open, 'epo');
  assert.equal(log.push('ch 2\r\n'), 'epoch 2\n');
  assert.equal(log.open, '');
});

test('LogText: the last state of a progress bar, also before its line ends', () => {
  const log = new LogText();
  assert.equal(log.push(' 10%|#\r 20%|##\r'), '');
  assert.equal(log.open, ' 20%|##');
  assert.equal(log.push(' 30%|###\n'), ' 30%|###\n');
});

test('LogText: codes of terminals are removed, markup stays text', () => {
  const log = new LogText();
  assert.equal(log.push('\u001b[1;31mError\u001b[0m \u001b]0;title\u0007<b>x</b>\u0000\n'), 'Error <b>x</b>\n');
});

test('LogText: a line without an end is not kept as a whole', () => {
  const log = new LogText();
  assert.equal(log.push('x'.repeat(20_000)).length, 20_001);
  assert.equal(log.open, '');
});
