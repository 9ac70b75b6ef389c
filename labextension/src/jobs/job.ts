/** The state of the user's jobs in the page, and functions that query it. Pure. */

import type { JobsMessage, JobsUnreachableMessage, JobView } from '../generated/api';
import { ENDED_JOBS } from '../generated/jobstates';
import { PARKED_OR_RETURNING } from '../generated/lifecycle';

/** What the page knows of the jobs. */
export interface IJobsState {
  /** Whether the list has come; before that, nothing is known of any job. */
  readonly isKnown: boolean;
  /** The newest first. */
  readonly jobs: ReadonlyArray<JobView>;
  /** Why the dispatcher does not answer, and the server's time of its last message; null while it does. */
  readonly unreachable: { readonly message: string; readonly since: number | null } | null;
}

export const NO_JOBS: IJobsState = { isKnown: false, jobs: [], unreachable: null };

/** Return the state after a message. An older version of a job does not replace a newer one. */
export function reduceJobs(
  state: IJobsState,
  message: JobsMessage | JobsUnreachableMessage
): IJobsState {
  if (message.type === 'jobs_unreachable') {
    const { message: text, since } = message;
    return { ...state, unreachable: { message: text, since } };
  }
  if (!message.reset && !state.isKnown) {
    return state;
  }
  const jobs = new Map((message.reset ? [] : state.jobs).map(job => [job.id, job]));
  for (const job of message.jobs) {
    const known = jobs.get(job.id);
    if (known === undefined || job.version >= known.version) {
      jobs.set(job.id, job);
    }
  }
  for (const id of message.gone) {
    jobs.delete(id);
  }
  // The number of jobs before a queued one changes without the job, and is sent as the order of all.
  message.queue?.forEach((id, index) => {
    const job = jobs.get(id);
    if (job !== undefined && job.jobs_before !== index) {
      jobs.set(id, { ...job, jobs_before: index });
    }
  });
  return {
    isKnown: true,
    jobs: [...jobs.values()].sort((a, b) => b.id - a.id),
    unreachable: null
  };
}

/** Return a state as one message, for a page that has none yet; null before the list is known. */
export function jobsMessage({ isKnown, jobs }: IJobsState): JobsMessage | null {
  return isKnown ? { type: 'jobs', jobs: [...jobs], gone: [], queue: null, reset: true } : null;
}

/** Return whether a job is over. */
export function isOver({ state }: Pick<JobView, 'state'>): boolean {
  return ENDED_JOBS.has(state);
}

/** Return whether a running job has given its GPU back for a while. */
export function isParkedJob({ state, lease_state }: Pick<JobView, 'state' | 'lease_state'>): boolean {
  return state === 'running' && lease_state !== null && PARKED_OR_RETURNING.has(lease_state);
}

/** Return whether two views are of the same job; numbers alone are those of any user. */
export function isSameJob(a: JobView, b: JobView): boolean {
  return a.id === b.id && a.submitted_at === b.submitted_at && a.kind === b.kind;
}

/** Return how far a job is, from 0 to 1; null where it does not say of how much. */
export function progressPart({ progress }: Pick<JobView, 'progress'>): number | null {
  return progress === null || progress.total === null || progress.total <= 0
    ? null
    : Math.min(1, Math.max(0, progress.done / progress.total));
}

/**
 * Return how long a running job still takes if it goes on as it did; null if that cannot be told.
 *
 * The first hundredth of a job says too little.
 */
export function timeLeftMs(job: JobView, now: number): number | null {
  const part = progressPart(job);
  return job.state !== 'running' || isParkedJob(job) || part === null || part < 0.01 || part >= 1 || job.started_at === null
    ? null
    : Math.max(0, ((now - job.started_at) * (1 - part)) / part);
}
