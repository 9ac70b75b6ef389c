/**
 * What a cell shows while its lease waits: the kernel's sentences, the time left of the notebook that has the GPU, and
 * the buttons that work now.
 */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import type { LeaseState } from '../generated/lifecycle';
import { countdown, formatDuration } from '../texts/format';
import { notebookName } from '../texts/lease';
import { FormattedText } from './components';
import { useActing, useClock, useSizes, useSource } from './hooks';
import { sizesVersion } from './sizecontrol';
import type { ILeaseSource } from './source';
import type { ITextContext } from './textcontext';
import type { INotifyChoice } from './notifybutton';
import { WaitingActions } from './waiting';

/** What the kernel says; `passing` is what changes each second. */
export interface IWaitingText {
  /** The id of the lease that the cell waits for; null if the kernel does not know it. */
  readonly leaseId: string | null;
  readonly head: string;
  readonly passing: string;
  readonly hint: string;
}

/** The states in which no cell waits; an output that says otherwise is of a notebook that was saved meanwhile. */
const OUTDATED: ReadonlySet<LeaseState> = new Set<LeaseState>(['active', 'draining', 'ended']);

export function WaitingCell(
  props: ITextContext & {
    readonly source: ILeaseSource;
    readonly text: IWaitingText;
    readonly notify?: INotifyChoice;
    readonly onOpenLease?: (lease: LeaseView) => void;
  }
): React.JSX.Element {
  const { source, text, notify, trans, language } = props;
  useSource(source);
  useClock();
  const acting = useActing(source);
  const { lease, connection } = source;
  const waiting = lease !== null && lease.state === 'waiting' ? lease : null;
  const isConnected = connection.kind === 'connected';
  const { sizes } = useSizes(
    source,
    waiting?.id ?? null,
    sizesVersion(source),
    isConnected && waiting !== null
  );
  if (isConnected && (lease === null || OUTDATED.has(lease.state))) {
    return (
      <p className="fg-Note" role="status">
        {lease !== null && lease.state === 'active'
          ? trans.__('The GPU was granted; this cell does not wait any more.')
          : trans.__('This cell does not wait any more.')}
      </p>
    );
  }
  const [, first, rest] = /^(.*?[.!?。！？])(?=\s|$)(.*)$/s.exec(text.head) ?? [null, text.head, ''];
  return (
    <div className="fg-Waiting" data-kind={isConnected ? 'waiting' : 'unknown'}>
      <p role="status">
        <strong>{first}</strong>
        <FormattedText text={rest} />
        {notify?.isChosen === true && waiting !== null && (
          <> {trans.__('You are notified when the GPU is granted.')}</>
        )}
      </p>
      {waiting !== null && isConnected && <HolderProgress {...props} lease={waiting} />}
      <p className="fg-Waiting-passing">
        {text.passing} <FormattedText text={text.hint} />
      </p>
      {waiting !== null && isConnected && source.canAct && (
        <WaitingActions
          source={source}
          lease={waiting}
          sizes={sizes}
          live={!source.isPending}
          acting={acting}
          notify={notify}
          onOpenLease={props.onOpenLease}
          trans={trans}
          language={language}
        />
      )}
      {acting.failure !== null && (
        <p className="fg-Note" data-kind="error" role="alert">
          <FormattedText text={acting.failure} />
        </p>
      )}
    </div>
  );
}

/** How long the user's own notebook that has the GPU is idle, of the time after which it is parked. */
function HolderProgress(
  props: ITextContext & { readonly source: ILeaseSource; readonly lease: LeaseView }
): React.JSX.Element | null {
  const { source, lease, trans } = props;
  const yields = lease.queue?.position === 1 ? (lease.queue.holder?.yields_at ?? null) : null;
  const holder = source.leases.find(({ id }) => id === lease.queue?.holder?.lease_id);
  if (yields === null || holder === undefined) {
    return null;
  }
  const total = yields - holder.usage.last_used_at;
  const idle = Math.min(total, source.now() - holder.usage.last_used_at);
  if (total <= 0 || idle < 0) {
    return null;
  }
  const text = trans.__('%1 of %2', countdown(idle), formatDuration(total));
  return (
    <div className="fg-Waiting-progress">
      <div
        className="fg-Meter"
        role="meter"
        aria-label={trans.__('Idle time of %1', notebookName(holder.holder, trans))}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round((100 * idle) / total)}
        aria-valuetext={text}
      >
        <div className="fg-Meter-fill" style={{ width: `${(100 * idle) / total}%` }} />
      </div>
      <span>{text}</span>
    </div>
  );
}
