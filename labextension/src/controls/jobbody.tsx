/**
 * What is known of a job, and what can be done: the open row of the panel, and the live view of a cell.
 *
 * Both show one state, because this is the only place where it is drawn.
 */

import * as React from 'react';

import type { JobView, MessageView } from '../generated/api';
import { isOver, isParkedJob, progressPart } from '../jobs/job';
import type { IJobGPU } from '../texts/job';
import {
  cachedNote,
  jobAsks,
  jobCost,
  jobFacts,
  jobHint,
  jobOrigin,
  jobPosition,
  jobRate,
  jobTitle,
  progressText,
  resultNote
} from '../texts/job';
import { messageText } from '../texts/message';
import { rateText } from '../texts/size';
import { FormattedText, Tag } from './components';
import type { INotifyChoice } from './notifybutton';
import { NotifyButton } from './notifybutton';
import type { ITextContext } from './textcontext';

/** What the views of jobs call when the user acts. */
export interface IJobCallbacks {
  readonly onCancel: (job: JobView) => void;
  readonly onRerun: (job: JobView) => void;
  readonly onLog: (job: JobView) => void;
  readonly onResult: (job: JobView) => void;
  readonly onExplain: (job: JobView) => void;
}

export interface IJobBodyProps extends ITextContext, IJobCallbacks {
  readonly job: JobView;
  /** Whether what is shown is what the job is now. */
  readonly isHeard: boolean;
  /** Whether the user may change jobs. */
  readonly canAct: boolean;
  readonly isPending: boolean;
  readonly gpu: IJobGPU;
  /** What the job costs an hour if it runs again; null while that is not known. */
  readonly rate: { readonly rateMicro: number; readonly currency: string } | null;
  /** Undefined where no notification is possible. */
  readonly notify?: INotifyChoice;
  readonly now: number;
  /** Whether there are buttons: not for a job that is not the user's. */
  readonly hasActions: boolean;
  /** Whether the cell of the job is around this view: then its origin is seen, and the cost is above. */
  readonly isInCell: boolean;
}

export function JobBody(props: IJobBodyProps): React.JSX.Element {
  const { job, gpu, now, isInCell, trans, language } = props;
  const origin = isInCell ? [] : [jobOrigin(job, trans)];
  const facts = [...origin, ...jobFacts(job, gpu, now, trans, language)];
  return (
    <div className="fg-JobBody">
      {facts.length > 0 && (
        <p className="fg-Facts">
          {facts.map((fact, index) => (
            <span key={index}>{fact}</span>
          ))}
          {job.gpu?.simulated === true && <Tag kind="simulated">{trans.__('simulated')}</Tag>}
        </p>
      )}
      <JobNotes {...props} />
      {job.state === 'running' && job.progress !== null && <JobProgress {...props} />}
      {job.error !== null && (
        <pre className="fg-JobLog" tabIndex={0} aria-label={trans.__('Error of %1', jobTitle(job, trans))}>
          <span className="fg-JobLog-error">{job.error.name}</span>
          {`: ${job.error.text}`}
        </pre>
      )}
      {job.state === 'running' && job.log_tail.length > 0 && (
        <pre className="fg-JobLog" tabIndex={0} aria-label={trans.__('End of the log of %1', jobTitle(job, trans))}>
          {job.log_tail.join('\n')}
        </pre>
      )}
      <JobFoot {...props} />
    </div>
  );
}

/** Why the job waits, what the cache did, and what else its user should know. */
function JobNotes(props: IJobBodyProps): React.JSX.Element {
  const { job, now, trans, language } = props;
  const text = (message: MessageView) => messageText(message, trans, language);
  const { cache, reason, notes } = job;
  const waits = job.state === 'queued' || isParkedJob(job);
  const position = waits ? jobPosition(job, trans) : '';
  const isHit = cache?.outcome === 'hit';
  return (
    <>
      {waits && (
        <p className="fg-Note" data-kind={job.state === 'queued' ? 'waiting' : 'parked'} role="status">
          {position !== '' && <strong>{position} </strong>}
          {reason !== null && <FormattedText text={`${text(reason)} `} />}
          {jobAsks(job, trans)}
          {isParkedJob(job) && ` ${trans.__('It goes on by itself; nothing is billed meanwhile.')}`}
        </p>
      )}
      {cache !== null && (isHit || cache.message !== null) && (
        <p className="fg-Note" data-kind={isHit ? 'ok' : cache.outcome === 'not_cached' ? 'warning' : 'info'}>
          {isHit && <strong>{cachedNote(job, now, trans, language)} </strong>}
          {cache.message !== null && <FormattedText text={text(cache.message)} />}
        </p>
      )}
      {notes.map((note, index) => (
        <p key={index} className="fg-Note" data-kind={job.state === 'lost' ? 'error' : 'info'}>
          <FormattedText text={text(note)} />
        </p>
      ))}
    </>
  );
}

/** The part that is done as a bar, if it is known of how much, and what the job says. */
function JobProgress(props: IJobBodyProps): React.JSX.Element {
  const { job, isHeard, now, trans, language } = props;
  const part = progressPart(job);
  const { percent, detail } = progressText(job, isHeard ? now : null, trans, language);
  return (
    <div className="fg-JobProgress">
      {part !== null && percent !== null && (
        <>
          <div
            className="fg-Meter"
            role="progressbar"
            aria-label={trans.__('Progress of %1', jobTitle(job, trans))}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={Math.round(100 * part)}
            aria-valuetext={[percent, detail].join(', ')}
          >
            <div className="fg-Meter-fill" style={{ width: `${100 * part}%` }} />
          </div>
          <span className="fg-JobProgress-percent" aria-hidden="true">
            {percent}
          </span>
        </>
      )}
      <span
        className="fg-JobProgress-detail"
        aria-hidden={part !== null}
        title={trans.__('The time that is left if it goes on as it did until now.')}
      >
        {detail}
      </span>
    </div>
  );
}

/** What the job costs or left, and the buttons for what can be done now. */
function JobFoot(props: IJobBodyProps): React.JSX.Element {
  const { job, isInCell, hasActions, trans, language } = props;
  const cost = jobCost(job, language);
  const rate = jobRate(job, trans, language);
  const left = resultNote(job, trans, language) || (isInCell && hasActions ? jobHint(job, trans) : '');
  return (
    <div className="fg-JobFoot">
      {!isInCell && cost !== '' && (
        <span>
          <strong>{cost}</strong>
          {rate !== '' && <span className="fg-dim"> {rate}</span>}
        </span>
      )}
      {left !== '' && <span className="fg-dim">{left}</span>}
      {hasActions && <JobButtons {...props} />}
    </div>
  );
}

function JobButtons(props: IJobBodyProps): React.JSX.Element {
  const { job, isHeard, canAct, isPending, rate, notify, trans, language } = props;
  const title = jobTitle(job, trans);
  const live = isHeard && canAct && !isPending;
  const over = isOver(job);
  return (
    <div className="fg-Buttons" role="group" aria-label={trans.__('Actions for %1', title)}>
      {job.result !== null && (
        <button
          type="button"
          className="fg-Button fg-mod-primary"
          disabled={!isHeard}
          aria-label={trans.__('Result of %1', title)}
          onClick={() => props.onResult(job)}
        >
          {trans.__('Result')}
        </button>
      )}
      {job.log_bytes > 0 && (job.result === null || job.state !== 'done') && (
        <button
          type="button"
          className="fg-Button"
          aria-label={trans.__('Log of %1', title)}
          onClick={() => props.onLog(job)}
        >
          {trans.__('Log')}
        </button>
      )}
      {job.cache !== null && job.cache.outcome !== null && over && (
        <button
          type="button"
          className="fg-Button"
          disabled={!isHeard}
          aria-label={trans.__('Explain why %1 was computed or not', title)}
          onClick={() => props.onExplain(job)}
        >
          {trans.__('Explain')}
        </button>
      )}
      {!over && notify !== undefined && <NotifyButton notify={notify} trans={trans} />}
      {over ? (
        <button
          type="button"
          className="fg-Button"
          disabled={!live}
          aria-label={trans.__('Run %1 again', title)}
          onClick={() => props.onRerun(job)}
        >
          {rate === null
            ? trans.__('Run again')
            : trans.__('Run again · %1', rateText(rate.rateMicro, rate.currency, trans, language))}
        </button>
      ) : (
        <button
          type="button"
          className="fg-Button"
          disabled={!live || job.cancelling}
          aria-label={trans.__('Cancel %1', title)}
          onClick={() => props.onCancel(job)}
        >
          {cancelLabel(job, trans)}
        </button>
      )}
    </div>
  );
}

/** Return the label of the button that cancels a job; a running one is cancelled after a question. */
export function cancelLabel(job: JobView, trans: ITextContext['trans']): string {
  return job.cancelling ? trans.__('Cancelling…') : job.state === 'running' ? trans.__('Cancel…') : trans.__('Cancel');
}
