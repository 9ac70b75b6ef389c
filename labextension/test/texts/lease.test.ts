import assert from 'node:assert/strict';
import test from 'node:test';

import { LEASE_ACTIONS, LEASE_STATES } from '../../src/leases/lease';
import {
  actionTexts,
  activityNotes,
  mechanismName,
  memoryLimitText,
  notebookName,
  parkedNote,
  parkReason,
  releaseDialogTexts,
  scrubNote,
  stateDescription,
  stateName,
  statusBarText
} from '../../src/texts/lease';
import { GIB, lease } from '../samples';
import { trans } from '../translation';

test('statusBarText: shows state, position, usage and cost', () => {
  const line = (changes: Parameters<typeof lease>[0]) => statusBarText(lease(changes), trans, 'en');
  const active = { utilization_percent: 37, memory_used_bytes: 12.3 * GIB, memory_bytes: 80 * GIB, cost_micro: 12_345 };
  assert.equal(
    line({ ...active, simulated: false }),
    'GPU A100-SXM4-80GB 37% · 12.3 / 80 GiB · $0.0123'
  );
  assert.match(line(active), /· simulated$/);
  assert.equal(line({ ...active, utilization_percent: null, memory_used_bytes: null, simulated: false }), 'GPU A100-SXM4-80GB · $0.0123');
  assert.equal(line({ state: 'waiting', place: 2 }), 'GPU: waiting, position 2');
  assert.equal(line({ state: 'waiting', place: null }), 'GPU: waiting');
  assert.equal(line({ state: 'parked' }), 'GPU: parked');
  assert.equal(line({ state: 'parking' }), 'GPU: parking');
  assert.equal(line({ state: 'resuming', park_reason: 'idle' }), 'GPU: resuming');
  assert.equal(
    line({ state: 'waiting', park_reason: 'idle', place: 2 }),
    'GPU: parked, waiting to resume, position 2'
  );
  assert.match(line({ ...active, retention: 'hold' }), /· pinned · simulated$/);
  assert.equal(line({ state: 'ended' }), 'No GPU lease');
  assert.equal(statusBarText(null, trans, 'en'), 'No GPU lease');
});

test('stateName, stateDescription: differ for all states', () => {
  const names = LEASE_STATES.map(state => stateName(state, trans));
  const meanings = LEASE_STATES.map(state => stateDescription(state, trans));
  assert.equal(new Set(names).size, LEASE_STATES.length);
  assert.equal(new Set(meanings).size, LEASE_STATES.length);
});

test('releaseDialogTexts: an active lease, mentions what is preserved and what is lost', () => {
  const { body } = releaseDialogTexts(lease(), trans);
  for (const word of [/train\.ipynb/, /variables/, /preserved/, /no GPU/, /queue/]) {
    assert.match(body, word);
  }
  assert.equal(releaseDialogTexts(lease({ state: 'waiting' }), trans).accept, 'Leave the queue');
});

test('notebookName: without a notebook, returns the kernel', () => {
  assert.equal(notebookName(lease({ notebook: null, kernel_id: '0123456789' }), trans), 'kernel 01234567');
  assert.equal(notebookName(lease({ notebook: null, kernel_id: null }), trans), 'without a notebook');
});

test('parkReason, parkedNote: differ for all reasons and mention the variables', () => {
  assert.doesNotMatch(parkedNote(lease({ state: 'parked', park_reason: 'restart' }), trans), /preserved/);
  const reasons = ['asked', 'idle', 'priority', 'guarantee', 'fairness', 'budget', 'something new'];
  assert.equal(new Set(reasons.map(reason => parkReason(reason, trans))).size, reasons.length);
  for (const reason of reasons) {
    const note = parkedNote(lease({ state: 'parked', park_reason: reason }), trans);
    assert.match(note, /^Parked .*\. Variables are preserved\.$/);
  }
});

test('actionTexts: a short label and an accessible name with the notebook', () => {
  const labels = LEASE_ACTIONS.map(change => actionTexts(change, 'a.ipynb', trans));
  assert.deepEqual(
    labels.map(({ label }) => label),
    ['Move', 'Park', 'Resume', 'Pin', 'Unpin']
  );
  for (const { aria, title, failed } of labels) {
    assert.match(aria, /a\.ipynb/);
    assert.ok(title.endsWith('.') && failed !== '');
  }
});

test('activityNotes: an active lease that can be parked, or is pinned', () => {
  const use = (changes: Parameters<typeof lease>[0]) => activityNotes(lease(changes), '3 min', trans);
  assert.deepEqual(use({}), ['idle for 3 min']);
  assert.deepEqual(use({ busy: true }), ['running a cell']);
  assert.deepEqual(use({ retention: 'hold' }), ['pinned', 'idle for 3 min']);
  assert.deepEqual(use({ parkable: false }), []);
  assert.deepEqual(use({ state: 'parked', retention: 'hold' }), ['pinned']);
  assert.deepEqual(use({ state: 'ended', retention: 'hold' }), []);
});

test('releaseDialogTexts: a parked lease, mentions what is lost', () => {
  const { title, body } = releaseDialogTexts(lease({ state: 'parked', park_reason: 'idle' }), trans);
  assert.equal(title, 'Release the parked GPU?');
  assert.match(body, /are lost/);
  const waiting = lease({ state: 'waiting', park_reason: 'idle' });
  assert.equal(releaseDialogTexts(waiting, trans).title, title);
});

test('memoryLimitText: differs for all kinds of enforcement, empty without a limit', () => {
  const limit = (changes: Parameters<typeof lease>[0]) => memoryLimitText(lease(changes), trans);
  const kinds = ['hardware', 'driver', 'userspace', 'cooperative', 'none'];
  assert.equal(new Set(kinds.map(kind => limit({ enforcement: kind }))).size, kinds.length);
  assert.match(limit({ enforcement: 'hardware', partition: '1g.10gb' }), /MIG partition 1g\.10gb/);
  assert.match(limit({ enforcement: 'userspace', mechanism: 'mps' }), /^enforced by CUDA, for each process/);
  assert.equal(limit({ enforcement: 'none', simulated: true }), 'not enforced (simulated)');
  assert.equal(limit({ enforcement: 'none', simulated: false }), 'not enforced');
  assert.equal(limit({ enforcement: null }), '');
});

test('mechanismName: known mechanisms have names, unknown ones are returned as they are', () => {
  const name = (mechanism: string | null, partition: string | null = null) =>
    mechanismName(lease({ mechanism, partition }), trans);
  assert.deepEqual(
    ['exclusive', 'shared', 'mps', 'simulated', 'mig', 'another', null].map(one => name(one)),
    ['Whole GPU', 'Shared GPU', 'MPS', 'Simulated', 'MIG', 'another', '']
  );
  assert.equal(name('mig', '3g.40gb'), 'MIG 3g.40gb');
});

test('scrubNote: known results have sentences, unknown ones are returned as they are', () => {
  const note = (changes: Parameters<typeof lease>[0]) => scrubNote(lease(changes), trans, 'en');
  assert.equal(note({}), null);
  assert.equal(note({ scrub: 'gone' }), 'All its GPU memory was freed.');
  assert.equal(note({ scrub: 'overwritten', scrub_bytes: 40 * GIB }), 'Its GPU memory was overwritten (40 GiB).');
  assert.equal(note({ scrub: 'overwritten' }), 'Its GPU memory was overwritten.');
  assert.equal(
    note({ scrub: 'gone', scrub_detail: 'Others are on the device.' }),
    'All its GPU memory was freed. Others are on the device.'
  );
  assert.equal(note({ scrub: 'something new' }), 'something new');
});
