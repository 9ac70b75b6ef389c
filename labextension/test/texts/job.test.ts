import assert from 'node:assert/strict';
import test from 'node:test';

import { jobMark } from '../../src/controls/statemark';
import {
  cachedNote,
  endsText,
  endText,
  jobFacts,
  jobHeading,
  jobPlace,
  jobPosition,
  jobsNote,
  jobTitle,
  progressText,
  resultNote
} from '../../src/texts/job';
import { trans as english } from '../translation';
import { job, running } from '../jobs/samples';

const NOW = 60_000;

test('jobMark: the shapes of all states; what is not heard of is unknown, what is over is not', () => {
  const mark = (one: ReturnType<typeof job>, isHeard = true) => {
    const { shape, word } = jobMark(one, isHeard, english);
    return `${shape} ${word}`;
  };
  assert.equal(mark(job()), 'square Queued');
  assert.equal(mark(running()), 'disc Running');
  assert.equal(mark(running({ lease_state: 'parked' })), 'bars Parked');
  assert.equal(mark(running({ lease_state: 'waiting' })), 'bars Parked');
  assert.equal(mark(running({ lease_state: 'resuming' })), 'bars Resuming');
  assert.equal(mark(running({ cancelling: true })), 'disc Cancelling');
  assert.equal(mark(job({ state: 'done' })), 'tick Done');
  assert.equal(mark(job({ state: 'failed' })), 'fault Failed');
  assert.equal(mark(job({ state: 'lost' })), 'diamond Lost');
  assert.equal(mark(job({ state: 'cancelled' })), 'dashed Cancelled');
  assert.equal(mark(running(), false), 'diamond Unknown');
  assert.equal(mark(job({ state: 'done' }), false), 'tick Done');
});

test('jobHeading: what is said first of the end of a job', () => {
  const ran = { started_at: 1_000, ended_at: 9_000 };
  const heading = (one: ReturnType<typeof job>) => jobHeading(one, NOW, english, 'en');
  assert.equal(heading(running()), 'Job 17');
  assert.equal(heading(job({ state: 'done', ...ran })), 'Job 17 · 8 s');
  assert.equal(heading(job({ state: 'failed', ...ran })), 'Job 17 · after 8 s');
  const hit = { outcome: 'hit' as const, message: null, computed_at: null, saved_micro: null };
  assert.equal(heading(job({ state: 'done', cache: hit })), 'Job 17 · cached');
  assert.equal(jobTitle(job({ name: '' }), english), 'Job 17');
});

test('progressText: a part only where the total is known', () => {
  const progress = { done: 21, total: 50, unit: 'epoch', text: 'loss 0.2' };
  const text = (one: ReturnType<typeof job>) => progressText(one, NOW, english, 'en');
  assert.deepEqual(text(running({ progress })), { percent: '42%', detail: 'epoch 21 of 50 · loss 0.2 · about 1 min left' });
  assert.deepEqual(text(running({ progress: { done: 1204, total: null, unit: 'files', text: null } })), {
    percent: null,
    detail: '1,204 files'
  });
  assert.deepEqual(text(running()), { percent: null, detail: '' });
});

test('jobPosition and jobPlace: the position in the queue, or what comes before', () => {
  assert.equal(jobPosition(job({ position: 2, estimate_ms: 240_000 }), english), 'Position 2, about 4 min.');
  assert.equal(jobPosition(job(), english), '');
  assert.equal(jobPlace(job({ position: 2 }), english), 'position 2');
  assert.equal(jobPlace(job({ after: [18] }), english), 'after 18');
  assert.equal(jobPlace(job({ jobs_before: 1 }), english), '1 job before');
  assert.equal(jobPlace(running({ lease_state: 'parked' }), english), 'Parked');
  assert.equal(jobPlace(job(), english), '');
});

test('jobFacts: the lease of a running job has its memory; a queued job has no facts', () => {
  assert.deepEqual(jobFacts(job(), { lease: null, index: null }, NOW, english, 'en'), []);
  const gpu = { model: 'NVIDIA A100-SXM4-80GB', device_ids: ['a'], simulated: false };
  const facts = jobFacts(running({ gpu, attempt: 2 }), { lease: null, index: 3 }, NOW, english, 'en');
  assert.deepEqual([facts[0], facts[1], facts[2], facts[4]], ['half', 'A100-SXM4-80GB', 'GPU 3', 'attempt 2']);
});

test('cachedNote: what is not known is left out', () => {
  const cache = { outcome: 'hit' as const, message: null, computed_at: NOW, saved_micro: 420_000 };
  assert.match(cachedNote(job({ cache }), NOW, english, 'en'), /^Cached: computed [^,]*\.$/);
  assert.equal(cachedNote(job({ cache: { ...cache, computed_at: null } }), NOW, english, 'en'), 'Cached.');
  const gpu = { model: 'A100', device_ids: [], simulated: false };
  assert.match(cachedNote(job({ cache, gpu }), NOW, english, 'en'), / on A100, saved 0\.4200 USD\.$/);
});

test('jobsNote, resultNote, endText and endsText', () => {
  assert.equal(jobsNote({ running: 2, queued: 3, ended: 9 }, english, 'en'), '2 running · 3 queued');
  assert.equal(jobsNote({ running: 0, queued: 0, ended: 9 }, english, 'en'), '9');
  const result = { digest: '0', bytes: 102 * 2 ** 20, values: ['model'], files: ['a', 'b'], outputs: 0, notebook: false };
  assert.equal(resultNote(job({ result }), english, 'en'), 'model, 2 files, 102 MiB');
  const failed = job({ state: 'failed', error: { name: 'NameError', text: "name 'lr' is not defined" } });
  assert.equal(endText(failed, english, 'en'), "Job 17 · train has failed: NameError: name 'lr' is not defined");
  assert.equal(endText(job({ state: 'done', cost_micro: 420_000 }), english, 'en'), 'Job 17 · train is done. Cost: 0.4200 USD.');
  assert.equal(endsText([failed, job({ state: 'done' })], english), '2 jobs have ended. 1 failed.');
});
