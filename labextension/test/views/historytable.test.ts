import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import type { IHistory } from '../../src/leases/history';
import { HistoryTable } from '../../src/views/historytable';
import { GIB } from '../samples';

const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, place: string) => String(values[Number(place) - 1]))
} as unknown as TranslationBundle;

const history: IHistory = {
  resolution_ms: 1000,
  started_at: 1_700_000_040_000,
  utilization_percent: [40, ...Array<null>(60).fill(null)],
  memory_used_bytes: [GIB, ...Array<null>(60).fill(null)],
  memory_used_bytes_max: [GIB, ...Array<null>(60).fill(null)],
  power_milliwatt: [212_000, ...Array<null>(60).fill(null)],
  temperature_celsius: Array<null>(61).fill(null)
};

function markup(changes: Partial<IHistory> = {}): string {
  return renderToStaticMarkup(
    React.createElement(HistoryTable, {
      history: { ...history, ...changes },
      range: 'minutes',
      of: { kind: 'devices', id: 'GPU-1', memoryBytes: 80 * GIB },
      name: 'GPU 0',
      trans,
      language: 'en'
    })
  );
}

const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

test('a table can be reached, is named, and has heads for rows and columns', () => {
  const drawn = markup();
  assert.match(drawn, /^<div class="fg-Table" role="region" aria-label="Table of GPU 0" tabindex="0">/);
  assert.match(drawn, /<caption>GPU 0, last 5 minutes by the minute/);
  assert.equal(count(drawn, /<th scope="col"/g), 4); // the time, GPU, memory, power
  assert.equal(count(drawn, /<th scope="row"/g), 2);
  assert.match(drawn, /<td>40%<\/td><td>1 GiB<\/td><td>212 W<\/td>/);
});

test('what is not known is said to those who listen, too', () => {
  assert.equal(count(markup(), /<span class="fg-only-read">unknown<\/span>/g), 3);
});

test('what a device never says has no column', () => {
  assert.doesNotMatch(markup(), /Temperature/);
  assert.match(markup({ temperature_celsius: Array<number>(61).fill(50) }), /aria-label="Temperature"/);
});
