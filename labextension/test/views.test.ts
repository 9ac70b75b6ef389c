import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';

import type { FailureReason } from '../src/leases/lease';
import { LEASE_STATES } from '../src/leases/lease';
import { HISTORY_MAX } from '../src/leases/reduce';
import { failure, kept, notebookName, oneLine, releaseQuestion, stateMeaning, stateName } from '../src/texts';
import { CHART_HEIGHT, chartPaths } from '../src/widgets/chart';
import { GIB, lease } from './samples';

/** Fills the places in, as a translator without a language does. */
const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, place: string) => String(values[Number(place) - 1]))
} as unknown as TranslationBundle;

test('the line of the status bar', () => {
  const line = (changes: Parameters<typeof lease>[0]) => oneLine(lease(changes), trans, 'en');
  const active = { utilization_percent: 37, memory_used_bytes: 12.3 * GIB, memory_bytes: 80 * GIB, cost_micro: 12_345 };
  assert.equal(
    line({ ...active, simulated: false }),
    'GPU A100-SXM4-80GB 37% · 12.3 / 80 GiB · $0.0123'
  );
  assert.match(line(active), /· simulated$/);
  assert.equal(line({ ...active, utilization_percent: null, memory_used_bytes: null, simulated: false }), 'GPU A100-SXM4-80GB · $0.0123');
  assert.equal(line({ state: 'waiting', place: 2 }), 'GPU: waiting, place 2');
  assert.equal(line({ state: 'waiting', place: null }), 'GPU: waiting');
  assert.equal(line({ state: 'parked' }), 'GPU: parked');
  assert.equal(line({ state: 'ended' }), 'No GPU lease');
  assert.equal(oneLine(null, trans, 'en'), 'No GPU lease');
});

test('each state has a name and a meaning of its own', () => {
  const names = LEASE_STATES.map(state => stateName(state, trans));
  const meanings = LEASE_STATES.map(state => stateMeaning(state, trans));
  assert.equal(new Set(names).size, LEASE_STATES.length);
  assert.equal(new Set(meanings).size, LEASE_STATES.length);
});

test('each failure says what to do', () => {
  const reasons: FailureReason[] = ['missing', 'forbidden', 'refused', 'pool', 'network', 'protocol'];
  const said = reasons.map(reason => failure(reason, trans));
  assert.equal(new Set(said.map(({ title }) => title)).size, reasons.length);
  assert.ok(said.every(({ advice }) => advice.endsWith('.')));
});

test('nothing is promised of kernels whose server may be gone', () => {
  assert.match(kept('network', trans), /As long as/);
  assert.doesNotMatch(kept('pool', trans), /As long as/);
});

test('the question before a release says what stays and what goes', () => {
  const { body } = releaseQuestion(lease(), trans);
  for (const word of [/train\.ipynb/, /variables/, /stay/, /no GPU/, /queue/]) {
    assert.match(body, word);
  }
  assert.equal(releaseQuestion(lease({ state: 'waiting' }), trans).accept, 'Leave the queue');
});

test('a lease without a notebook is named by its kernel', () => {
  assert.equal(notebookName(lease({ notebook: null, kernel_id: '0123456789' }), trans), 'kernel 01234567');
  assert.equal(notebookName(lease({ notebook: null, kernel_id: null }), trans), 'without a notebook');
});

test('a chart ends at the right edge and stays within its height', () => {
  const { line, area } = chartPaths([0, 100]);
  assert.equal(line, `M${HISTORY_MAX - 2} ${CHART_HEIGHT - 1}L${HISTORY_MAX - 1} 1`);
  assert.ok(area.startsWith(line) && area.endsWith('Z'));
});

test('a full chart begins at the left edge', () => {
  assert.match(chartPaths(Array.from({ length: HISTORY_MAX }, () => 50)).line, /^M0 /);
});

test('a chart has gaps where nothing is known', () => {
  assert.equal(chartPaths([10, null, null, 20, 30]).line.split('M').length - 1, 2);
  assert.deepEqual(chartPaths([null]), { line: '', area: '' });
  assert.deepEqual(chartPaths([]), { line: '', area: '' });
});
