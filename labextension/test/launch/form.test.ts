import assert from 'node:assert/strict';
import test from 'node:test';

import type { SizeOptions } from '../../src/generated/api';
import { defaultsOf } from '../../src/launch/choice';
import {
  largestThatFits,
  modelName,
  modelOf,
  nearest,
  queryOf,
  startKind,
  unitOf
} from '../../src/launch/form';
import type { ILauncherItem } from '../../src/launch/launcheritems';
import { LauncherItems } from '../../src/launch/launcheritems';
import { advancedSummary, itemCaption, itemLabel, kernelName, noticeTexts } from '../../src/texts/start';
import { option } from '../controls/samples';
import { GIB } from '../samples';
import { trans } from '../translation';

const STANDARD = defaultsOf(undefined);

const QUARTER = option('quarter', 20);
const HALF = option('half', 40, { effect: 'queued', position: 3 });
const FULL = option('full', 80, { effect: 'unavailable' });

test('modelOf and unitOf: read the texts of sizes', () => {
  const expected: ReadonlyArray<[string, string, string]> = [
    ['full', '', 'share'],
    ['half', '', 'share'],
    ['24GiB', '', 'memory'],
    ['1.5 GB', '', 'memory'],
    ['1g.10gb', '', 'share'],
    ['any:1/3', '', 'share'],
    ['a100', 'a100', 'share'],
    ['a100-80gb:1/2', 'a100-80gb', 'share'],
    ['a100:24GiB', 'a100', 'memory'],
    ['2xh100', 'h100', 'share'],
    ['2xany', '', 'share'],
    ['h100|a100', 'h100|a100', 'share']
  ];
  for (const [size, model, unit] of expected) {
    assert.deepEqual([modelOf(size), unitOf(size)], [model, unit], size);
  }
});

test('queryOf: names the model only if there is one', () => {
  assert.deepEqual(queryOf(STANDARD, '', 'share'), { isolation: 'none', priority: 'normal', unit: 'share' });
  assert.equal(queryOf(STANDARD, modelName('NVIDIA A100-SXM4-80GB'), 'memory').model, 'a100-sxm4-80gb');
});

test('nearest: keeps the memory of a step that is no longer offered', () => {
  assert.equal(nearest([QUARTER, HALF, FULL], 48 * GIB)?.size, 'half');
  assert.equal(nearest([QUARTER, HALF, FULL], null)?.size, 'quarter');
  assert.equal(nearest([], 48 * GIB), null);
});

test('startKind and largestThatFits: say what the button does, and what there is instead', () => {
  assert.deepEqual([QUARTER, HALF, FULL, null].map(startKind), ['start', 'wait', 'impossible', 'unknown']);
  assert.equal(largestThatFits([QUARTER, HALF, FULL])?.size, 'half');
  assert.equal(largestThatFits([FULL]), null);
});

test('LauncherItems: asks each question once, and what is not known stays unknown', async () => {
  const asked: unknown[] = [];
  const items = ['half', 'full', 'a100', '7GiB'].map(
    (size): ILauncherItem => ({ kernel: `k-${size}`, name: 'Python 3', choice: { ...STANDARD, size } })
  );
  const model = new LauncherItems(query => {
    asked.push(query.model ?? query.unit);
    return query.model === undefined
      ? Promise.resolve({ options: [HALF, FULL] } as unknown as SizeOptions)
      : Promise.reject(new Error('no answer'));
  });
  assert.equal(model.stateOf(items[0]).kind, 'checking');
  assert.equal(await model.refresh(items), true);
  assert.deepEqual(asked, ['share', 'a100', 'memory']);
  assert.deepEqual(
    items.map(item => model.stateOf(item).kind),
    ['known', 'known', 'unknown', 'unknown']
  );
  assert.equal(await model.refresh(items), false);
});

test('itemLabel and itemCaption: say what a click gives', () => {
  const item: ILauncherItem = { kernel: 'fastgpu', name: 'Python 3', choice: { ...STANDARD, size: 'half' } };
  const label = (state: Parameters<typeof itemLabel>[1]) => itemLabel(item, state, trans, 'en');
  assert.equal(label({ kind: 'known', option: HALF }), 'Python 3, half\n■ position 3\n1.25/h');
  assert.equal(label({ kind: 'known', option: QUARTER }), 'Python 3, half\n● starts now\n0.63/h');
  const unknown = option('half', 40, { rate_micro: null, effect: 'unavailable' });
  assert.equal(label({ kind: 'known', option: unknown }), 'Python 3, half\n✕ not available\nrate unknown');
  assert.equal(label({ kind: 'unknown' }), 'Python 3, half\nstart unknown');
  assert.match(itemCaption(item, { kind: 'known', option: HALF }, 'USD', trans, 'en'), /position 3, 1\.25 USD\/h\.$/);
  assert.match(itemCaption(item, { kind: 'unknown' }, 'USD', trans, 'en'), /Its start is unknown/);
  const spec = { name: 'k', display_name: 'Python 3 (FastGPU half)' };
  assert.equal(kernelName(spec), 'Python 3');
  assert.equal(kernelName({ ...spec, display_name: ' (FastGPU)' }), ' (FastGPU)');
});

test('advancedSummary and noticeTexts: have a sentence for each value', () => {
  assert.equal(
    advancedSummary({ ...STANDARD, priority: 'high', hold: true, budget: '20', wait: '10m' }, trans),
    'shared · high priority · kept while idle · budget 20 · waits at most 10m'
  );
  const used = { ...STANDARD, budget: '20' };
  const texts = (raised: ReadonlyArray<'priority' | 'hold' | 'budget'>, changes: object) =>
    noticeTexts({ kind: 'raised', raised, asked: { ...used, ...changes }, used }, trans).text;
  assert.match(texts(['hold'], { hold: true }), /keep its GPU while it is idle/);
  assert.match(texts(['budget'], { budget: '' }), /asks for no budget\. Starting with a budget of 20\./);
  assert.match(texts(['budget'], { budget: '50' }), /asks for a budget of 50\./);
  assert.match(texts(['priority', 'hold'], {}), /more than your defaults/);
  const refused = { kind: 'refused', asked: { ...used, size: 'h100' }, used, reason: new Error('No H100.') } as const;
  assert.match(noticeTexts(refused, trans).text, /with full, because h100, .* was refused: No H100\./);
});
