import assert from 'node:assert/strict';
import test from 'node:test';

import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import { LeaseControls } from '../../src/controls/leasecontrols';
import type { LeaseView } from '../../src/generated/api';
import { findTransitions } from '../../src/leases/transitions';
import { idleMessage, idleProgress, idleText, stepTexts } from '../../src/texts/idle';
import { transitionText } from '../../src/texts/transition';
import { lease, message } from '../samples';
import { trans } from '../translation';
import { source } from './samples';

const MINUTE = 60_000;
const STEPS: LeaseView['idle']['steps'] = [
  { step: 'notify', after_ms: 10 * MINUTE },
  { step: 'park', after_ms: 15 * MINUTE },
  { step: 'release', after_ms: 120 * MINUTE }
];
const NOW = 100 * MINUTE;

/** A lease that is idle for some minutes. */
function idle(minutes: number, next: LeaseView['idle']['next'], changes: Partial<LeaseView['idle']> = {}) {
  const since = NOW - minutes * MINUTE;
  return lease({
    idle: { cells_idle_since: since - MINUTE, gpu_idle_since: since, next, steps: STEPS, ...changes }
  });
}

test('idleText: the next step, in use, unknown, and no step', () => {
  const parks = idle(6, { step: 'park', at: NOW + 9 * MINUTE });
  assert.equal(idleText(parks, NOW, trans), 'parks in 9 min');
  const inUse = idle(6, null, { gpu_idle_since: null });
  assert.equal(idleText(inUse, NOW, trans), 'no cell runs; the GPU is in use, or that is unknown');
  assert.equal(idleText(idle(6, null, { cells_idle_since: null }), NOW, trans), 'not idle');
  assert.equal(idleText(idle(6, null), NOW, trans), 'idle 6 min');
});

test('idleProgress: the bar ends at the next step that changes something, and marks those before', () => {
  const before = idleProgress(idle(6, { step: 'notify', at: NOW + 4 * MINUTE }), NOW);
  assert.deepEqual(before, { part: 6 / 15, marks: [10 / 15] });
  const snoozed = idleProgress(idle(12, { step: 'park', at: NOW + 12 * MINUTE }), NOW);
  assert.deepEqual(snoozed, { part: 0.5, marks: [10 / 24, 15 / 24] });
  assert.equal(idleProgress(idle(6, null), NOW), null);
  assert.equal(idleProgress(idle(6, null, { gpu_idle_since: null }), NOW), null);
});

test('idleMessage: its durations are those of now', () => {
  const next = { step: 'park' as const, at: NOW + 2 * MINUTE };
  const announced = message('', 'idle.park_ahead', { idle_ms: 1, left_ms: 300_000 });
  assert.deepEqual(idleMessage(idle(6, next, { message: announced }), NOW)?.params, {
    idle_ms: 6 * MINUTE,
    left_ms: 2 * MINUTE
  });
  assert.equal(idleMessage(idle(6, next), NOW), null);
});

test('stepTexts: each step with its time', () => {
  assert.deepEqual(stepTexts(STEPS, trans), [
    'notify after 10 min',
    'park after 15 min',
    'release after 2 h'
  ]);
});

test('LeaseControls: the idle section has a meter with a text, and is left out without steps', () => {
  const markup = (of: LeaseView, canAct = true) =>
    renderToStaticMarkup(
      React.createElement(LeaseControls, {
        trans,
        language: 'en',
        source: source({ lease: of, now: () => NOW, canAct }),
        title: 'GPU of a.ipynb'
      })
    );
  const parks = idle(6, { step: 'park', at: NOW + 9 * MINUTE });
  assert.match(markup(parks), /role="meter"[^>]*aria-valuetext="parks in 9 min"/);
  assert.match(markup(parks), /aria-haspopup="menu" aria-expanded="false"/);
  assert.match(markup(parks, false), /aria-haspopup="menu" aria-expanded="false" disabled=""/);
  assert.doesNotMatch(markup(lease()), /fg-Idle/);
});

test('findTransitions: an announcement is reported once, and again after it was withdrawn', () => {
  const codes = (code: string | null) =>
    lease({ idle: { message: code === null ? null : message('Parked in 5 min.', code) } });
  const kinds = (before: LeaseView, after: LeaseView) =>
    findTransitions([before], [after], new Set()).map(({ kind }) => kind);
  assert.deepEqual(kinds(codes(null), codes('idle.notified')), ['idle']);
  assert.deepEqual(kinds(codes('idle.notified'), codes('idle.park_ahead')), ['idle']);
  assert.deepEqual(kinds(codes('idle.park_ahead'), codes('idle.park_ahead')), []);
  assert.deepEqual(kinds(codes('idle.park_ahead'), codes(null)), []);
});

test('transitionText: a lease that ended because it was idle says for how long', () => {
  const ended = lease({
    state: 'ended',
    end_reason: message('Nothing had used it.', 'end.idle'),
    notes: [message('', 'end.idle_released', { idle_ms: 120 * MINUTE })]
  });
  assert.deepEqual(
    findTransitions([lease()], [ended], new Set()).map(({ kind }) => kind),
    ['lost']
  );
  assert.match(transitionText({ kind: 'lost', lease: ended }, trans, 'en'), /not been used for 2 h/);
});
