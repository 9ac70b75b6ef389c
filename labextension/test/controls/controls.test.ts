import assert from 'node:assert/strict';
import test from 'node:test';

import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import { LeaseControls } from '../../src/controls/leasecontrols';
import { PendingChange } from '../../src/controls/pendingchange';
import { SizeSlider } from '../../src/controls/sizeslider';
import type { ILeaseSource } from '../../src/controls/source';
import { leaseMark } from '../../src/controls/statemark';
import { lease, message } from '../samples';
import { trans } from '../translation';
import { option, sizes, source } from './samples';

const texts = { trans, language: 'en' };

function controls(changes: Partial<ILeaseSource>): string {
  return renderToStaticMarkup(
    React.createElement(LeaseControls, { ...texts, source: source(changes), title: 'GPU of a.ipynb' })
  );
}

test('leaseMark: a cell runs, idle, waiting, parked, none, not answered, device missing', () => {
  const shape = (of: Parameters<typeof leaseMark>[0], connection: 'connected' | 'unreachable' = 'connected') =>
    leaseMark(of, connection, trans).shape;
  assert.equal(shape(lease({ usage: { busy: true } })), 'disc');
  assert.equal(shape(lease({ usage: { busy: false } })), 'ring');
  assert.equal(shape(lease({ state: 'waiting' })), 'square');
  assert.equal(shape(lease({ state: 'parked' })), 'bars');
  assert.equal(shape(null), 'dashed');
  assert.equal(shape(lease(), 'unreachable'), 'diamond');
  assert.equal(shape(null, 'unreachable'), 'diamond');
  assert.equal(shape(lease({ health: { missing_since: 1 } })), 'diamond');
});

function slider(requested: string | null): string {
  return renderToStaticMarkup(
    React.createElement(SizeSlider, {
      ...texts,
      options: sizes.options,
      applied: 'half',
      requested,
      onRequest: () => undefined,
      disabled: false,
      label: 'Size'
    })
  );
}

test('SizeSlider: the range announces size, memory, rate and effect of the requested step', () => {
  assert.match(slider('quarter'), /aria-valuetext="quarter, 20 GiB, 0.63 an hour, takes effect now"/);
  assert.match(
    slider('eighth'),
    /aria-valuetext="eighth, 10 GiB, 0.31 an hour, not available, 31 GiB are in use."/
  );
  assert.match(slider('2xa100'), /aria-valuetext="2xa100, 160 GiB, rate unknown, needs restart"/);
});

test('SizeSlider: the ring stays at the applied size', () => {
  assert.match(slider('full'), /class="fg-Slider-applied" style="left:50%"/);
  assert.match(slider('full'), /value="3"/);
});

test('SizeSlider: many steps, only the chosen one has its label', () => {
  const options = Array.from({ length: 16 }, (_, index) => option(`${index + 1}GiB`, index + 1));
  const html = renderToStaticMarkup(
    React.createElement(SizeSlider, {
      ...texts,
      options,
      applied: null,
      requested: '3GiB',
      onRequest: () => undefined,
      disabled: false,
      label: 'Size'
    })
  );
  assert.equal(html.match(/fg-Slider-size/g)?.length, 1);
});

function pending(requested: ReturnType<typeof option>): string {
  return renderToStaticMarkup(
    React.createElement(PendingChange, {
      ...texts,
      applied: option('half', 40),
      requested,
      currency: 'USD',
      disabled: false,
      onApply: () => undefined,
      onKeep: () => undefined,
      keeps: 'half'
    })
  );
}

test('PendingChange: names both sizes, their rates and the effect', () => {
  const html = pending(option('quarter', 20));
  assert.match(html, /half · 40 GiB · 1.25 USD\/h/);
  assert.match(html, /Apply quarter · 0.63 USD\/h/);
  assert.match(html, /Keep half/);
  assert.doesNotMatch(html, /disabled/);
});

test('PendingChange: a size that would be refused cannot be applied, and says why', () => {
  const reason = message('31 GiB are in use.');
  const html = pending(option('eighth', 10, { effect: 'unavailable', reason }));
  assert.match(html, /not available; 31 GiB are in use./);
  assert.match(html, /disabled=""[^>]*>Apply eighth/);
});

test('LeaseControls: waiting, the position is announced and only what works is offered', () => {
  const queue = {
    position: 2,
    reason: message('Every GPU is in use.'),
    holder: null,
    estimate_ms: 240_000,
    estimate_basis: message('last 20 grants of this size')
  };
  const html = controls({ lease: lease({ state: 'waiting', gpu: null, queue }) });
  assert.match(html, /role="status"><strong>Position 2<\/strong>/);
  assert.match(html, /of 3/);
  assert.match(html, /about 4 min/);
  assert.match(html, /Estimate: last 20 grants of this size./);
  assert.match(html, /Cancel request…/);
  assert.match(html, /Run on CPU meanwhile/);
  assert.doesNotMatch(html, /Notify me/);
});

test('LeaseControls: no answer, the last known state with its time, and no action', () => {
  const html = controls({
    connection: { kind: 'unreachable', reason: 'pool', message: '', retryAt: null, since: null }
  });
  assert.match(html, /Unknown/);
  assert.match(html, /Running kernels continue and keep their GPUs. Last known at .*: Active, half/);
  assert.match(html, /Try again/);
  assert.doesNotMatch(html, /Release…/);
});

test('LeaseControls: a user who may only read sees everything and a reason, with disabled actions', () => {
  const html = controls({ canAct: false });
  assert.match(html, /disabled=""[^>]*>Release…/);
  assert.match(html, /You can see the leases of this server, but not change them./);
});

test('LeaseControls: no lease, offers one only where the kernel can use it', () => {
  assert.match(controls({ lease: null }), /Variables stay when a GPU is added/);
  const other = controls({ lease: null, isGated: false });
  assert.match(other, /not a FastGPU kernel/);
  assert.doesNotMatch(other, /Variables stay/);
});
