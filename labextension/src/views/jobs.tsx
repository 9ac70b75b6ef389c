/** The user's jobs: groups that can be folded, filtered and sorted, like the leases. */

import * as React from 'react';

import { FormattedText } from '../controls/components';
import type { IJobCallbacks } from '../controls/jobbody';
import { JobBody } from '../controls/jobbody';
import { notifyChoice } from '../controls/notifybutton';
import type { ITextContext } from '../controls/textcontext';
import type { JobView } from '../generated/api';
import type { JobGroup, JobOrder } from '../jobs/grouping';
import { JOB_ORDERS, jobRows } from '../jobs/grouping';
import { isOver } from '../jobs/job';
import { formatTime } from '../texts/format';
import {
  jobGroupName,
  jobGroupNote,
  jobOrderName,
  jobOrigin,
  jobTitle,
  jobWord
} from '../texts/job';
import type { IJobNotifier, IJobs } from '../tokens';
import { FILTER_ITEMS_MIN, GroupedList, toggled } from './groupedlist';
import { JobRow } from './jobrow';

/** The height of an open job before it is measured, in pixels. */
const OPEN_HEIGHT = 170;

const MINUTE_MS = 60_000;

/** So many jobs that have ended are read to screen readers; more would be read for minutes. */
const ANNOUNCED_MAX = 3;

/** What the user has chosen for the list, which is kept. */
export interface IJobChoices {
  readonly order: JobOrder;
  readonly folded: ReadonlySet<JobGroup>;
}

export interface IJobsProps extends ITextContext, IJobCallbacks {
  readonly jobs: IJobs;
  readonly notifier: IJobNotifier | null;
  /** The number of the open job; null if none is. */
  readonly openedJob: number | null;
  readonly onOpenJob: (id: number | null) => void;
  readonly onDeleteOld: () => void;
  readonly jobChoices: IJobChoices;
  readonly onChooseJobs: (choices: IJobChoices) => void;
}

/** The content of the section *Jobs*. */
export function JobsSection(props: IJobsProps): React.JSX.Element {
  const { jobs, trans, language } = props;
  const { state } = jobs;
  if (!state.isKnown && state.unreachable === null) {
    return <p className="fg-Empty">{trans.__('Asking for your jobs…')}</p>;
  }
  const hasEnded = state.jobs.some(isOver);
  return (
    <>
      {!jobs.canAct && (
        <p className="fg-Quota" role="note">
          {trans.__('You may see the jobs of this server and not change them.')}
        </p>
      )}
      {state.unreachable !== null && (
        <div className="fg-Banner" data-kind="error" role="status">
          <p>
            <FormattedText text={state.unreachable.message} />{' '}
            {trans.__('A job that runs goes on by itself.')}
            {jobs.heardAt !== null &&
              state.isKnown &&
              ` ${trans.__('What is below is from %1.', formatTime(jobs.heardAt, language))}`}
          </p>
          <button type="button" className="fg-Button" onClick={() => jobs.refresh()}>
            {trans.__('Try again')}
          </button>
        </div>
      )}
      {state.isKnown && state.jobs.length === 0 && (
        <p className="fg-Empty">
          <FormattedText
            text={trans.__(
              'No jobs. Put %1 on top of a cell to run it on a GPU of its own; this notebook stays free.',
              '`%%fastgpu job`'
            )}
          />
        </p>
      )}
      {state.jobs.length > 0 && (
        <div data-stale={!jobs.isHeard} className="fg-Jobs">
          <JobList {...props} />
        </div>
      )}
      {hasEnded && (
        <div className="fg-ListFoot">
          <button
            type="button"
            className="fg-Link"
            disabled={!jobs.isHeard || !jobs.canAct}
            onClick={props.onDeleteOld}
          >
            {trans.__('Delete old results…')}
          </button>
        </div>
      )}
      <EndStatus {...props} />
    </>
  );
}

function JobList(props: IJobsProps): React.JSX.Element {
  const { jobs, notifier, jobChoices: choices, openedJob, onOpenJob, trans, language } = props;
  const all = jobs.state.jobs;
  const currency = all.find(job => job.currency !== null)?.currency ?? null;
  const now = jobs.now();
  const minute = Math.floor(now / MINUTE_MS) * MINUTE_MS;
  const latest = React.useRef({ openedJob, onOpenJob });
  latest.current = { openedJob, onOpenJob };
  const onToggle = React.useCallback(
    (id: number) => latest.current.onOpenJob(latest.current.openedJob === id ? null : id),
    []
  );
  return (
    <GroupedList<JobGroup, JobOrder, JobView>
      trans={trans}
      language={language}
      texts={{
        label: trans.__('Jobs'),
        placeholder: trans.__('Filter by name, size, state'),
        order: trans.__('Order of the jobs'),
        noMatch: trans.__('No job matches.'),
        orderName: order => jobOrderName(order, trans),
        groupName: group => jobGroupName(group, trans),
        groupNote: row => jobGroupNote(row, currency, trans, language)
      }}
      hasFilter={all.length >= FILTER_ITEMS_MIN}
      orders={JOB_ORDERS}
      order={choices.order}
      onOrder={order => props.onChooseJobs({ ...choices, order })}
      rowsOf={filter =>
        jobRows(all, {
          filter,
          order: choices.order,
          folded: choices.folded,
          textOf: job =>
            [jobTitle(job, trans), jobWord(job, trans), job.size, jobOrigin(job, trans)].join(' ')
        })
      }
      keyOf={({ id }) => `job ${id}`}
      openHeight={OPEN_HEIGHT}
      isExpanded={({ id }) => id === openedJob}
      attributesOf={job => ({ 'data-state': job.state, 'data-job-id': job.id })}
      onToggleGroup={group => props.onChooseJobs({ ...choices, folded: toggled(choices.folded, group) })}
      render={(job, isTabStop) => (
        <>
          <JobRow
            trans={trans}
            language={language}
            job={job}
            isHeard={jobs.isHeard}
            isExpanded={job.id === openedJob}
            isTabStop={isTabStop}
            live={jobs.isHeard && jobs.canAct && !jobs.pending.has(job.id)}
            minute={minute}
            onToggle={onToggle}
            onCancel={props.onCancel}
            onRerun={props.onRerun}
            onLog={props.onLog}
            onResult={props.onResult}
            onExplain={props.onExplain}
          />
          {job.id === openedJob && (
            <div className="fg-ListBody">
              <JobBody
                {...props}
                job={job}
                isHeard={jobs.isHeard}
                canAct={jobs.canAct}
                isPending={jobs.pending.has(job.id)}
                gpu={jobs.gpuOf(job)}
                rate={isOver(job) ? jobs.rateOf(job.size) : null}
                notify={notifyChoice(notifier, String(job.id))}
                now={now}
                isInCell={false}
                hasActions
              />
            </div>
          )}
        </>
      )}
    />
  );
}

/** The last jobs that have changed their state, which screen readers read. */
function EndStatus(props: IJobsProps): React.JSX.Element {
  const { jobs, trans } = props;
  const recent = jobs.state.jobs.filter(job => !isOver(job) || jobs.now() - (job.ended_at ?? 0) < MINUTE_MS);
  return (
    <p className="fg-ScreenReaderOnly" role="status" aria-live="polite">
      {recent
        .slice(0, ANNOUNCED_MAX)
        .map(job => trans.__('%1: %2.', jobTitle(job, trans), jobWord(job, trans)))
        .join(' ')}
    </p>
  );
}
