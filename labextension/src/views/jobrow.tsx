/** A job in one line: its state, name and numbers, in whose place its actions appear on hover and focus. */

import * as React from 'react';

import type { IJobCallbacks } from '../controls/jobbody';
import { cancelLabel } from '../controls/jobbody';
import { jobMark, StateMark, StateShape } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import type { JobView } from '../generated/api';
import { jobGroup } from '../jobs/grouping';
import { isOver } from '../jobs/job';
import { jobCost, jobPlace, jobTitle, progressText, shortTime } from '../texts/job';
import { openContextMenu } from './contextmenu';

export interface IJobRowProps extends ITextContext, IJobCallbacks {
  readonly job: JobView;
  readonly isHeard: boolean;
  readonly isExpanded: boolean;
  /** Whether the Tab key reaches the list here. */
  readonly isTabStop: boolean;
  /** Whether changes can be requested: something is heard of jobs, none is pending, and the user may. */
  readonly live: boolean;
  /** The server's time, to the minute, so that a line is not drawn each second. */
  readonly minute: number;
  readonly onToggle: (id: number) => void;
}

/** The line; it is rendered again only if what it shows has changed. */
export const JobRow = React.memo(function JobRow(props: IJobRowProps): React.JSX.Element {
  const { job, isHeard, isExpanded, trans } = props;
  const title = jobTitle(job, trans);
  const mark = jobMark(job, isHeard, trans);
  const numbers = rowNumbers(props);
  return (
    <div className="fg-ListRow" data-expanded={isExpanded}>
      <button
        type="button"
        className="fg-ListRow-toggle"
        tabIndex={props.isTabStop ? 0 : -1}
        aria-expanded={isExpanded}
        aria-label={[title, mark.word, ...numbers.map(({ text }) => text)].join(', ')}
        title={title}
        onClick={() => props.onToggle(job.id)}
      >
        <span className="fg-Section-caret" aria-hidden="true" />
        <StateShape shape={mark.shape} />
        <span className="fg-Item-name fg-ellipsis">{title}</span>
      </button>
      {isExpanded ? (
        <StateMark mark={mark} />
      ) : (
        <>
          <span className="fg-ListRow-numbers" aria-hidden="true">
            {numbers.map(({ kind, text }) => (
              <span key={kind} data-kind={kind} className="fg-ellipsis">
                {text}
              </span>
            ))}
          </span>
          <RowActions {...props} title={title} />
        </>
      )}
    </div>
  );
});

/** The buttons of a line, which the arrow keys reach from its name. */
function RowActions(props: IJobRowProps & { readonly title: string }): React.JSX.Element {
  const { job, title, live, trans } = props;
  const first = !isOver(job)
    ? {
        label: cancelLabel(job, trans),
        aria: trans.__('Cancel %1', title),
        enabled: live && !job.cancelling,
        act: props.onCancel
      }
    : job.state === 'done' && job.result !== null
      ? { label: trans.__('Result'), aria: trans.__('Result of %1', title), enabled: props.isHeard, act: props.onResult }
      : { label: trans.__('Run again'), aria: trans.__('Run %1 again', title), enabled: live, act: props.onRerun };
  return (
    <span className="fg-ListRow-actions" role="group" aria-label={trans.__('Actions for %1', title)}>
      <button
        type="button"
        className="fg-Button"
        tabIndex={-1}
        disabled={!first.enabled}
        aria-label={first.aria}
        onClick={() => first.act(job)}
      >
        {first.label}
      </button>
      <button
        type="button"
        className="fg-Button"
        tabIndex={-1}
        aria-haspopup="menu"
        aria-label={trans.__('More actions for %1', title)}
        onClick={openContextMenu}
      >
        <span aria-hidden="true">⋯</span>
      </button>
    </span>
  );
}

/** Return the numbers of a line, in order; the last one is the most important. */
function rowNumbers(
  props: IJobRowProps
): ReadonlyArray<{ readonly kind: 'size' | 'time' | 'end' | 'position' | 'cost'; readonly text: string }> {
  const { job, minute, trans, language } = props;
  const cost = { kind: 'cost', text: jobCost(job, language) } as const;
  const size = { kind: 'size', text: job.size } as const;
  const shown = (() => {
    switch (jobGroup(job)) {
      case 'running': {
        const { percent } = progressText(job, minute, trans, language);
        return [size, percent === null ? cost : ({ kind: 'cost', text: percent } as const)];
      }
      case 'queued':
        return [size, { kind: 'position', text: jobPlace(job, trans) } as const];
      case 'ended':
        return [endNote(job, minute, trans, language), cost];
    }
  })();
  return shown.filter(({ text }) => text !== '');
}

/** Return how a job ended if not as usual, else when. */
function endNote(job: JobView, now: number, trans: ITextContext['trans'], language: string) {
  const end = (text: string) => ({ kind: 'end', text }) as const;
  if (job.cache?.outcome === 'hit') {
    return end(trans.__('cached'));
  }
  switch (job.state) {
    case 'cancelled':
      return end(trans.__('cancelled'));
    case 'lost':
      return end(trans.__('lost'));
    case 'failed':
      return end(trans.__('failed'));
    default: {
      const text = job.ended_at === null ? '' : shortTime(job.ended_at, now, language);
      return { kind: 'time', text } as const;
    }
  }
}
