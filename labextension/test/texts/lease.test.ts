import assert from 'node:assert/strict';
import test from 'node:test';

import type { TranslationBundle } from '@jupyterlab/translation';

import { failure, kept } from '../../src/texts/connection';
import type { FailureReason } from '../../src/leases/lease';
import { canChange, CHANGES, isAway, LEASE_STATES } from '../../src/leases/lease';
import { HISTORY_MAX } from '../../src/leases/reduce';
import {
  awayNote,
  changeTexts,
  enforcement,
  mechanismName,
  notebookName,
  oneLine,
  parkReason,
  releaseQuestion,
  scrubNote,
  stateMeaning,
  stateName,
  activityNotes
} from '../../src/texts/lease';
import { CHART_HEIGHT, chartPaths } from '../../src/views/sparkline';
import { GIB, lease } from '../samples';

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
  assert.equal(line({ state: 'parking' }), 'GPU: parking');
  assert.equal(line({ state: 'resuming', park_reason: 'idle' }), 'GPU: resuming');
  assert.equal(
    line({ state: 'waiting', park_reason: 'idle', place: 2 }),
    'GPU: parked, wanted back, place 2'
  );
  assert.match(line({ ...active, retention: 'hold' }), /· pinned · simulated$/);
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

test('a lease is away from its parking until it is active again', () => {
  const away = (changes: Parameters<typeof lease>[0]) => isAway(lease(changes));
  for (const state of ['parking', 'parked'] as const) {
    assert.ok(away({ state }));
  }
  for (const state of ['waiting', 'resuming'] as const) {
    assert.ok(away({ state, park_reason: 'idle' }));
    assert.ok(!away({ state }));
  }
  assert.ok(!away({ state: 'active', park_reason: 'idle' }));
});

test('each reason for parking has a sentence of its own, and every one says what is kept', () => {
  assert.doesNotMatch(awayNote(lease({ state: 'parked', park_reason: 'restart' }), trans), /kept/);
  const reasons = ['asked', 'idle', 'priority', 'guarantee', 'fairness', 'budget', 'something new'];
  assert.equal(new Set(reasons.map(reason => parkReason(reason, trans))).size, reasons.length);
  for (const reason of reasons) {
    const note = awayNote(lease({ state: 'parked', park_reason: reason }), trans);
    assert.match(note, /^Parked .*\. Its variables are kept\.$/);
  }
});

test('what can be asked of a lease follows from what it is', () => {
  const can = (changes: Parameters<typeof lease>[0]) =>
    CHANGES.filter(change => canChange(lease(changes), change));
  assert.deepEqual(can({}), ['park', 'pin']);
  assert.deepEqual(can({ retention: 'hold' }), ['park', 'unpin']);
  assert.deepEqual(can({ parkable: false }), []);
  assert.deepEqual(can({ state: 'parked', parkable: false }), ['resume', 'pin']);
  assert.deepEqual(can({ state: 'parking', parkable: false }), ['pin']);
  assert.deepEqual(can({ state: 'waiting', parkable: false }), []);
  for (const state of ['draining', 'ended'] as const) {
    assert.deepEqual(can({ state, retention: 'hold', move: 'live' }), []);
  }
  for (const move of ['live', 'restart']) {
    assert.deepEqual(can({ move, parkable: false }), ['move']);
  }
  assert.deepEqual(can({ move: 'accepted', parkable: false }), []);
});

test('a change has a short label, and names the notebook for who cannot see where it stands', () => {
  const labels = CHANGES.map(change => changeTexts(change, 'a.ipynb', trans));
  assert.deepEqual(
    labels.map(({ label }) => label),
    ['Move', 'Park', 'Resume', 'Pin', 'Unpin']
  );
  for (const { aria, title, failed } of labels) {
    assert.match(aria, /a\.ipynb/);
    assert.ok(title.endsWith('.') && failed !== '');
  }
});

test('an active lease says whether its cells run, and one that cannot be parked does not', () => {
  const use = (changes: Parameters<typeof lease>[0]) => activityNotes(lease(changes), '3 min', trans);
  assert.deepEqual(use({}), ['idle for 3 min']);
  assert.deepEqual(use({ busy: true }), ['a cell runs']);
  assert.deepEqual(use({ retention: 'hold' }), ['pinned', 'idle for 3 min']);
  assert.deepEqual(use({ parkable: false }), []);
  assert.deepEqual(use({ state: 'parked', retention: 'hold' }), ['pinned']);
  assert.deepEqual(use({ state: 'ended', retention: 'hold' }), []);
});

test('to release a parked lease asks with what is lost', () => {
  const { title, body } = releaseQuestion(lease({ state: 'parked', park_reason: 'idle' }), trans);
  assert.equal(title, 'Give the parked GPU up?');
  assert.match(body, /is lost/);
  const waiting = lease({ state: 'waiting', park_reason: 'idle' });
  assert.equal(releaseQuestion(waiting, trans).title, title);
});

test('who keeps a limit is said for each mechanism, and nothing before there is one', () => {
  const keeps = (changes: Parameters<typeof lease>[0]) => enforcement(lease(changes), trans);
  const kinds = ['hardware', 'driver', 'userspace', 'cooperative', 'none'];
  assert.equal(new Set(kinds.map(kind => keeps({ enforcement: kind }))).size, kinds.length);
  assert.match(keeps({ enforcement: 'hardware', partition: '1g.10gb' }), /MIG partition 1g\.10gb/);
  assert.match(keeps({ enforcement: 'userspace', mechanism: 'mps' }), /^CUDA keeps this limit, for each process/);
  assert.equal(keeps({ enforcement: null }), '');
});

test('a mechanism has a name, and one that this page does not know its own', () => {
  const name = (mechanism: string | null, partition: string | null = null) =>
    mechanismName(lease({ mechanism, partition }), trans);
  assert.deepEqual(
    ['exclusive', 'shared', 'mps', 'simulated', 'mig', 'another', null].map(one => name(one)),
    ['Whole GPU', 'Shared GPU', 'MPS', 'Simulated', 'MIG', 'another', '']
  );
  assert.equal(name('mig', '3g.40gb'), 'MIG 3g.40gb');
});

test('what became of device memory is told where it is known', () => {
  const note = (changes: Parameters<typeof lease>[0]) => scrubNote(lease(changes), trans, 'en');
  assert.equal(note({}), null);
  assert.equal(note({ scrub: 'gone' }), 'No process has its GPU memory any more.');
  assert.equal(note({ scrub: 'overwritten', scrub_bytes: 40 * GIB }), 'Its GPU memory was overwritten (40 GiB).');
  assert.equal(note({ scrub: 'overwritten' }), 'Its GPU memory was overwritten.');
  assert.equal(
    note({ scrub: 'gone', scrub_detail: 'Others are on the device.' }),
    'No process has its GPU memory any more. Others are on the device.'
  );
  assert.equal(note({ scrub: 'something new' }), 'something new');
});
