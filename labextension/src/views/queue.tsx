/**
 * The queue: who waits, since when and why; the user's own places stand out.
 */

import * as React from 'react';

import { formatDuration, formatMemory } from '../texts/format';
import type { ITicket } from '../leases/lease';
import { notebookName } from '../texts/lease';
import type { IWriting } from './textcontext';
import { Said, Section, Tag } from './components';

export function QueueSection(
  props: IWriting & { readonly queue: ReadonlyArray<ITicket>; readonly now: number }
): React.JSX.Element {
  const { queue, trans, now, language } = props;
  return (
    <Section title={trans.__('Queue')} count={queue.length}>
      {queue.length === 0 ? (
        <p className="fg-Empty">{trans.__('Nobody waits for a GPU.')}</p>
      ) : (
        <ol className="fg-Queue">
          {queue.map(ticket => (
            <li
              key={ticket.lease_id ?? `place-${ticket.place}`}
              className="fg-Ticket"
              data-mine={ticket.mine}
            >
              <span className="fg-Ticket-place" aria-label={trans.__('Place %1', ticket.place)}>
                {ticket.place}
              </span>
              <div className="fg-Ticket-body">
                <div className="fg-Card-head">
                  <span
                    className="fg-Card-name fg-ellipsis"
                    title={ticket.notebook ?? ticket.tenant ?? undefined}
                  >
                    {ticketName(ticket, trans)}
                  </span>
                  {ticket.mine && <Tag kind="mine">{trans.__('you')}</Tag>}
                </div>
                <div className="fg-Facts">
                  <span>{ticket.profile}</span>
                  {ticket.memory_bytes !== null && (
                    <span>{formatMemory(ticket.memory_bytes, language)}</span>
                  )}
                  <span>{trans.__('waiting %1', formatDuration(now - ticket.since))}</span>
                </div>
                <p className="fg-Note">
                  <Said text={ticket.detail ?? reasonText(ticket.reason, trans)} />
                </p>
              </div>
            </li>
          ))}
        </ol>
      )}
      <p className="fg-only-read" role="status" aria-live="polite">
        {queue
          .filter(ticket => ticket.mine)
          .map(ticket =>
            trans.__('%1 is at place %2 in the queue.', ticketName(ticket, trans), ticket.place)
          )
          .join(' ')}
      </p>
    </Section>
  );
}

function ticketName(ticket: ITicket, trans: IWriting['trans']): string {
  return ticket.mine || ticket.notebook !== null
    ? notebookName(ticket, trans)
    : (ticket.tenant ?? trans.__('Somebody else'));
}

function reasonText(reason: string | null, trans: IWriting['trans']): string {
  switch (reason) {
    case 'capacity':
      return trans.__('No device has enough free memory.');
    case 'behind':
      return trans.__('Others are before it in the queue.');
    case 'health':
      return trans.__('No healthy device fits.');
    default:
      return reason ?? '';
  }
}
