/**
 * The user's own leases: state, utilization, memory, time, cost, and the buttons for their actions.
 */

import * as React from 'react';

import {
  formatDuration,
  formatMemory,
  formatMemoryOf,
  formatMoney,
  formatPercent,
  shortModel
} from '../texts/format';
import type { LeaseAction, ILease, IPoolState } from '../leases/lease';
import { isActionAvailable, LEASE_ACTIONS, isParkedOrReturning, isOpen, isReleasable } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import {
  activityNotes,
  parkedNote,
  actionTexts,
  endReason,
  mechanismName,
  memoryLimitText,
  notebookName,
  quotaNote,
  scrubNote,
  stateDescription,
  stateName
} from '../texts/lease';
import type { ITextContext } from './textcontext';
import { SimulatedLabel } from './devices';
import type { IHistoryProps } from './historychart';
import { HistoryDetails } from './historychart';
import { LeaseDetails } from './leasedetails';
import { Meter, FormattedText, Section, Sparkline, Tag } from './components';

const ENDED_SHOWN_MS = 3_600_000;

/** What the views of leases call when the user acts. */
export interface ILeaseCallbacks {
  readonly onRelease: (lease: ILease) => void;
  readonly onAction: (lease: ILease, action: LeaseAction) => void;
  readonly onOpenNotebook: (lease: ILease) => void;
  readonly onLoadHistory: IHistoryProps['onLoadHistory'];
  /** Whether histories are first shown as tables. */
  readonly asTable: boolean;
  /** Undefined if the application has no launcher. */
  readonly onOpenLauncher?: () => void;
}

/** The section of the panel that lists the user's leases and quotas. */
export function LeasesSection(
  props: ITextContext &
    ILeaseCallbacks & {
      readonly leases: ReadonlyArray<ILease>;
      readonly entitlements: ReadonlyArray<IEntitlement>;
      readonly samples: IPoolState['samples'];
      readonly devices: IPoolState['devices'];
      readonly pendingReleases: ReadonlySet<string>;
      readonly pendingActions: ReadonlySet<string>;
      readonly currentLeaseId: string | null;
      readonly showEnded: boolean;
      /** False while there is no connection; actions are disabled then. */
      readonly live: boolean;
      readonly now: number;
    }
): React.JSX.Element {
  const { leases, trans, now } = props;
  const open = leases.filter(isOpen);
  const ended = leases
    .filter(lease => !isOpen(lease) && now - (lease.ended_at ?? 0) < ENDED_SHOWN_MS)
    .sort((a, b) => (b.ended_at ?? 0) - (a.ended_at ?? 0));
  return (
    <Section title={trans.__('My leases')} count={open.length}>
      {props.entitlements.length > 0 && (
        <ul className="fg-Quota">
          {props.entitlements.map(entitlement => (
            <li key={`${entitlement.isGroup} ${entitlement.name}`}>
              {quotaNote(entitlement, trans, props.language)}
            </li>
          ))}
        </ul>
      )}
      {open.length === 0 && (
        <div className="fg-Empty">
          <p>
            {trans.__(
              'You have no GPU leases. Start a notebook with a FastGPU kernel, or change the kernel of an open notebook.'
            )}
          </p>
          {props.onOpenLauncher && (
            <button type="button" className="fg-Button" onClick={props.onOpenLauncher}>
              {trans.__('Open the launcher')}
            </button>
          )}
        </div>
      )}
      {open.length > 0 && (
        <ul className="fg-List fg-mod-wide">
          {open.map(lease => (
            <li
              key={lease.id}
              className="fg-Item"
              tabIndex={-1}
              data-state={lease.state}
              data-lease-id={lease.id}
              data-current={lease.id === props.currentLeaseId}
            >
              <LeaseItem {...props} lease={lease} />
            </li>
          ))}
        </ul>
      )}
      {props.showEnded && ended.length > 0 && <EndedLeases {...props} ended={ended} />}
    </Section>
  );
}

function LeaseItem(
  props: ITextContext &
    ILeaseCallbacks & {
      readonly lease: ILease;
      readonly samples: IPoolState['samples'];
      readonly devices: IPoolState['devices'];
      readonly pendingReleases: ReadonlySet<string>;
      readonly pendingActions: ReadonlySet<string>;
      readonly live: boolean;
      readonly now: number;
    }
): React.JSX.Element {
  const { lease, trans, language, live, now } = props;
  const facts = [
    lease.profile,
    lease.memory_bytes === null ? null : formatMemory(lease.memory_bytes, language),
    devicesFact(lease),
    mechanismFact(lease, trans),
    ...activityNotes(lease, formatDuration(now - lease.used_at), trans)
  ].filter((fact): fact is string => fact !== null);
  const isReleasing = props.pendingReleases.has(lease.id);
  const leavesQueue = lease.state === 'waiting' && !isParkedOrReturning(lease);
  const name = notebookName(lease, trans);
  return (
    <>
      <div className="fg-Item-head">
        <NotebookLink {...props} lease={lease} />
        <Tag kind={`state-${lease.state}`} title={stateDescription(lease.state, trans)}>
          {stateName(lease.state, trans)}
        </Tag>
      </div>
      <div className="fg-Facts">
        {facts.map((fact, index) => (
          <span key={index}>{fact}</span>
        ))}
        {lease.simulated && <SimulatedLabel trans={trans} />}
      </div>
      {lease.state === 'waiting' ? (
        <WaitingNote lease={lease} now={now} trans={trans} />
      ) : lease.state === 'active' ? (
        <UsageRows {...props} lease={lease} />
      ) : (
        <p className="fg-Note" data-kind={isParkedOrReturning(lease) ? 'parked' : undefined}>
          {isParkedOrReturning(lease) && `${parkedNote(lease, trans)} `}
          {stateDescription(lease.state, trans)}
          {lease.pending_detail !== null && <FormattedText text={` ${lease.pending_detail}`} />}
        </p>
      )}
      {lease.state !== 'ended' &&
        [lease.budget_message, lease.limit_message, lease.size_message].map(
          (message, index) =>
            message !== null && (
              <p key={index} className="fg-Note" data-kind="warning">
                <FormattedText text={message} />
              </p>
            )
        )}
      {lease.fault_message !== null && (
        <p className="fg-Note" data-kind="error">
          <FormattedText text={lease.fault_message} />
        </p>
      )}
      {lease.mechanism !== null && <LeaseDetails {...props} lease={lease} name={name} />}
      {lease.active_ms > 0 && (
        <HistoryDetails
          {...props}
          subject={{ kind: 'leases', id: lease.id, memoryBytes: lease.memory_bytes }}
          name={name}
        />
      )}
      <div className="fg-Item-foot">
        {(lease.active_ms > 0 || lease.cost_micro > 0) && (
          <>
            <span className="fg-Cost" title={costTitle(lease, trans, language)}>
              {formatMoney(lease.cost_micro, lease.currency, language)}
            </span>
            <span className="fg-dim fg-ellipsis" title={trans.__('Time the lease was active')}>
              {formatDuration(lease.active_ms)}
            </span>
          </>
        )}
        <div className="fg-Buttons" role="group" aria-label={trans.__('Actions for %1', name)}>
          <ActionButtons {...props} lease={lease} name={name} />
          <button
            type="button"
            className="fg-Button"
            disabled={!live || isReleasing || !isReleasable(lease)}
            aria-label={
              leavesQueue
                ? trans.__('Remove %1 from the queue', name)
                : trans.__('Release the GPU of %1', name)
            }
            onClick={() => props.onRelease(lease)}
          >
            {isReleasing
              ? trans.__('Releasing…')
              : leavesQueue
                ? trans.__('Leave queue')
                : trans.__('Release')}
          </button>
        </div>
      </div>
    </>
  );
}

/** Buttons for the actions that are available in the lease's state. */
function ActionButtons(
  props: Pick<ITextContext, 'trans'> &
    Pick<ILeaseCallbacks, 'onAction'> & {
      readonly lease: ILease;
      readonly name: string;
      readonly pendingActions: ReadonlySet<string>;
      readonly live: boolean;
    }
): React.JSX.Element {
  const { lease, name, trans } = props;
  const isPending = props.pendingActions.has(lease.id);
  return (
    <>
      {LEASE_ACTIONS.filter(action => isActionAvailable(lease, action)).map(action => {
        const { label, aria, title } = actionTexts(action, name, trans);
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

function NotebookLink(
  props: Pick<ITextContext, 'trans'> &
    Pick<ILeaseCallbacks, 'onOpenNotebook'> & { readonly lease: ILease }
): React.JSX.Element {
  const { lease, trans } = props;
  const name = notebookName(lease, trans);
  // A lease without a kernel has no session that could be opened.
  if (lease.kernel_id === null) {
    return (
      <span className="fg-Item-name fg-ellipsis" title={lease.notebook ?? undefined}>
        {name}
      </span>
    );
  }
  return (
    <button
      type="button"
      className="fg-Item-name fg-Link fg-ellipsis"
      title={lease.notebook ?? undefined}
      onClick={() => props.onOpenNotebook(lease)}
    >
      {name}
    </button>
  );
}

/** Utilization and memory of an active lease. */
function UsageRows(
  props: ITextContext & { readonly lease: ILease; readonly samples: IPoolState['samples'] }
): React.JSX.Element {
  const { lease, trans, language } = props;
  const samples = props.samples[lease.id] ?? [];
  const known = samples.filter((sample): sample is number => sample !== null);
  const now =
    lease.utilization_percent === null ? trans.__('unknown') : formatPercent(lease.utilization_percent, language);
  const used = lease.memory_used_bytes;
  const limit = lease.memory_bytes;
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
  props: Pick<ITextContext, 'trans'> & { readonly lease: ILease; readonly now: number }
): React.JSX.Element {
  const { lease, now, trans } = props;
  const waited = formatDuration(now - lease.requested_at);
  // The lease does not have the time at which a parked one began to wait; the queue below shows it.
  const resumes = isParkedOrReturning(lease);
  return (
    <p className="fg-Note" data-kind="waiting">
      {resumes
        ? lease.place === null
          ? trans.__('Waiting to resume.')
          : trans.__('Waiting to resume: position %1 in the queue.', lease.place)
        : lease.place === null
          ? trans.__('Waiting for %1.', waited)
          : trans.__('Position %1 in the queue, waiting for %2.', lease.place, waited)}
      {lease.pending_detail !== null && <FormattedText text={` ${lease.pending_detail}`} />}
      {resumes && ` ${parkedNote(lease, trans)}`}
    </p>
  );
}

/** The leases that ended in the last hour, with their cost and the reason. */
function EndedLeases(
  props: ITextContext & { readonly ended: ReadonlyArray<ILease>; readonly now: number }
): React.JSX.Element {
  const { ended, trans, language, now } = props;
  return (
    <details className="fg-Ended">
      <summary>{trans.__('Ended in the last hour (%1)', ended.length)}</summary>
      <ul className="fg-List">
        {ended.map(lease => (
          <li key={lease.id} className="fg-Ended-item">
            <span className="fg-ellipsis" title={lease.notebook ?? undefined}>
              {notebookName(lease, trans)}
            </span>
            <span className="fg-Cost">
              {formatMoney(lease.cost_micro, lease.currency, language)}
            </span>
            <span className="fg-dim fg-Ended-reason">
              {trans.__(
                '%1, %2 ago',
                endReason(lease.end_reason, trans),
                formatDuration(now - (lease.ended_at ?? now))
              )}
              {[lease.pending_detail, scrubNote(lease, trans, language)].map(
                (note, index) => note !== null && <FormattedText key={index} text={` · ${note}`} />
              )}
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}

/** Return the device model, with the number of devices if there are several. */
function devicesFact({ device_model, device_ids }: ILease): string | null {
  if (device_model === null) {
    return null;
  }
  return device_ids.length > 1 ? `${device_ids.length} × ${shortModel(device_model)}` : shortModel(device_model);
}

/** Return the mechanism if it matters to the user (MIG, MPS) and the size does not already show it; else null. */
function mechanismFact(lease: ILease, trans: ITextContext['trans']): string | null {
  const isRelevant = lease.mechanism === 'mig' || lease.mechanism === 'mps';
  return isRelevant && lease.partition !== lease.profile ? mechanismName(lease, trans) : null;
}

function costTitle(lease: ILease, trans: ITextContext['trans'], language: string): string {
  return lease.rate_micro_per_hour === null
    ? trans.__('Cost so far')
    : trans.__(
        'Cost so far, at %1 per hour',
        formatMoney(lease.rate_micro_per_hour, lease.currency, language)
      );
}
