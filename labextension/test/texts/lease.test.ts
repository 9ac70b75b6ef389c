import assert from 'node:assert/strict';
import test from 'node:test';

import { LEASE_STATES } from '../../src/generated/lifecycle';
import type { LeaseView, LogicalGPUView } from '../../src/generated/api';
import {
  activityNotes,
  countdownText,
  endReason,
  estimateText,
  leaseNotes,
  mechanismName,
  memoryLimitText,
  notebookName,
  parkedNote,
  releaseDialogTexts,
  scrubNote,
  stateDescription,
  stateName,
  statusBarText
} from '../../src/texts/lease';
import { GIB, lease, message, parkedFor, queuePosition } from '../samples';
import { trans } from '../translation';

test('statusBarText: shows state, position, usage and cost', () => {
  const text = (changes: Parameters<typeof lease>[0]) => statusBarText(lease(changes), trans, 'en');
  const active = {
    usage: { utilization_percent: 37 },
    memory: { used_bytes: 12.3 * GIB, limit_bytes: 80 * GIB },
    money: { cost_micro: 12_345 }
  };
  const real = { gpu: { simulated: false } };
  assert.equal(
    text({ ...active, ...real }),
    'GPU A100-SXM4-80GB 37% · 12.3 / 80 GiB · 0.0123 USD'
  );
  assert.match(text(active), /· simulated$/);
  const unknown = { usage: { utilization_percent: null }, memory: { used_bytes: null } };
  assert.equal(text({ ...active, ...unknown, ...real }), 'GPU A100-SXM4-80GB · 0.0123 USD');
  assert.equal(text({ state: 'waiting', queue: queuePosition(2) }), 'GPU: waiting, position 2');
  assert.equal(text({ state: 'waiting', queue: null }), 'GPU: waiting');
  assert.equal(text({ state: 'parked' }), 'GPU: parked');
  assert.equal(text({ state: 'parking' }), 'GPU: parking');
  assert.equal(text({ state: 'resuming', parking: parkedFor('idle') }), 'GPU: resuming');
  assert.equal(
    text({ state: 'waiting', parking: parkedFor('idle'), queue: queuePosition(2) }),
    'GPU: parked, waiting to resume, position 2'
  );
  assert.match(text({ ...active, parking: { retention: 'hold' } }), /· pinned · simulated$/);
  assert.equal(text({ state: 'ended' }), 'No GPU lease');
  assert.equal(statusBarText(null, trans, 'en'), 'No GPU lease');
});

test('stateName, stateDescription: differ for all states', () => {
  const names = LEASE_STATES.map(state => stateName(state, trans));
  const descriptions = LEASE_STATES.map(state => stateDescription(state, trans));
  assert.equal(new Set(names).size, LEASE_STATES.length);
  assert.equal(new Set(descriptions).size, LEASE_STATES.length);
});

test('releaseDialogTexts: an active lease, mentions what is preserved and what is lost', () => {
  const { body } = releaseDialogTexts(lease(), trans);
  for (const word of [/train\.ipynb/, /variables/, /preserved/, /no GPU/, /queue/]) {
    assert.match(body, word);
  }
  assert.equal(releaseDialogTexts(lease({ state: 'waiting' }), trans).accept, 'Leave the queue');
});

test('releaseDialogTexts: says when a cell runs', () => {
  const { title, body, accept } = releaseDialogTexts(lease({ usage: { busy: true } }), trans);
  assert.equal(title, 'Release the GPU while a cell runs?');
  assert.match(body, /train\.ipynb.*is running/);
  assert.match(body, /preserved/);
  assert.equal(accept, 'Release while it runs');
});

test('estimateText: the expected wait with its basis, or why it is unknown', () => {
  const known = { estimate_ms: 240_000, estimate_basis: message('12 leases lasted 8 min on average') };
  assert.equal(
    estimateText(known, trans, 'en'),
    'Expected wait: about 4 min (12 leases lasted 8 min on average).'
  );
  const unknown = { estimate_ms: null, estimate_basis: message('no estimate: too few leases') };
  assert.equal(estimateText(unknown, trans, 'en'), 'Expected wait: unknown (no estimate: too few leases).');
});

test('statusBarText: a waiting lease, shows the expected wait', () => {
  const waiting = lease({ state: 'waiting', queue: { ...queuePosition(2), estimate_ms: 61_000 } });
  assert.equal(statusBarText(waiting, trans, 'en'), 'GPU: waiting, position 2, about 1 min 01 s');
});

test('notebookName: of a job returns its name, without a notebook the kernel', () => {
  assert.equal(notebookName({ notebook: null, kernel_id: '0123456789' }, trans), 'kernel 01234567');
  assert.equal(notebookName({ notebook: null, kernel_id: null }, trans), 'without a notebook');
  assert.equal(notebookName({ notebook: '/home/ada/a.ipynb', job: 'job 17 · a' }, trans), 'job 17 · a');
});

test('parkedNote: the reason, and that variables are preserved unless the kernel restarts', () => {
  const note = (reason: string) =>
    parkedNote(lease({ state: 'parked', parking: parkedFor(reason) }), trans, 'en');
  assert.equal(
    note('idle'),
    'Parked: No cell ran, and another request needed the GPU. Variables are preserved.'
  );
  assert.match(note('restart'), /^Parked: It moves to another GPU without its memory/);
  assert.equal(parkedNote(lease(), trans, 'en'), '');
});

test('endReason: the message of the end, or a general one', () => {
  const reason = message('As sent.', 'end.device_lost');
  assert.equal(endReason(lease({ end_reason: reason }), trans, 'en'), 'Its GPU was lost.');
  assert.equal(endReason(lease(), trans, 'en'), 'It has ended.');
});

test('leaseNotes: the pending reason of a waiting lease, and all notes', () => {
  assert.deepEqual(leaseNotes(lease({ notes: [message('A.')] }), trans, 'en'), ['A.']);
  const waiting = lease({ queue: queuePosition(1), notes: [message('A.')] });
  assert.deepEqual(leaseNotes(waiting, trans, 'en'), ['Waits for 80 GiB.', 'A.']);
});

test('leaseNotes, countdownText: the lease that has the GPU, and when it is parked', () => {
  const own = message('“a.ipynb”', 'holder.own', { notebook: 'a.ipynb' });
  const holder = {
    lease_id: 'l1',
    notebook: 'a.ipynb',
    yields_at: 10_000,
    message: message('As sent.', 'holder.idle', { holder: own })
  };
  const waiting = { ...queuePosition(1), holder };
  assert.deepEqual(leaseNotes(lease({ queue: waiting }), trans, 'en'), [
    'Waits for 80 GiB.',
    '“a.ipynb” has a GPU and is idle, so that it is parked for this request.'
  ]);
  const text = (now: number, changes = {}) =>
    countdownText({ holder: { ...holder, ...changes } }, now, trans, 'en');
  assert.equal(text(7_500), 'It is parked in 3 s.');
  assert.equal(text(10_000), '');
  assert.equal(text(0, { yields_at: null }), '');
  assert.equal(countdownText({ holder: null }, 0, trans, 'en'), '');
});

test('activityNotes: an active lease that can be parked, or is pinned', () => {
  const notes = (changes: Parameters<typeof lease>[0]) => activityNotes(lease(changes), '3 min', trans);
  assert.deepEqual(notes({}), ['idle for 3 min']);
  assert.deepEqual(notes({ usage: { busy: true } }), ['running a cell']);
  assert.deepEqual(notes({ usage: { busy: null } }), []);
  assert.deepEqual(notes({ parking: { retention: 'hold' } }), ['pinned', 'idle for 3 min']);
  assert.deepEqual(notes({ parking: { parkable: false } }), []);
  assert.deepEqual(notes({ state: 'parked', parking: { retention: 'hold' } }), ['pinned']);
  assert.deepEqual(notes({ state: 'ended', parking: { retention: 'hold' } }), []);
});

test('releaseDialogTexts: a parked lease, mentions what is lost', () => {
  const { title, body } = releaseDialogTexts(lease({ state: 'parked', parking: parkedFor('idle') }), trans);
  assert.equal(title, 'Release the parked GPU?');
  assert.match(body, /are lost/);
  const waiting = lease({ state: 'waiting', parking: parkedFor('idle') });
  assert.equal(releaseDialogTexts(waiting, trans).title, title);
});

test('memoryLimitText: differs for all kinds of enforcement, empty without a limit', () => {
  const limit = (changes: Parameters<typeof lease>[0]) => memoryLimitText(lease(changes), trans);
  const by = (memory_limit: LeaseView['enforcement']['memory_limit']) => ({
    enforcement: { memory_limit }
  });
  const kinds = ['hardware', 'driver', 'userspace', 'cooperative', 'none'] as const;
  assert.equal(new Set(kinds.map(kind => limit(by(kind)))).size, kinds.length);
  const partition = { gpu: { partition: '1g.10gb' } };
  assert.match(limit({ ...by('hardware'), ...partition }), /MIG partition 1g\.10gb/);
  assert.match(limit(by('userspace')), /^enforced by the library of the GPU, for each process/);
  assert.equal(limit(by('none')), 'not enforced (simulated)');
  assert.equal(limit({ ...by('none'), gpu: { simulated: false } }), 'not enforced');
  assert.equal(limit({ ...by(null), gpu: null }), '');
});

test('mechanismName: each mechanism has a name', () => {
  const name = (mechanism: LogicalGPUView['mechanism'], partition: string | null = null) =>
    mechanismName({ mechanism, partition }, trans);
  const mechanisms = ['exclusive', 'shared', 'mps', 'simulated', 'mig'] as const;
  assert.deepEqual(
    mechanisms.map(mechanism => name(mechanism)),
    ['Whole GPU', 'Shared GPU', 'MPS', 'Simulated', 'MIG']
  );
  assert.equal(name('mig', '3g.40gb'), 'MIG 3g.40gb');
});

test('scrubNote: a sentence for each result, with its message', () => {
  const note = (scrub: LeaseView['scrub']) => scrubNote(lease({ scrub }), trans, 'en');
  const gone = { result: 'gone', bytes: null, message: null } as const;
  const overwritten = { ...gone, result: 'overwritten' } as const;
  assert.equal(note(null), null);
  assert.equal(note(gone), 'All its GPU memory was freed.');
  assert.equal(note({ ...gone, result: 'device_gone' }), 'Its GPU is missing, with all memory.');
  assert.equal(
    note({ ...gone, result: 'unknown' }),
    'Whether its GPU memory was freed cannot be seen.'
  );
  assert.equal(note(overwritten), 'Its GPU memory was overwritten.');
  assert.equal(
    note({ ...overwritten, bytes: 40 * GIB }),
    'Its GPU memory was overwritten (40 GiB).'
  );
  assert.equal(
    note({ ...gone, message: message('Others are on the device.') }),
    'All its GPU memory was freed. Others are on the device.'
  );
});
