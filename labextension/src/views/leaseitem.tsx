/**
 * An open lease below its line: utilization, memory, time, cost, and the buttons for its actions.
 */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import { availableActions, LEASE_ACTIONS } from '../leases/actions';
import type { IPoolState } from '../leases/lease';
import { isOnCluster, isOpen, isParkedOrReturning, isReleasable } from '../leases/lease';
import {
  formatDuration,
  formatMemory,
  formatMemoryOf,
  formatMoney,
  formatPercent,
  shortModel
} from '../texts/format';
import {
  activityNotes,
  countdownText,
  endReason,
  estimateText,
  leaseNotes,
  mechanismName,
  memoryLimitText,
  notebookName,
  parkedNote,
  scrubNote,
  stateDescription
} from '../texts/lease';
import { clusterFacts, clusterPlace, clusterReason } from '../texts/cluster';
import { messageText } from '../texts/message';
import { FormattedText, Meter, Sparkline } from '../controls/components';
import { SimulatedLabel } from './devices';
import { ClusterNotes } from '../controls/clusternotes';
import type { IHistoryProps } from '../controls/historychart';
import { HistoryDetails } from '../controls/historychart';
import { LeaseDetails } from './leasedetails';
import type { ITextContext } from '../controls/textcontext';

/** What the views of leases call when the user acts. */
export interface ILeaseCallbacks {
  readonly onRelease: (lease: LeaseView) => void;
  readonly onAction: (lease: LeaseView, action: LeaseAction) => void;
  readonly onOpenNotebook: (lease: LeaseView) => void;
  /** Undefined while no command changes sizes. */
  readonly onResize?: (lease: LeaseView) => void;
  readonly onLoadHistory: IHistoryProps['onLoadHistory'];
  /** Whether histories are first shown as tables. */
  readonly asTable: boolean;
  /** Undefined if the application has no launcher. */
  readonly onOpenLauncher?: () => void;
}

/** What is known of a lease, and what can be done. */
export function LeaseBody(
  props: ITextContext &
    ILeaseCallbacks & {
      readonly lease: LeaseView;
      readonly samples: IPoolState['samples'];
      readonly devices: IPoolState['devices'];
      readonly pendingReleases: ReadonlySet<string>;
      readonly pendingActions: ReadonlySet<string>;
      readonly unanswered: ReadonlySet<string>;
      readonly live: boolean;
      readonly now: number;
    }
): React.JSX.Element {
  const { lease, trans, language, live, now } = props;
  const facts = [
    lease.request.size,
    lease.memory.limit_bytes === null ? null : formatMemory(lease.memory.limit_bytes, language),
    devicesFact(lease),
    mechanismFact(lease, trans),
    ...clusterFacts(lease, now, trans),
    ...activityNotes(lease, formatDuration(now - lease.usage.last_used_at), trans)
  ].filter((fact): fact is string => fact !== null);
  const isReleasing = props.pendingReleases.has(lease.id);
  const leavesQueue = lease.state === 'waiting' && !isParkedOrReturning(lease);
  const name = notebookName(lease.holder, trans);
  return (
    <div className="fg-ListBody">
      <div className="fg-Facts">
        {facts.map((fact, index) => (
          <span key={index}>{fact}</span>
        ))}
        {lease.gpu?.simulated && <SimulatedLabel trans={trans} />}
      </div>
      {props.unanswered.has(lease.id) && (
        <p className="fg-Note" data-kind="warning">
          {trans.__(
            'The pool manager has not answered: what you asked for may have been done. This page asks what became of it.'
          )}
        </p>
      )}
      {lease.state === 'waiting' ? (
        <WaitingNote lease={lease} now={now} trans={trans} language={language} />
      ) : lease.state === 'active' ? (
        <UsageRows {...props} lease={lease} />
      ) : (
        <p className="fg-Note" data-kind={isParkedOrReturning(lease) ? 'parked' : undefined}>
          {isParkedOrReturning(lease) && (
            <FormattedText text={`${parkedNote(lease, trans, language)} `} />
          )}
          {lease.state === 'ended' ? (
            <EndNote {...props} lease={lease} />
          ) : (
            stateDescription(lease.state, trans)
          )}
          {leaseNotes(lease, trans, language).map((note, index) => (
            <FormattedText key={index} text={` ${note}`} />
          ))}
        </p>
      )}
      {lease.state !== 'ended' &&
        [lease.money.message, lease.enforcement.message, lease.size.message].map(
          (message, index) =>
            message !== null && (
              <p key={index} className="fg-Note" data-kind="warning">
                <FormattedText text={messageText(message, trans, language)} />
              </p>
            )
        )}
      {lease.state !== 'ended' && <ClusterNotes lease={lease} pool={null} trans={trans} language={language} />}
      {lease.health.message !== null && (
        <p className="fg-Note" data-kind="error">
          <FormattedText text={messageText(lease.health.message, trans, language)} />
        </p>
      )}
      {lease.gpu !== null && <LeaseDetails {...props} lease={lease} gpu={lease.gpu} name={name} />}
      {lease.usage.active_ms > 0 && (
        <HistoryDetails
          {...props}
          subject={{ kind: 'leases', id: lease.id, memoryBytes: lease.memory.limit_bytes }}
          name={name}
        />
      )}
      <div className="fg-Item-foot">
        {(lease.usage.active_ms > 0 || lease.money.cost_micro > 0) && (
          <>
            <span className="fg-Cost" title={costTitle(lease, trans, language)}>
              {formatMoney(lease.money.cost_micro, lease.money.currency, language)}
            </span>
            <span className="fg-dim fg-ellipsis" title={trans.__('Time the lease was active')}>
              {formatDuration(lease.usage.active_ms)}
            </span>
          </>
        )}
        <div className="fg-Buttons" role="group" aria-label={trans.__('Actions for %1', name)}>
          {lease.holder.kernel_id !== null && isOpen(lease) && (
            <button
              type="button"
              className="fg-Button"
              aria-label={trans.__('Open %1', name)}
              onClick={() => props.onOpenNotebook(lease)}
            >
              {trans.__('Open')}
            </button>
          )}
          {props.onResize !== undefined && isReleasable(lease) && !isOnCluster(lease) && (
            <button
              type="button"
              className="fg-Button"
              disabled={!live || props.pendingActions.has(lease.id)}
              aria-label={trans.__('Resize the GPU of %1', name)}
              onClick={() => props.onResize?.(lease)}
            >
              {trans.__('Resize…')}
            </button>
          )}
          <ActionButtons {...props} lease={lease} name={name} />
          {isReleasable(lease) && (
          <button
            type="button"
            className="fg-Button"
            disabled={!live || isReleasing}
            aria-label={
              leavesQueue
                ? trans.__('Cancel request of %1', name)
                : trans.__('Release the GPU of %1', name)
            }
            onClick={() => props.onRelease(lease)}
          >
            {isReleasing
              ? trans.__('Releasing…')
              : leavesQueue
                ? trans.__('Cancel request…')
                : trans.__('Release…')}
          </button>
          )}
        </div>
      </div>
    </div>
  );
}

/** Buttons for the actions that are available in the lease's state. */
function ActionButtons(
  props: Pick<ITextContext, 'trans'> &
    Pick<ILeaseCallbacks, 'onAction'> & {
      readonly lease: LeaseView;
      readonly name: string;
      readonly pendingActions: ReadonlySet<string>;
      readonly live: boolean;
    }
): React.JSX.Element {
  const { lease, name, trans } = props;
  const isPending = props.pendingActions.has(lease.id);
  return (
    <>
      {availableActions(lease).map(action => {
        const { label, aria, title } = LEASE_ACTIONS[action].texts(name, trans);
        return (
          <button
            key={action}
            type="button"
            className="fg-Button"
            disabled={!props.live || isPending}
            aria-label={aria}
            title={title}
            onClick={() => props.onAction(lease, action)}
          >
            {label}
          </button>
        );
      })}
    </>
  );
}

/** When and why a lease ended. */
function EndNote(
  props: ITextContext & { readonly lease: LeaseView; readonly now: number }
): React.JSX.Element {
  const { lease, now, trans, language } = props;
  const ended = trans.__('%1 ago', formatDuration(now - (lease.times.ended_at ?? now)));
  const notes = [endReason(lease, trans, language), scrubNote(lease, trans, language)];
  return (
    <>
      {ended}
      {notes.map((note, index) => note !== null && <FormattedText key={index} text={` · ${note}`} />)}
    </>
  );
}

/** Utilization and memory of an active lease. */
function UsageRows(
  props: ITextContext & { readonly lease: LeaseView; readonly samples: IPoolState['samples'] }
): React.JSX.Element {
  const { lease, trans, language } = props;
  const samples = props.samples.of(lease.id);
  const known = samples.filter((sample): sample is number => sample !== null);
  const now =
    lease.usage.utilization_percent === null ? trans.__('unknown') : formatPercent(lease.usage.utilization_percent, language);
  const used = lease.memory.used_bytes;
  const limit = lease.memory.limit_bytes;
  return (
    <div className="fg-Rows">
      <div className="fg-Row">
        <span className="fg-Row-label">{trans.__('GPU')}</span>
        <Sparkline
          samples={samples}
          label={
            known.length === 0
              ? trans.__('GPU utilization: not yet known')
              : trans.__(
                  'GPU utilization: %1 now, at most %2 in the last two minutes',
                  now,
                  formatPercent(Math.max(...known), language)
                )
          }
        />
        <span className="fg-Row-value">{now}</span>
      </div>
      <Meter
        warns
        label={trans.__('Memory')}
        value={used}
        max={limit ?? used ?? 0}
        text={
          used === null
            ? trans.__('unknown')
            : limit === null
              ? formatMemory(used, language)
              : formatMemoryOf(used, limit, language)
        }
        title={trans.__('Memory limit: %1', memoryLimitText(lease, trans))}
      />
    </div>
  );
}

/** Position, waiting time and pending reason of a waiting lease. */
function WaitingNote(
  props: ITextContext & { readonly lease: LeaseView; readonly now: number }
): React.JSX.Element {
  const { lease, now, trans, language } = props;
  const waited = formatDuration(now - lease.times.requested_at);
  if (isOnCluster(lease)) {
    return (
      <p className="fg-Note" data-kind="waiting">
        <FormattedText
          text={[
            trans.__('Waiting for %1.', waited),
            clusterReason(lease, trans, language),
            clusterPlace(lease, now, trans).join(', ')
          ].join(' ')}
        />
      </p>
    );
  }
  const position = lease.queue?.position;
  // The lease does not have the time at which a parked one began to wait; the queue below shows it.
  const resumes = isParkedOrReturning(lease);
  return (
    <p className="fg-Note" data-kind="waiting">
      {resumes
        ? position === undefined
          ? trans.__('Waiting to resume.')
          : trans.__('Waiting to resume: position %1 in the queue.', position)
        : position === undefined
          ? trans.__('Waiting for %1.', waited)
          : trans.__('Position %1 in the queue, waiting for %2.', position, waited)}
      {leaseNotes(lease, trans, language).map((note, index) => (
        <FormattedText key={index} text={` ${note}`} />
      ))}
      {lease.queue !== null && ` ${countdownText(lease.queue, now, trans, language)}`}
      {lease.queue !== null && ` ${estimateText(lease.queue, trans, language)}`}
      {resumes && <FormattedText text={` ${parkedNote(lease, trans, language)}`} />}
    </p>
  );
}

/** Return the device model, with the number of devices if there are several. */
function devicesFact({ gpu }: LeaseView): string | null {
  if (gpu === null || gpu.model === null) {
    return null;
  }
  const { length } = gpu.device_ids;
  return length > 1 ? `${length} × ${shortModel(gpu.model)}` : shortModel(gpu.model);
}

/** Return the mechanism if it matters to the user (MIG, MPS) and the size does not already show it; else null. */
function mechanismFact({ gpu, request }: LeaseView, trans: ITextContext['trans']): string | null {
  const isRelevant = gpu?.mechanism === 'mig' || gpu?.mechanism === 'mps';
  return isRelevant && gpu.partition !== request.size ? mechanismName(gpu, trans) : null;
}

function costTitle(lease: LeaseView, trans: ITextContext['trans'], language: string): string {
  return lease.money.rate_micro_per_hour === null
    ? trans.__('Cost so far')
    : trans.__(
        'Cost so far, at %1 per hour',
        formatMoney(lease.money.rate_micro_per_hour, lease.money.currency, language)
      );
}
