/**
 * The user's own leases: state, use, memory, time, cost, and the way to give them back.
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
import type { Change, ILease, IPoolState } from '../leases/lease';
import { canChange, CHANGES, isAway, isOpen, isReleasable } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import {
  activityNotes,
  awayNote,
  changeTexts,
  endReason,
  enforcement,
  mechanismName,
  notebookName,
  quotaNote,
  scrubNote,
  stateMeaning,
  stateName
} from '../texts/lease';
import type { IWriting } from './textcontext';
import { SimulatedFact } from './devices';
import type { IHistoryProps } from './historychart';
import { HistoryFold } from './historychart';
import { LeaseDetails } from './leasedetails';
import { Meter, Said, Section, Sparkline, Tag } from './components';

const ENDED_SHOWN_MS = 3_600_000;

export interface ILeaseCallbacks {
  readonly onRelease: (lease: ILease) => void;
  readonly onChange: (lease: ILease, change: Change) => void;
  readonly onOpenNotebook: (lease: ILease) => void;
  readonly onLoadHistory: IHistoryProps['onLoadHistory'];
  /** Whether histories begin as tables. */
  readonly asTable: boolean;
  /** Undefined where there is no launcher. */
  readonly onOpenLauncher?: () => void;
}

export function LeasesSection(
  props: IWriting &
    ILeaseCallbacks & {
      readonly leases: ReadonlyArray<ILease>;
      readonly entitlements: ReadonlyArray<IEntitlement>;
      readonly history: IPoolState['history'];
      readonly devices: IPoolState['devices'];
      readonly releasing: ReadonlySet<string>;
      readonly changing: ReadonlySet<string>;
      readonly currentLeaseId: string | null;
      readonly showEnded: boolean;
      /** False while there is no connection: nothing can be asked of the server then. */
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
          {props.entitlements.map(one => (
            <li key={`${one.isGroup} ${one.name}`}>{quotaNote(one, trans, props.language)}</li>
          ))}
        </ul>
      )}
      {open.length === 0 && (
        <div className="fg-Empty">
          <p>
            {trans.__(
              'You hold no GPU. Start a notebook with a FastGPU kernel, or change the kernel of an open one.'
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
              className="fg-Card"
              tabIndex={-1}
              data-state={lease.state}
              data-lease-id={lease.id}
              data-current={lease.id === props.currentLeaseId}
            >
              <Lease {...props} lease={lease} />
            </li>
          ))}
        </ul>
      )}
      {props.showEnded && ended.length > 0 && <Ended {...props} ended={ended} />}
    </Section>
  );
}

function Lease(
  props: IWriting &
    ILeaseCallbacks & {
      readonly lease: ILease;
      readonly history: IPoolState['history'];
      readonly devices: IPoolState['devices'];
      readonly releasing: ReadonlySet<string>;
      readonly changing: ReadonlySet<string>;
      readonly live: boolean;
      readonly now: number;
    }
): React.JSX.Element {
  const { lease, trans, language, live, now } = props;
  const facts = [
    lease.profile,
    lease.memory_bytes === null ? null : formatMemory(lease.memory_bytes, language),
    deviceFact(lease),
    serviceFact(lease, trans),
    ...activityNotes(lease, formatDuration(now - lease.used_at), trans)
  ].filter((fact): fact is string => fact !== null);
  const busy = props.releasing.has(lease.id);
  const name = notebookName(lease, trans);
  return (
    <>
      <div className="fg-Card-head">
        <NotebookLink {...props} lease={lease} />
        <Tag kind={`state-${lease.state}`} title={stateMeaning(lease.state, trans)}>
          {stateName(lease.state, trans)}
        </Tag>
      </div>
      <div className="fg-Facts">
        {facts.map((fact, index) => (
          <span key={index}>{fact}</span>
        ))}
        {lease.simulated && <SimulatedFact trans={trans} />}
      </div>
      {lease.state === 'waiting' ? (
        <Waiting lease={lease} now={now} trans={trans} />
      ) : lease.state === 'active' ? (
        <Use {...props} lease={lease} />
      ) : (
        <p className="fg-Note" data-kind={isAway(lease) ? 'parked' : undefined}>
          {isAway(lease) && `${awayNote(lease, trans)} `}
          {stateMeaning(lease.state, trans)}
          {lease.pending_detail !== null && <Said text={` ${lease.pending_detail}`} />}
        </p>
      )}
      {lease.state !== 'ended' &&
        [lease.budget_message, lease.limit_message, lease.size_message].map(
          (message, index) =>
            message !== null && (
              <p key={index} className="fg-Note" data-kind="warning">
                <Said text={message} />
              </p>
            )
        )}
      {lease.fault_message !== null && (
        <p className="fg-Note" data-kind="error">
          <Said text={lease.fault_message} />
        </p>
      )}
      {lease.mechanism !== null && <LeaseDetails {...props} lease={lease} name={name} />}
      {lease.active_ms > 0 && (
        <HistoryFold
          {...props}
          of={{ kind: 'leases', id: lease.id, memoryBytes: lease.memory_bytes }}
          name={name}
        />
      )}
      <div className="fg-Card-foot">
        {(lease.active_ms > 0 || lease.cost_micro > 0) && (
          <>
            <span className="fg-Cost" title={costTitle(lease, trans, language)}>
              {formatMoney(lease.cost_micro, lease.currency, language)}
            </span>
            <span className="fg-dim fg-ellipsis" title={trans.__('Time the GPU was yours')}>
              {formatDuration(lease.active_ms)}
            </span>
          </>
        )}
        <div className="fg-Buttons" role="group" aria-label={trans.__('Actions for %1', name)}>
          <Changes {...props} lease={lease} name={name} />
          <button
            type="button"
            className="fg-Button"
            disabled={!live || busy || !isReleasable(lease)}
            aria-label={
              lease.state === 'waiting' && !isAway(lease)
                ? trans.__('Leave the queue with %1', name)
                : trans.__('Release the GPU of %1', name)
            }
            onClick={() => props.onRelease(lease)}
          >
            {busy
              ? trans.__('Releasing…')
              : lease.state === 'waiting' && !isAway(lease)
                ? trans.__('Leave')
                : trans.__('Release')}
          </button>
        </div>
      </div>
    </>
  );
}

/** Park or resume, pin or unpin: of each pair the one that the lease's state allows, and none that makes no sense. */
function Changes(
  props: Pick<IWriting, 'trans'> &
    Pick<ILeaseCallbacks, 'onChange'> & {
      readonly lease: ILease;
      readonly name: string;
      readonly changing: ReadonlySet<string>;
      readonly live: boolean;
    }
): React.JSX.Element {
  const { lease, name, trans } = props;
  const asked = props.changing.has(lease.id);
  return (
    <>
      {CHANGES.filter(change => canChange(lease, change)).map(change => {
        const { label, aria, title } = changeTexts(change, name, trans);
        return (
          <button
            key={change}
            type="button"
            className="fg-Button"
            disabled={!props.live || asked}
            aria-label={aria}
            title={title}
            onClick={() => props.onChange(lease, change)}
          >
            {label}
          </button>
        );
      })}
    </>
  );
}

function NotebookLink(
  props: Pick<IWriting, 'trans'> &
    Pick<ILeaseCallbacks, 'onOpenNotebook'> & { readonly lease: ILease }
): React.JSX.Element {
  const { lease, trans } = props;
  const name = notebookName(lease, trans);
  // Without a kernel there is no session to go to.
  if (lease.kernel_id === null) {
    return (
      <span className="fg-Card-name fg-ellipsis" title={lease.notebook ?? undefined}>
        {name}
      </span>
    );
  }
  return (
    <button
      type="button"
      className="fg-Card-name fg-Link fg-ellipsis"
      title={lease.notebook ?? undefined}
      onClick={() => props.onOpenNotebook(lease)}
    >
      {name}
    </button>
  );
}

function Use(
  props: IWriting & { readonly lease: ILease; readonly history: IPoolState['history'] }
): React.JSX.Element {
  const { lease, trans, language } = props;
  const samples = props.history[lease.id] ?? [];
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
              ? trans.__('GPU utilization: not known yet')
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
        title={`${enforcement(lease, trans)} ${lease.mechanism_reason ?? ''}`.trim()}
      />
    </div>
  );
}

function Waiting(
  props: Pick<IWriting, 'trans'> & { readonly lease: ILease; readonly now: number }
): React.JSX.Element {
  const { lease, now, trans } = props;
  const waited = formatDuration(now - lease.requested_at);
  // Since when it waits to come back, the lease does not say; the queue below does.
  const again = isAway(lease);
  return (
    <p className="fg-Note" data-kind="waiting">
      {again
        ? lease.place === null
          ? trans.__('Wanted back; waiting for a GPU.')
          : trans.__('Wanted back; place %1 in the queue.', lease.place)
        : lease.place === null
          ? trans.__('Waiting for %1.', waited)
          : trans.__('Place %1 in the queue, waiting for %2.', lease.place, waited)}
      {lease.pending_detail !== null && <Said text={` ${lease.pending_detail}`} />}
      {again && ` ${awayNote(lease, trans)}`}
    </p>
  );
}

function Ended(
  props: IWriting & { readonly ended: ReadonlyArray<ILease>; readonly now: number }
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
            <span className="fg-dim fg-Ended-why">
              {trans.__(
                '%1, %2 ago',
                endReason(lease.end_reason, trans),
                formatDuration(now - (lease.ended_at ?? now))
              )}
              {[lease.pending_detail, scrubNote(lease, trans, language)].map(
                (note, index) => note !== null && <Said key={index} text={` · ${note}`} />
              )}
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}

/** The model, and how many of it where there are several. */
function deviceFact({ device_model, device_ids }: ILease): string | null {
  if (device_model === null) {
    return null;
  }
  return device_ids.length > 1 ? `${device_ids.length} × ${shortModel(device_model)}` : shortModel(device_model);
}

/** By what it is served, where its size does not say that already and it makes a difference to its user. */
function serviceFact(lease: ILease, trans: IWriting['trans']): string | null {
  const matters = lease.mechanism === 'mig' || lease.mechanism === 'mps';
  return matters && lease.partition !== lease.profile ? mechanismName(lease, trans) : null;
}

function costTitle(lease: ILease, trans: IWriting['trans'], language: string): string {
  return lease.rate_micro_per_hour === null
    ? trans.__('Cost so far')
    : trans.__(
        'Cost so far, at %1 per hour',
        formatMoney(lease.rate_micro_per_hour, lease.currency, language)
      );
}
