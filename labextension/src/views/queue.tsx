/**
 * The queue: each waiting request with its position, waiting time and pending reason; the user's own are marked.
 */

import * as React from 'react';

import { formatDuration, formatMemory } from '../texts/format';
import type { QueueEntryView } from '../generated/api';
import { estimateText, notebookName } from '../texts/lease';
import { messageText } from '../texts/message';
import type { ITextContext } from '../controls/textcontext';
import { FormattedText, Section, Tag } from '../controls/components';

/** The section of the panel that lists the waiting requests. */
export function QueueSection(
  props: ITextContext & { readonly queue: ReadonlyArray<QueueEntryView>; readonly now: number }
): React.JSX.Element {
  const { queue, trans, now, language } = props;
  return (
    <Section title={trans.__('Queue')} count={queue.length}>
      {queue.length === 0 ? (
        <p className="fg-Empty">{trans.__('No requests are waiting.')}</p>
      ) : (
        <ol className="fg-Queue">
          {queue.map(request => (
            <li
              key={request.lease_id ?? `position-${request.position}`}
              className="fg-Request"
              data-mine={request.mine}
            >
              <span className="fg-Request-position" aria-label={trans.__('Position %1', request.position)}>
                {request.position}
              </span>
              <div className="fg-Request-body">
                <div className="fg-Item-head">
                  <span
                    className="fg-Item-name fg-ellipsis"
                    title={request.notebook ?? request.tenant?.name}
                  >
                    {requestName(request, trans)}
                  </span>
                  {request.mine && <Tag kind="mine">{trans.__('you')}</Tag>}
                </div>
                <div className="fg-Facts">
                  <span>{request.size}</span>
                  {request.memory_bytes !== null && (
                    <span>{formatMemory(request.memory_bytes, language)}</span>
                  )}
                  <span>{trans.__('waiting %1', formatDuration(now - request.waiting_since))}</span>
                </div>
                <p className="fg-Note">
                  <FormattedText text={messageText(request.reason, trans, language)} />{' '}
                  {request.mine && estimateText(request, trans, language)}
                </p>
              </div>
            </li>
          ))}
        </ol>
      )}
      <p className="fg-ScreenReaderOnly" role="status" aria-live="polite">
        {queue
          .filter(request => request.mine)
          .map(request =>
            trans.__('%1 has position %2 in the queue.', requestName(request, trans), request.position)
          )
          .join(' ')}
      </p>
    </Section>
  );
}

function requestName(request: QueueEntryView, trans: ITextContext['trans']): string {
  return request.mine || request.notebook !== null
    ? notebookName(request, trans)
    : (request.tenant?.name ?? trans.__('Another user'));
}
