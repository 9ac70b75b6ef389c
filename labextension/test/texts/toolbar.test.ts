import assert from 'node:assert/strict';
import test from 'node:test';

import { toolbarTexts, WARNING_MS } from '../../src/texts/toolbar';
import type { LeaseView } from '../../src/generated/api';
import { lease, message } from '../samples';
import { trans } from '../translation';

const NOW = 600_000;

function texts(of: LeaseView | null, connection: 'connected' | 'unreachable' = 'connected') {
  return toolbarTexts(of, connection, NOW, trans, 'en');
}

test('toolbarTexts: a cell runs, size, utilization and cost', () => {
  const shown = texts(lease({ usage: { busy: true, utilization_percent: 62 } }));
  assert.equal(shown.shape, 'disc');
  assert.equal(shown.short, 'half');
  assert.equal(shown.word, '62%');
  assert.match(shown.cost, /USD/);
});

test('toolbarTexts: unknown utilization, is not shown as zero', () => {
  assert.equal(texts(lease({ usage: { busy: true, utilization_percent: null } })).word, '');
});

test('toolbarTexts: idle, for how many minutes', () => {
  const idle = (last_used_at: number) => texts(lease({ usage: { busy: false, last_used_at } }));
  assert.equal(idle(NOW - 360_000).word, 'idle 6 min');
  assert.equal(idle(NOW - 30_000).word, 'idle');
});

test('toolbarTexts: a step of the idle policy is near, replaces the sparkline; the step that only notifies does not', () => {
  const next = (step: 'notify' | 'park' | 'release', left: number) =>
    texts(lease({ usage: { busy: false }, idle: { next: { step, at: NOW + left } } }));
  assert.deepEqual([next('park', 100_000).word, next('park', 100_000).isUrgent], ['parks in 1:40', true]);
  assert.equal(next('release', 100_000).short, '1:40');
  assert.equal(next('notify', 100_000).isUrgent, false);
  assert.equal(next('park', WARNING_MS + 1).isUrgent, false);
  assert.equal(next('park', 0).isUrgent, false);
});

test('toolbarTexts: waiting, the position stays in a narrow toolbar', () => {
  const shown = texts(
    lease({
      state: 'waiting',
      queue: {
        position: 2,
        reason: message(''),
        holder: null,
        estimate_ms: 240_000,
        estimate_basis: message('')
      }
    })
  );
  assert.deepEqual([shown.shape, shown.short, shown.word], ['square', '2', 'position 2']);
  assert.equal(shown.status, 'Waiting, position 2');
});

test('toolbarTexts: parked, none, ended and no answer', () => {
  assert.deepEqual([texts(lease({ state: 'parked' })).shape, texts(lease({ state: 'parked' })).word], ['bars', 'parked']);
  assert.equal(texts(null).word, 'Get a GPU…');
  assert.equal(texts(lease({ state: 'ended' })).word, 'Get a GPU…');
  assert.deepEqual([texts(lease(), 'unreachable').short, texts(lease(), 'unreachable').word], ['?', 'GPU unknown']);
});

test('toolbarTexts: the announced status does not change with usage', () => {
  const status = (percent: number) => texts(lease({ usage: { utilization_percent: percent } })).status;
  assert.equal(status(10), status(90));
});
