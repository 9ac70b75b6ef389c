import assert from 'node:assert/strict';
import test from 'node:test';

import type { FailureReason } from '../../src/leases/lease';
import { failureTexts, kernelsNote } from '../../src/texts/connection';
import { trans } from '../translation';

test('failureTexts: each failure has its own title and an advice', () => {
  const reasons: FailureReason[] = ['missing', 'forbidden', 'refused', 'pool', 'network', 'protocol'];
  const said = reasons.map(reason => failureTexts(reason, trans));
  assert.equal(new Set(said.map(({ title }) => title)).size, reasons.length);
  assert.ok(said.every(({ advice }) => advice.endsWith('.')));
});

test('kernelsNote: a network failure makes the statement conditional', () => {
  assert.match(kernelsNote('network', trans), /^While the Jupyter server/);
  assert.doesNotMatch(kernelsNote('pool', trans), /^While the Jupyter server/);
});
