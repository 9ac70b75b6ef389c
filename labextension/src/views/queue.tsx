/**
 * The queue: each waiting request with its position, waiting time and pending reason; the user's own are marked.
 */

import * as React from 'react';

import { formatDuration, formatMemory } from '../texts/format';
import type { IQueueEntry } from '../leases/lease';
import { notebookName } from '../texts/lease';
import type { ITextContext } from './textcontext';
import { FormattedText, Section, Tag } from './components';

/** The section of the panel that lists the waiting requests. */
export function QueueSection(
  props: ITextContext & { readonly queue: ReadonlyArray<IQueueEntry>; readonly now: number }
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
              key={request.lease_id ?? `position-${request.place}`}
              className="fg-Request"
              data-mine={request.mine}
            >
              <span className="fg-Request-position" aria-label={trans.__('Position %1', request.place)}>
                {request.place}
              </span>
              <div className="fg-Request-body">
                <div className="fg-Item-head">
                  <span
                    className="fg-Item-name fg-ellipsis"
                    title={request.notebook ?? request.tenant ?? undefined}
                  >
                    {requestName(request, trans)}
                  </span>
                  {request.mine && <Tag kind="mine">{trans.__('you')}</Tag>}
                </div>
                <div className="fg-Facts">
                  <span>{request.profile}</span>
                  {request.memory_bytes !== null && (
                    <span>{formatMemory(request.memory_bytes, language)}</span>
                  )}
                  <span>{trans.__('waiting %1', formatDuration(now - request.since))}</span>
                </div>
                <p className="fg-Note">
                  <FormattedText text={request.detail ?? pendingReason(request.reason, trans)} />
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
            trans.__('%1 has position %2 in the queue.', requestName(request, trans), request.place)
          )
          .join(' ')}
      </p>
    </Section>
  );
}

function requestName(request: IQueueEntry, trans: ITextContext['trans']): string {
  return request.mine || request.notebook !== null
    ? notebookName(request, trans)
    : (request.tenant ?? trans.__('Another user'));
}

function pendingReason(reason: string | null, trans: ITextContext['trans']): string {
  switch (reason) {
    case 'capacity':
      return trans.__('No device has enough free capacity.');
    case 'behind':
      return trans.__('Earlier requests are served first.');
    case 'health':
      return trans.__('No healthy device fits.');
    default:
      return reason ?? '';
  }
}
