/**
 * The state of a lease or a job as a shape and a word, which are the same on every surface; colour is never the only difference.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobView, LeaseView } from '../generated/api';
import type { JobState } from '../generated/jobstates';
import type { LeaseState } from '../generated/lifecycle';
import type { Connection } from '../leases/lease';
import { isOver, isParkedJob } from '../jobs/job';
import { jobWord } from '../texts/job';
import { stateName } from '../texts/lease';

/** The shapes: a cell runs, idle, waiting, parked, no lease, unknown, faulty, done. */
export type MarkShape = 'disc' | 'ring' | 'square' | 'bars' | 'dashed' | 'diamond' | 'fault' | 'tick';

/** The shape of each state; an active lease whose cells run has a disc. */
const SHAPES: Readonly<Record<LeaseState, MarkShape>> = {
  waiting: 'square',
  preparing: 'square',
  active: 'ring',
  parking: 'bars',
  parked: 'bars',
  resuming: 'bars',
  draining: 'dashed',
  ended: 'dashed'
};

/** A shape with its word. */
export interface IMark {
  readonly shape: MarkShape;
  readonly word: string;
}

/** Return the mark of a lease as it is known; `unreachable` makes it unknown, and no lease has a mark of its own. */
export function leaseMark(
  lease: LeaseView | null,
  connection: Connection['kind'],
  trans: TranslationBundle
): IMark {
  if (connection === 'unreachable' || (lease !== null && lease.health.missing_since !== null)) {
    return { shape: 'diamond', word: trans.__('Unknown') };
  }
  if (lease === null) {
    return { shape: 'dashed', word: trans.__('No lease') };
  }
  const runs = lease.state === 'active' && lease.usage.busy === true;
  return { shape: runs ? 'disc' : SHAPES[lease.state], word: stateName(lease.state, trans) };
}

/** The shape of each state of a job; one that is parked has that of a parked lease. */
const JOB_SHAPES: Readonly<Record<JobState, MarkShape>> = {
  queued: 'square',
  running: 'disc',
  done: 'tick',
  failed: 'fault',
  cancelled: 'dashed',
  lost: 'diamond'
};

/** Return the mark of a job as it is known; what became of one is unknown while nothing is heard of it. */
export function jobMark(job: JobView, isHeard: boolean, trans: TranslationBundle): IMark {
  if (!isHeard && !isOver(job)) {
    return { shape: 'diamond', word: trans.__('Unknown') };
  }
  const shape = isParkedJob(job) ? 'bars' : job.lease_state === 'preparing' ? 'square' : JOB_SHAPES[job.state];
  return { shape: isOver(job) ? JOB_SHAPES[job.state] : shape, word: jobWord(job, trans) };
}

/** A shape of 12 by 12 pixels, without a name: the word beside it, or the name of its button, is what is read. */
export function StateShape(props: { readonly shape: MarkShape }): React.JSX.Element {
  return (
    <svg className="fg-Shape" data-shape={props.shape} viewBox="0 0 12 12" aria-hidden="true">
      {DRAWINGS[props.shape]}
    </svg>
  );
}

const DRAWINGS: Readonly<Record<MarkShape, React.JSX.Element>> = {
  disc: <circle className="fg-mod-solid" cx="6" cy="6" r="5" />,
  ring: <circle cx="6" cy="6" r="4" />,
  square: <rect className="fg-mod-solid" x="1.5" y="1.5" width="9" height="9" />,
  bars: <path d="M4 1.5V10.5M8 1.5V10.5" />,
  dashed: <circle cx="6" cy="6" r="4.5" strokeDasharray="2.2 2.4" />,
  diamond: <path d="M6 1.2L10.8 6L6 10.8L1.2 6Z" />,
  fault: <path className="fg-mod-solid" d="M6 0.6L11.4 6L6 11.4L0.6 6Z" />,
  tick: <path d="M1.5 6.5L4.5 9.5L10.5 2.5" />
};

/** A shape with its word in a frame. */
export function StateMark(props: { readonly mark: IMark }): React.JSX.Element {
  return (
    <span className="fg-StateMark" data-shape={props.mark.shape}>
      <StateShape shape={props.mark.shape} />
      {props.mark.word}
    </span>
  );
}
