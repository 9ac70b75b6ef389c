import assert from 'node:assert/strict';
import test from 'node:test';

import type { JobsMessage, JobView } from '../../src/generated/api';
import { countJobs, jobGroup, jobRows } from '../../src/jobs/grouping';
import { isSameJob, jobsMessage, NO_JOBS, reduceJobs, timeLeftMs } from '../../src/jobs/job';
import { rowKey } from '../../src/leases/rows';
import { job, running } from './samples';

function jobs(list: JobView[], changes: Partial<JobsMessage> = {}): JobsMessage {
  return { type: 'jobs', jobs: list, gone: [], queue: null, reset: false, ...changes };
}

test('reduceJobs: nothing is known before the whole list has come', () => {
  assert.equal(reduceJobs(NO_JOBS, jobs([job()])), NO_JOBS);
  const state = reduceJobs(NO_JOBS, jobs([job(), job({ id: 18 })], { reset: true }));
  assert.deepEqual([state.isKnown, state.jobs.map(({ id }) => id)], [true, [18, 17]]);
});

test('reduceJobs: newer versions, removed jobs and the order of the queue', () => {
  let state = reduceJobs(NO_JOBS, jobs([job({ version: 3 }), job({ id: 18 })], { reset: true, queue: [18, 17] }));
  assert.deepEqual(state.jobs.map(({ jobs_before }) => jobs_before), [0, 1]);
  state = reduceJobs(state, jobs([job({ version: 2, name: 'old' })]));
  assert.equal(state.jobs[1].name, 'train');
  state = reduceJobs(state, jobs([running({ version: 4 })], { gone: [18] }));
  assert.deepEqual(state.jobs.map(({ id, state: now }) => [id, now]), [[17, 'running']]);
  state = reduceJobs(state, jobs([job({ id: 3 })], { reset: true }));
  assert.deepEqual(state.jobs.map(({ id }) => id), [3]);
});

test('reduceJobs: while the dispatcher does not answer, what is known is kept', () => {
  let state = reduceJobs(NO_JOBS, jobs([job()], { reset: true }));
  state = reduceJobs(state, { type: 'jobs_unreachable', message: 'It is stopped.', since: 5 });
  assert.deepEqual([state.jobs.length, state.unreachable], [1, { message: 'It is stopped.', since: 5 }]);
  state = reduceJobs(state, jobs([]));
  assert.equal(state.unreachable, null);
});

test('jobsMessage: a page that joins gets all that is known', () => {
  assert.equal(jobsMessage(NO_JOBS), null);
  const state = reduceJobs(NO_JOBS, jobs([job(), running({ id: 18 })], { reset: true }));
  const message = jobsMessage(state);
  assert.ok(message !== null);
  assert.deepEqual(reduceJobs(NO_JOBS, message), state);
});

test('jobGroup: a parked job waits, and so does one that waits to resume', () => {
  assert.equal(jobGroup(running()), 'running');
  assert.equal(jobGroup(running({ lease_state: null })), 'running');
  assert.equal(jobGroup(running({ lease_state: 'parked' })), 'queued');
  assert.equal(jobGroup(running({ lease_state: 'waiting' })), 'queued');
  assert.equal(jobGroup(job({ state: 'lost' })), 'ended');
});

test('jobRows: groups with their rates, queued jobs in their order, a filter', () => {
  const list = [
    job({ id: 1, state: 'done', cost_micro: 5 }),
    job({ id: 2, state: 'failed', cost_micro: 9 }),
    job({ id: 3, jobs_before: 1 }),
    job({ id: 4, jobs_before: 0 }),
    running({ id: 5, rate_micro: 7 }),
    running({ id: 6, lease_state: 'parked', rate_micro: 7 })
  ];
  const options = { filter: '', order: 'cost' as const, folded: new Set<never>(), textOf: (one: JobView) => one.state };
  const rows = jobRows(list, options);
  assert.deepEqual(
    rows.map(row => rowKey(row, ({ id }) => String(id))),
    ['group running', '5', 'group queued', '6', '4', '3', 'group ended', '2', '1']
  );
  assert.deepEqual(
    rows.flatMap(row => (row.kind === 'group' ? [row.rateMicro] : [])),
    [7, 0, 0]
  );
  assert.equal(jobRows(list, { ...options, filter: 'failed' }).length, 2);
  assert.deepEqual(countJobs(list), { running: 1, queued: 3, ended: 2 });
});

test('timeLeftMs: from the part that is done, never for a parked job or without a total', () => {
  const progress = { done: 25, total: 100, unit: null, text: null };
  assert.equal(timeLeftMs(running({ progress }), 40_000), 90_000);
  assert.equal(timeLeftMs(running({ progress, lease_state: 'parked' }), 40_000), null);
  assert.equal(timeLeftMs(running({ progress: { ...progress, total: null } }), 40_000), null);
  assert.equal(timeLeftMs(running({ progress: { ...progress, done: 0 } }), 40_000), null);
});

test('isSameJob: a job of the same number of another user or store is another one', () => {
  assert.ok(isSameJob(job(), running()));
  assert.ok(!isSameJob(job(), job({ submitted_at: 2_000 })));
});
