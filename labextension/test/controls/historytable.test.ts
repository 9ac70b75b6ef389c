import assert from 'node:assert/strict';
import test from 'node:test';

import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import type { HistoryView } from '../../src/generated/api';
import { HistoryTable } from '../../src/controls/historytable';
import { GIB } from '../samples';
import { trans } from '../translation';

const history: HistoryView = {
  resolution_ms: 1000,
  started_at: 1_700_000_040_000,
  utilization_percent: [40, ...Array<null>(60).fill(null)],
  memory_used_bytes: [GIB, ...Array<null>(60).fill(null)],
  memory_used_bytes_max: [GIB, ...Array<null>(60).fill(null)],
  power_milliwatt: [212_000, ...Array<null>(60).fill(null)],
  temperature_celsius: Array<null>(61).fill(null),
  energy_millijoule: null
};

function markup(changes: Partial<HistoryView> = {}): string {
  return renderToStaticMarkup(
    React.createElement(HistoryTable, {
      history: { ...history, ...changes },
      range: 'minutes',
      subject: { kind: 'devices', id: 'GPU-1', memoryBytes: 80 * GIB },
      name: 'GPU 0',
      trans,
      language: 'en'
    })
  );
}

const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

test('HistoryTable: is focusable, has a name and row and column headers', () => {
  const drawn = markup();
  assert.match(drawn, /^<div class="fg-Table" role="region" aria-label="Table of GPU 0" tabindex="0">/);
  assert.match(drawn, /<caption>GPU 0, last 5 minutes by minute/);
  assert.equal(count(drawn, /<th scope="col"/g), 4); // the time, GPU, memory, power
  assert.equal(count(drawn, /<th scope="row"/g), 2);
  assert.match(drawn, /<td>40%<\/td><td>1 GiB<\/td><td>212 W<\/td>/);
});

test('HistoryTable: an unknown value is readable by screen readers', () => {
  assert.equal(count(markup(), /<span class="fg-ScreenReaderOnly">unknown<\/span>/g), 3);
});

test('HistoryTable: a quantity without any value has no column', () => {
  assert.doesNotMatch(markup(), /Temperature/);
  assert.match(markup({ temperature_celsius: Array<number>(61).fill(50) }), /aria-label="Temperature"/);
});
