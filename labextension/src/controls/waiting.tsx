/** A waiting lease: its position, the estimate with its basis, why it waits, and what can be done about it now. */

import * as React from 'react';

import type { LeaseView, SizeOptions } from '../generated/api';
import { LEASE_ACTIONS } from '../leases/actions';
import { isOnCluster, isParkedOrReturning } from '../leases/lease';
import { clusterPlace, clusterReason } from '../texts/cluster';
import { formatDuration } from '../texts/format';
import { countdownText, leaseNotes, notebookName } from '../texts/lease';
import { messageText } from '../texts/message';
import { rateText, smallerNow } from '../texts/size';
import { FormattedText } from './components';
import type { IActing } from './hooks';
import type { INotifyChoice } from './notifybutton';
import { NotifyButton } from './notifybutton';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';

interface IWaitingProps extends ITextContext {
  readonly source: ILeaseSource;
  readonly lease: LeaseView;
  readonly sizes: SizeOptions | null;
  readonly live: boolean;
  readonly acting: IActing;
  /** Undefined where no notification is possible. */
  readonly notify?: INotifyChoice;
  readonly onOpenLease?: (lease: LeaseView) => void;
}

/** Position, estimate and reason; `aria-live` is for the position, not for the seconds that pass. */
export function WaitingNote(
  props: ITextContext & Pick<IWaitingProps, 'source' | 'lease'>
): React.JSX.Element {
  const { source, lease, trans, language } = props;
  const { queue } = lease;
  if (isOnCluster(lease)) {
    const place = clusterPlace(lease, source.now(), trans);
    return (
      <>
        {place.length > 0 && (
          <p className="fg-Position" role="status">
            <strong>{place.join(' · ')}</strong>
          </p>
        )}
        <p className="fg-Note" data-kind="waiting">
          <FormattedText text={clusterReason(lease, trans, language)} />
        </p>
      </>
    );
  }
  if (queue === null) {
    return <p className="fg-Note">{trans.__('Its position is unknown.')}</p>;
  }
  const total = source.queueLength;
  const countdown = countdownText(queue, source.now(), trans, language);
  return (
    <>
      <p className="fg-Position" role="status">
        <strong>{trans.__('Position %1', queue.position)}</strong>
        {total !== null && total >= queue.position && (
          <span className="fg-dim"> {trans.__('of %1', total)}</span>
        )}
        {queue.estimate_ms !== null &&
          ` · ${trans.__('about %1', formatDuration(queue.estimate_ms))}`}
      </p>
      <p className="fg-Note">
        {queue.estimate_ms === null
          ? trans.__('Expected wait: unknown (%1).', messageText(queue.estimate_basis, trans, language))
          : trans.__('Estimate: %1.', messageText(queue.estimate_basis, trans, language))}
      </p>
      <p className="fg-Note" data-kind="waiting">
        {leaseNotes(lease, trans, language).map((note, index) => (
          <FormattedText key={index} text={`${index > 0 ? ' ' : ''}${note}`} />
        ))}
        {countdown !== '' && ` ${countdown}`}
        {lease.money.message !== null && (
          <FormattedText text={` ${messageText(lease.money.message, trans, language)}`} />
        )}
      </p>
    </>
  );
}

/** The buttons of a waiting lease; only those that work now. The primary one surely ends the wait. */
export function WaitingActions(props: IWaitingProps): React.JSX.Element {
  const { source, lease, sizes, live, acting, notify, trans, language } = props;
  const holder = source.leases.find(({ id }) => id === lease.queue?.holder?.lease_id) ?? null;
  const canPark = holder !== null && LEASE_ACTIONS.park.isAvailable(holder);
  const parkEnds = canPark && lease.queue?.position === 1;
  const smaller = sizes === null ? null : smallerNow(sizes.options, sizes.requested);
  const name = holder === null ? '' : notebookName(holder.holder, trans);
  const meanwhile = lease.cpu_meanwhile;
  const resumes = isParkedOrReturning(lease);
  const take = smaller !== null && (
    <button
      type="button"
      className={`fg-Button${parkEnds ? '' : ' fg-mod-primary'}`}
      disabled={!live}
      onClick={() => void acting.act('resize', { size: smaller.size })}
    >
      {trans.__(
        'Take %1 now · %2',
        smaller.size,
        rateText(smaller.rate_micro, lease.money.currency, trans, language)
      )}
    </button>
  );
  return (
    <div className="fg-Buttons fg-mod-start" role="group" aria-label={trans.__('While it waits')}>
      {!parkEnds && take}
      {holder !== null && canPark && (
        <button
          type="button"
          className={`fg-Button${parkEnds ? ' fg-mod-primary' : ''}`}
          disabled={!live}
          title={LEASE_ACTIONS.park.texts(name, trans).title}
          onClick={() => void acting.act('park', undefined, holder.id)}
        >
          {holder.holder.notebook ? trans.__('Park %1 now', name) : trans.__('Park the other lease now')}
        </button>
      )}
      {notify !== undefined && <NotifyButton notify={notify} trans={trans} />}
      {(meanwhile || !resumes) && !isOnCluster(lease) && (
        <button
          type="button"
          className="fg-Button"
          disabled={!live}
          title={trans.__('Cells run without a GPU until the grant; the request keeps its position.')}
          onClick={() => void acting.act('cpu_meanwhile', { on: !meanwhile })}
        >
          {meanwhile ? trans.__('Wait for the GPU') : trans.__('Run on CPU meanwhile')}
        </button>
      )}
      {parkEnds && take}
      {holder?.holder.kernel_id && props.onOpenLease !== undefined && (
        <button type="button" className="fg-Button" onClick={() => props.onOpenLease?.(holder)}>
          {trans.__('Open %1', name)}
        </button>
      )}
    </div>
  );
}
