/**
 * The queue: each waiting request with its position, waiting time and pending reason; the user's own are marked.
 */

import * as React from 'react';

import type { PoolView, QueueEntryView } from '../generated/api';
import { queueText } from '../texts/cluster';
import { formatDuration, formatMemory } from '../texts/format';
import { estimateText, notebookName } from '../texts/lease';
import { messageText } from '../texts/message';
import type { ITextContext } from '../controls/textcontext';
import { FormattedText, Tag } from '../controls/components';
import { VirtualList } from './virtuallist';

/** So many positions are announced; more would be read for minutes. */
const ANNOUNCED_MAX = 5;

/** The height of a request before it is measured, in pixels. */
const REQUEST_HEIGHT = 72;

/** The content of the section *Queue*. */
export function QueueSection(
  props: ITextContext & {
    readonly queue: ReadonlyArray<QueueEntryView>;
    readonly pool: PoolView;
    readonly now: number;
  }
): React.JSX.Element {
  const { queue, pool, trans } = props;
  const cluster = pool.cluster ?? null;
  return queue.length === 0 ? (
    <p className="fg-Empty">
      {cluster === null ? trans.__('No requests are waiting.') : queueText(cluster, trans)}
    </p>
  ) : (
    <VirtualList
      label={trans.__('Queue')}
      className="fg-Queue"
      items={queue}
      keyOf={request => request.lease_id ?? `position-${request.position}`}
      heightOf={() => REQUEST_HEIGHT}
      attributesOf={request => ({ className: 'fg-Request', 'data-mine': request.mine })}
      render={request => <QueueItem {...props} request={request} />}
    />
  );
}

/** A waiting request. */
function QueueItem(
  props: ITextContext & { readonly request: QueueEntryView; readonly now: number }
): React.JSX.Element {
  const { request, now, trans, language } = props;
  return (
    <>
      <span
        className="fg-Request-position"
        aria-label={request.position > 0 ? trans.__('Position %1', request.position) : trans.__('Position unknown')}
        role="img"
      >
        {request.position > 0 ? request.position : '–'}
      </span>
      <div className="fg-Request-body">
        <div className="fg-Item-head">
          <span className="fg-Item-name fg-ellipsis" title={request.notebook ?? request.tenant?.name}>
            {requestName(request, trans)}
          </span>
          {request.mine && <Tag kind="mine">{trans.__('you')}</Tag>}
        </div>
        <div className="fg-Facts">
          <span>{request.size}</span>
          {request.memory_bytes !== null && <span>{formatMemory(request.memory_bytes, language)}</span>}
          <span>{trans.__('waiting %1', formatDuration(now - request.waiting_since))}</span>
        </div>
        <p className="fg-Note">
          <FormattedText text={messageText(request.reason, trans, language)} />{' '}
          {request.mine && estimateText(request, trans, language)}
        </p>
      </div>
    </>
  );
}

/** The positions of the user's requests, which screen readers read when they change. */
export function QueueStatus(
  props: ITextContext & { readonly queue: ReadonlyArray<QueueEntryView> }
): React.JSX.Element {
  const { queue, trans } = props;
  const own = queue.filter(request => request.mine && request.position > 0);
  return (
    <p className="fg-ScreenReaderOnly" role="status" aria-live="polite">
      {own
        .slice(0, ANNOUNCED_MAX)
        .map(request =>
          trans.__('%1 has position %2 in the queue.', requestName(request, trans), request.position)
        )
        .join(' ')}
    </p>
  );
}

function requestName(request: QueueEntryView, trans: ITextContext['trans']): string {
  return request.mine || request.notebook !== null
    ? notebookName(request, trans)
    : (request.tenant?.name ?? trans.__('Another user'));
}
