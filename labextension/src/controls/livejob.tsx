/** The live view of a job in the cell that has submitted it. */

import * as React from 'react';

import { failureTexts } from '../texts/connection';
import { formatTime } from '../texts/format';
import { jobCost, jobHeading, jobRate, jobTitle, jobWord, progressText } from '../texts/job';
import type { IJobBodyProps } from './jobbody';
import { JobBody } from './jobbody';
import { jobMark, StateMark } from './statemark';

export interface ILiveJobProps extends Omit<IJobBodyProps, 'isInCell' | 'hasActions'> {
  /**
   * Where the view comes from: the list of jobs; or the notebook, because the list has not come yet, or because the job
   * is no longer, or never was, in it.
   */
  readonly origin: 'list' | 'unheard' | 'saved';
  /** The server's time at which something was heard of jobs last; null if that never was. */
  readonly heardAt: number | null;
  /** What the server says about a dispatcher that does not answer; null if it does. */
  readonly failure: string | null;
}

export function LiveJob(props: ILiveJobProps): React.JSX.Element {
  const { job, origin, now, trans, language } = props;
  const isHeard = props.isHeard && origin === 'list';
  const mark = jobMark(job, isHeard, trans);
  const cost = jobCost(job, language);
  const rate = isHeard ? jobRate(job, trans, language) : '';
  const isBilled = job.state !== 'queued';
  return (
    <div className="fg-Controls fg-LiveJob" data-state={job.state} data-stale={!isHeard} role="group" aria-label={jobTitle(job, trans)}>
      <div className="fg-Controls-head">
        <span role="status">
          <StateMark mark={mark} />
        </span>
        <strong className="fg-ellipsis" title={jobTitle(job, trans)}>
          {jobHeading(job, now, trans, language)}
        </strong>
        <span className="fg-LiveJob-cost">
          {isBilled ? <strong>{cost}</strong> : trans.__('nothing is billed')}
          {rate !== '' && ` · ${rate}`}
        </span>
      </div>
      {origin === 'saved' && (
        <p className="fg-Note" data-kind="info">
          {trans.__('This job is not in your list of jobs. What is shown was saved with the notebook.')}
        </p>
      )}
      {origin !== 'saved' && !props.isHeard && <Unheard {...props} />}
      <JobBody {...props} isHeard={isHeard} isInCell hasActions={origin !== 'saved'} />
    </div>
  );
}

/** That nothing is heard of jobs, and what was known last. */
function Unheard(props: ILiveJobProps): React.JSX.Element {
  const { job, heardAt, failure, trans, language } = props;
  const { percent } = progressText(job, null, trans, language);
  const last = [jobWord(job, trans), ...(percent === null ? [] : [percent])].join(', ');
  return (
    <p className="fg-Note" data-kind="error" role="status">
      {failure ?? failureTexts('network', trans).title}
      {failure === null ? '. ' : ' '}
      {trans.__('A job that runs goes on by itself.')}
      {heardAt !== null && ` ${trans.__('Last known at %1: %2.', formatTime(heardAt, language), last)}`}
    </p>
  );
}
