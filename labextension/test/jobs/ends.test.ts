import assert from 'node:assert/strict';
import test from 'node:test';

import { claim, JobEnds } from '../../src/jobs/ends';
import type { IJobsState } from '../../src/jobs/job';
import { NO_JOBS } from '../../src/jobs/job';
import type { JobView } from '../../src/generated/api';
import { job, running } from './samples';

function state(...jobs: JobView[]): IJobsState {
  return { isKnown: true, jobs, unreachable: null };
}

test('JobEnds: jobs that end while the page is open, each once; not those that had ended before', () => {
  const ends = new JobEnds();
  const ids = (jobs: ReadonlyArray<JobView>) => jobs.map(({ id }) => id);
  assert.deepEqual(ends.next(NO_JOBS), []);
  assert.deepEqual(ends.next(state(running(), job({ id: 18 }), job({ id: 3, state: 'done' }))), []);
  const later = state(job({ state: 'failed' }), job({ id: 18 }), job({ id: 3, state: 'done' }));
  assert.deepEqual(ids(ends.next(later)), [17]);
  assert.deepEqual(ends.next(later), []);
  assert.deepEqual(ends.next(state(job({ state: 'failed' }), running({ id: 18 }))), []);
  // Also where the page was hidden meanwhile and gets the whole list again.
  assert.deepEqual(ids(ends.next(state(job({ state: 'failed' }), job({ id: 18, state: 'lost' })))), [18]);
});

test('claim: each end belongs to one page of the browser', async () => {
  let kept: string | null = null;
  const held = new Set<string>();
  const claims = {
    acquire: (key: string) => Promise.resolve(!held.has(key) && held.add(key).has(key)),
    read: () => kept,
    write: (text: string) => {
      kept = text;
    }
  };
  const done = job({ state: 'done' });
  assert.deepEqual(await claim([done], claims), [done]);
  // Another page, which does not see yet what the first one has stored; and one that comes later.
  const stored = kept;
  kept = null;
  assert.deepEqual(await claim([done], claims), []);
  kept = stored;
  held.clear();
  assert.deepEqual(await claim([done], claims), []);
  const other = job({ state: 'done', submitted_at: 9 });
  assert.deepEqual(await claim([done, other], claims), [other]);
  kept = 'not JSON';
  held.clear();
  assert.deepEqual(await claim([done], claims), [done]);
});
