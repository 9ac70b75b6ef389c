import assert from 'node:assert/strict';
import test from 'node:test';

import type { IChoice } from '../../src/launch/choice';
import {
  bounded,
  defaultsOf,
  isFastGPU,
  raisedBy,
  readRemembered,
  rememberedOf
} from '../../src/launch/choice';

const DEFAULTS = defaultsOf(undefined);

function spec(metadata: object): { name: string; display_name: string; metadata: object } {
  const provisioner = { provisioner_name: 'fastgpu-provisioner', config: {} };
  return {
    name: 'fastgpu',
    display_name: 'Python 3 (FastGPU)',
    metadata: { kernel_provisioner: provisioner, ...metadata }
  };
}

test('isFastGPU: is decided by the provisioner', () => {
  assert.equal(isFastGPU(spec({})), true);
  assert.equal(isFastGPU({ name: 'python3', display_name: 'Python 3', metadata: {} }), false);
  assert.equal(isFastGPU(undefined), false);
});

test('defaultsOf: reads the parameters, else what older kernelspecs have', () => {
  assert.deepEqual(defaultsOf(undefined), DEFAULTS);
  assert.deepEqual(defaultsOf(spec({ fastgpu: { profile: 'half', priority: 'low', hold: true } })), {
    ...DEFAULTS,
    size: 'half',
    priority: 'low',
    hold: true
  });
  const config = { provisioner_name: 'fastgpu-provisioner', config: { memory: '24GiB' } };
  assert.equal(defaultsOf(spec({ kernel_provisioner: config, fastgpu: { profile: 'half' } })).size, '24GiB');
  const properties = { size: { default: 'quarter' }, priority: { default: 'urgent' }, budget: { default: '20' } };
  assert.deepEqual(defaultsOf(spec({ parameters: { properties } })), {
    ...DEFAULTS,
    size: 'quarter',
    budget: '20'
  });
});

test('readRemembered: returns what rememberedOf wrote', () => {
  const choice: IChoice = { ...DEFAULTS, size: 'a100:1/2', priority: 'high', wait: '10m' };
  const written = rememberedOf({ kernel: 'fastgpu', choice }, DEFAULTS);
  assert.deepEqual(written, {
    version: 1,
    kernel: 'fastgpu',
    size: 'a100:1/2',
    priority: 'high',
    wait: '10m'
  });
  const read = readRemembered(JSON.parse(JSON.stringify(written)));
  assert.deepEqual(read, {
    kind: 'choice',
    kernel: 'fastgpu',
    values: { size: 'a100:1/2', priority: 'high', wait: '10m' }
  });
});

test('readRemembered: tells a newer version and an edit apart from nothing', () => {
  const good = { version: 1, kernel: 'fastgpu', size: 'half' };
  assert.equal(readRemembered(undefined).kind, 'nothing');
  assert.equal(readRemembered({ ...good, version: 2, size: { of: 'another form' } }).kind, 'newer');
  assert.equal(readRemembered({ ...good, added: 'later' }).kind, 'choice');
  for (const edited of [
    'half',
    [],
    {},
    { ...good, version: '1' },
    { ...good, version: 1.5 },
    { ...good, version: 0 },
    { ...good, kernel: 7 },
    { ...good, size: '' },
    { ...good, size: 'x'.repeat(201) },
    { ...good, priority: 'system' },
    { ...good, isolation: true },
    { ...good, hold: 'yes' },
    { ...good, budget: 20 },
    { ...good, budget: '-1' },
    { ...good, wait: 'a while' }
  ]) {
    assert.equal(readRemembered(edited).kind, 'invalid', JSON.stringify(edited));
  }
});

test('raisedBy and bounded: only less than the defaults needs no consent', () => {
  const defaults: IChoice = { ...DEFAULTS, budget: '20' };
  const more: IChoice = { ...defaults, size: 'half', priority: 'high', hold: true, budget: '20.5' };
  assert.deepEqual(raisedBy(more, defaults, false), ['priority', 'hold', 'budget']);
  assert.deepEqual(bounded(more, defaults, raisedBy(more, defaults, false)), { ...defaults, size: 'half' });
  // No budget is more than any.
  assert.deepEqual(raisedBy({ ...defaults, budget: '' }, defaults, false), ['budget']);
  assert.deepEqual(raisedBy({ ...defaults, budget: '9' }, { ...defaults, budget: '10' }, false), []);
  const less: IChoice = { ...defaults, priority: 'low', budget: '5', wait: '1m', isolation: 'hardware' };
  assert.deepEqual(raisedBy(less, { ...defaults, hold: true }, false), []);
  // A size is more only if its rate is.
  assert.deepEqual(raisedBy(more, { ...more, size: 'quarter' }, true), ['size']);
  assert.equal(bounded(more, { ...more, size: 'quarter' }, ['size']).size, 'quarter');
});
