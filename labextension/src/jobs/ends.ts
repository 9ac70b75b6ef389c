/** Which jobs have ended since the page looked last, and which of them another page has announced already. */

import type { JobView } from '../generated/api';
import type { IJobsState } from './job';
import { isOver } from './job';

/** Finds the jobs that end while the page is open. */
export class JobEnds {
  /** Return the jobs that are over now and were not when this was called last; none at first. */
  next(state: IJobsState): ReadonlyArray<JobView> {
    if (!state.isKnown || state.jobs === this._last) {
      return [];
    }
    this._last = state.jobs;
    const ended = state.jobs.filter(job => isOver(job) && this._open.has(keyOf(job)));
    this._open = new Set(state.jobs.filter(job => !isOver(job)).map(keyOf));
    return ended;
  }

  private _last: IJobsState['jobs'] | null = null;
  private _open: ReadonlySet<string> = new Set();
}

/** Return what identifies a job among those of all users. */
export function keyOf({ id, submitted_at }: Pick<JobView, 'id' | 'submitted_at'>): string {
  return `${id} ${submitted_at}`;
}

/** So many announced jobs are remembered. */
const CLAIMED_MAX = 200;

/** What the pages of a browser share; tests provide a fake. */
export interface IClaims {
  /** Return whether this page is the first to ask for a key; what pages store is not seen by others at once. */
  acquire(key: string): Promise<boolean>;
  read(): string | null;
  write(text: string): void;
}

/** Return those jobs that no page of the browser has announced before, and remember them as announced. */
export async function claim(jobs: ReadonlyArray<JobView>, claims: IClaims): Promise<ReadonlyArray<JobView>> {
  const own: JobView[] = [];
  for (const job of jobs) {
    if ((await claims.acquire(keyOf(job))) && !readKeys(claims.read()).includes(keyOf(job))) {
      own.push(job);
    }
  }
  try {
    claims.write(JSON.stringify([...readKeys(claims.read()), ...own.map(keyOf)].slice(-CLAIMED_MAX)));
  } catch {
    // A full storage may cause a second notification, which is better than none.
  }
  return own;
}

function readKeys(text: string | null): ReadonlyArray<string> {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
  } catch {
    return [];
  }
}
