/** The rows of the list of jobs: groups by state, filtered and sorted. Pure. */

import type { JobView } from '../generated/api';
import type { Row } from '../leases/rows';
import { groupedRows } from '../leases/rows';
import { isOver, isParkedJob } from './job';

/** The groups, in the order of their headings. */
export const JOB_GROUPS = ['running', 'queued', 'ended'] as const;

export type JobGroup = (typeof JOB_GROUPS)[number];

/** The orders, the first being the default; queued jobs are always in the order in which they start. */
export const JOB_ORDERS = ['newest', 'name', 'cost'] as const;

export type JobOrder = (typeof JOB_ORDERS)[number];

/** What the rows depend on beside the jobs. */
export interface IJobListOptions {
  /** Words that a listed job has all; empty for all jobs. */
  readonly filter: string;
  readonly order: JobOrder;
  readonly folded: ReadonlySet<JobGroup>;
  /** Return the text of a job in which words of the filter are found. */
  readonly textOf: (job: JobView) => string;
}

/** Return the group of a job; one that is parked waits like a queued one. */
export function jobGroup(job: JobView): JobGroup {
  return isOver(job) ? 'ended' : job.state === 'queued' || isParkedJob(job) ? 'queued' : 'running';
}

/** Return the rows of the list. */
export function jobRows(
  jobs: ReadonlyArray<JobView>,
  options: IJobListOptions
): ReadonlyArray<Row<JobGroup, JobView>> {
  return groupedRows<JobGroup, JobView>(jobs, {
    ...options,
    groups: JOB_GROUPS,
    groupOf: jobGroup,
    rateOf: job => (jobGroup(job) === 'running' ? (job.rate_micro ?? 0) : 0),
    comparison: group => comparison(group, options.order)
  });
}

/** Return the number of jobs in each group. */
export function countJobs(jobs: ReadonlyArray<JobView>): Readonly<Record<JobGroup, number>> {
  const counts: Record<JobGroup, number> = { running: 0, queued: 0, ended: 0 };
  for (const job of jobs) {
    counts[jobGroup(job)] += 1;
  }
  return counts;
}

function comparison(group: JobGroup, order: JobOrder): (a: JobView, b: JobView) => number {
  const newest = (a: JobView, b: JobView) => b.id - a.id;
  if (group === 'queued') {
    // A parked job has started already, and has no jobs before it.
    const before = (job: JobView) => (job.state === 'running' ? -1 : (job.jobs_before ?? Number.MAX_SAFE_INTEGER));
    return (a, b) => before(a) - before(b) || a.id - b.id;
  }
  switch (order) {
    case 'newest':
      return newest;
    case 'name':
      return (a, b) => a.name.localeCompare(b.name) || newest(a, b);
    case 'cost':
      return (a, b) => (b.cost_micro ?? -1) - (a.cost_micro ?? -1) || newest(a, b);
  }
}
