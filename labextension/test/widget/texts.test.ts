import assert from 'node:assert/strict';
import test from 'node:test';

import { bundleOf } from '../../src/widget/texts';

void test('bundleOf inserts values and shows English where there is no translation', () => {
  const trans = bundleOf({});
  assert.equal(trans.__('%1 of %2, %3', 1, 'two'), '1 of two, %3');
  assert.equal(trans._n('one request', '%1 requests', 1), 'one request');
  assert.equal(trans._n('%1 lease of %2', '%1 leases of %2', 2, 'ada'), '2 leases of ada');
});

void test('bundleOf translates texts, plurals and texts in a context', () => {
  const trans = bundleOf({
    'Wait %1': ['等待 %1'],
    'one request': ['%1 个请求', '%1 个请求'],
    'verb\u0004Park': ['挂起']
  });
  assert.equal(trans.__('Wait %1', '5 s'), '等待 5 s');
  assert.equal(trans._n('one request', '%1 requests', 1), '1 个请求');
  assert.equal(trans._n('one request', '%1 requests', 3), '3 个请求');
  assert.equal(trans._p('verb', 'Park'), '挂起');
  assert.equal(trans.__('Park'), 'Park');
});

test('bundleOf: two percent signs are one, as in JupyterLab, so that a magic of a cell keeps its two', () => {
  assert.equal(bundleOf({}).__('`%%%%fastgpu cpu` runs %1 cell.', 1), '`%%fastgpu cpu` runs 1 cell.');
});
