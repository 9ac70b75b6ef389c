/**
 * The controls of one lease: what it is now, its size, idle time, budget, and its actions.
 *
 * The same component is in the popover of the toolbar and in the widget. It shows what its source knows; without an
 * answer it shows the last known state with its time, and its actions are disabled.
 */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import { isOnCluster, isOpen, isParkedOrReturning } from '../leases/lease';
import { clusterFacts } from '../texts/cluster';
import { failureTexts, kernelsNote } from '../texts/connection';
import { formatDuration, formatMoney, formatTime } from '../texts/format';
import { activityNotes, leaseNotes, parkedNote, stateDescription, stateName } from '../texts/lease';
import { messageText } from '../texts/message';
import { leaseFacts, limitSentence } from '../texts/size';
import { LeaseActions } from './actions';
import { AdviceNote } from './advice';
import { BudgetSection } from './budget';
import { ClusterNotes } from './clusternotes';
import { FormattedText, Tag } from './components';
import { HistoryChart } from './historychart';
import { useActing, useClock, useSizes, useSource } from './hooks';
import { IdleSection } from './idle';
import { NoLease } from './nolease';
import { CostLine, SizeControl, sizesVersion } from './sizecontrol';
import type { ILeaseSource } from './source';
import { leaseMark, StateMark } from './statemark';
import type { ITextContext } from './textcontext';
import type { INotifyChoice } from './notifybutton';
import { WaitingActions, WaitingNote } from './waiting';

/** What the controls can ask of the page around them; what is undefined is not offered. */
export interface IControlsHost {
  /** Whether a notification announces the grant. */
  readonly notify?: INotifyChoice;
  readonly onOpenPanel?: () => void;
  readonly onOpenLease?: (lease: LeaseView) => void;
  /** Open the dialog that changes the size; without it the slider is shown while the lease waits. */
  readonly onResize?: () => void;
  /** Open the dialog that requests a lease. */
  readonly onGetGPU?: () => void;
  /** Open the dialog that changes the kernel of the notebook. */
  readonly onChangeKernel?: () => void;
  readonly onClose?: () => void;
}

export interface IControlsProps extends ITextContext, IControlsHost {
  readonly source: ILeaseSource;
  /** The heading, such as `GPU of digits.ipynb`. */
  readonly title: string;
  /** The id of the heading, for the name of a dialog. */
  readonly titleId?: string;
  /** Sections of the page around, shown after the size. */
  readonly children?: React.ReactNode;
}

export function LeaseControls(props: IControlsProps): React.JSX.Element {
  const { source, trans, language } = props;
  useSource(source);
  useClock();
  const acting = useActing(source);
  const { lease, connection } = source;
  const isConnected = connection.kind === 'connected';
  const live = isConnected && source.canAct && !source.isPending;
  const open = lease !== null && isOpen(lease);
  const isWaiting = open && lease.state === 'waiting';
  // A lease that has a slider asks for the sizes itself.
  const { sizes } = useSizes(
    source,
    lease?.id ?? null,
    sizesVersion(source),
    isConnected && isWaiting && props.onResize !== undefined && lease !== null && !isOnCluster(lease)
  );
  const mark = leaseMark(lease, connection.kind, trans);
  return (
    <div className="fg-Controls" data-state={open ? lease.state : 'none'} data-stale={!isConnected}>
      <div className="fg-Controls-head">
        <h2 id={props.titleId} className="fg-ellipsis" title={props.title}>
          {props.title}
        </h2>
        <span role="status">
          <StateMark mark={mark} />
        </span>
        {props.onClose !== undefined && (
          <button
            type="button"
            className="fg-Close"
            aria-label={trans.__('Close')}
            onClick={props.onClose}
          />
        )}
      </div>
      {connection.kind === 'unreachable' ? (
        <Unreachable {...props} />
      ) : !open ? (
        <NoLease {...props} lease={lease} live={live} acting={acting} />
      ) : (
        <>
          <Facts {...props} lease={lease} />
          {isWaiting ? (
            <>
              <WaitingNote {...props} lease={lease} />
              <WaitingActions {...props} lease={lease} sizes={sizes} live={live} acting={acting} />
            </>
          ) : (
            <Usage {...props} lease={lease} />
          )}
          <Messages {...props} lease={lease} />
          <ClusterNotes lease={lease} pool={source.pool} trans={trans} language={language} />
          {hasSlider(lease, props.onResize !== undefined) && (
            <section className="fg-Controls-section" aria-label={trans.__('Size')}>
              <div className="fg-Controls-title">
                <h3>{trans.__('Size')}</h3>
                <CostLine lease={lease} trans={trans} language={language} />
              </div>
              <SizeControl {...props} lease={lease} live={live} />
            </section>
          )}
          <AdviceNote {...props} lease={lease} live={live} acting={acting} />
          <IdleSection {...props} lease={lease} live={live} acting={acting} />
          {props.children}
          <BudgetSection {...props} lease={lease} />
        </>
      )}
      {acting.failure !== null && (
        <div className="fg-Note fg-Refusal" data-kind="error" role="alert">
          <FormattedText text={acting.failure} />
          <div className="fg-Buttons">
            <button type="button" className="fg-Button" onClick={() => acting.setFailure(null)}>
              {trans.__('Dismiss')}
            </button>
          </div>
        </div>
      )}
      {!source.canAct && (
        <p className="fg-Note">{trans.__('You can see the leases of this server, but not change them.')}</p>
      )}
      {open && connection.kind !== 'unreachable' && (
        <LeaseActions {...props} lease={lease} live={live} acting={acting} />
      )}
    </div>
  );
}

/** Return whether the slider is shown: not where a button opens a dialog with it, nor while the size cannot change. */
function hasSlider(lease: LeaseView, hasDialog: boolean): boolean {
  return !isOnCluster(lease) && (lease.state === 'active' || (lease.state === 'waiting' && !hasDialog && !isParkedOrReturning(lease)));
}

/** Size, device, and what the lease does, in one line. */
function Facts(props: IControlsProps & { readonly lease: LeaseView }): React.JSX.Element {
  const { source, lease, trans, language } = props;
  const now = source.now();
  const facts = [
    ...leaseFacts(lease, trans, language),
    ...clusterFacts(lease, now, trans),
    ...(lease.state === 'waiting'
      ? [
          trans.__('waiting for %1', formatDuration(now - lease.times.requested_at)),
          ...(lease.money.cost_micro === 0 ? [trans.__('nothing is billed')] : [])
        ]
      : activityNotes(lease, formatDuration(now - lease.usage.last_used_at), trans))
  ];
  return (
    <p className="fg-Facts fg-mod-strong">
      {facts.map((fact, index) => (
        <span key={index}>{fact}</span>
      ))}
      {lease.gpu?.simulated === true && <Tag kind="simulated">{trans.__('simulated')}</Tag>}
    </p>
  );
}

/** The chart and the memory limit of an active lease; a sentence about any other. */
function Usage(props: IControlsProps & { readonly lease: LeaseView }): React.JSX.Element {
  const { source, lease, title, trans, language } = props;
  if (lease.state !== 'active') {
    return (
      <p className="fg-Note" data-kind={isParkedOrReturning(lease) ? 'parked' : 'info'}>
        {isParkedOrReturning(lease) && (
          <FormattedText text={`${parkedNote(lease, trans, language)} `} />
        )}
        {stateDescription(lease.state, trans)}
        {leaseNotes(lease, trans, language).map((note, index) => (
          <FormattedText key={index} text={` ${note}`} />
        ))}
      </p>
    );
  }
  const limit = limitSentence(lease, trans, language);
  return (
    <>
      {source.loadHistory !== undefined && (
        <HistoryChart
          subject={{ kind: 'leases', id: lease.id, memoryBytes: lease.memory.limit_bytes }}
          name={title}
          live={source.connection.kind === 'connected'}
          now={source.now()}
          asTable={false}
          onLoadHistory={source.loadHistory}
          trans={trans}
          language={language}
        />
      )}
      {limit !== '' && <p className="fg-Note">{limit}</p>}
    </>
  );
}

/** What the user has to know of the lease's budget, limit and device. */
function Messages(props: IControlsProps & { readonly lease: LeaseView }): React.JSX.Element {
  const { lease, trans, language } = props;
  const { money, enforcement, health } = lease;
  // A waiting lease has the message about money in its reason.
  const messages = [lease.state === 'waiting' ? null : money.message, enforcement.message, health.message];
  return (
    <>
      {messages.map(
        (message, index) =>
          message !== null && (
            <p key={index} className="fg-Note" data-kind={index === 2 ? 'error' : 'warning'}>
              <FormattedText text={messageText(message, trans, language)} />
            </p>
          )
      )}
    </>
  );
}

/** What is known while there is no answer: that kernels go on, and the last state with its time. */
function Unreachable(props: IControlsProps): React.JSX.Element | null {
  const { source, trans, language } = props;
  const { lease, connection, updatedAt } = source;
  if (connection.kind !== 'unreachable') {
    return null;
  }
  const { title, advice } = failureTexts(connection.reason, trans);
  const last =
    lease === null || updatedAt === null
      ? null
      : [
          stateName(lease.state, trans),
          lease.request.size,
          formatMoney(lease.money.cost_micro, lease.money.currency, language)
        ].join(', ');
  return (
    <>
      <p className="fg-Note" data-kind="error">
        {title}. {kernelsNote(connection.reason, trans)}
        {last !== null &&
          updatedAt !== null &&
          ` ${trans.__('Last known at %1: %2.', formatTime(updatedAt, language), last)}`}
      </p>
      <p className="fg-Note">{advice}</p>
      <div className="fg-Buttons">
        <button type="button" className="fg-Button" onClick={() => source.refresh()}>
          {trans.__('Try again')}
        </button>
      </div>
    </>
  );
}

