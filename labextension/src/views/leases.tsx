/**
 * The user's leases and quotas, and the leases that ended recently.
 */

import * as React from 'react';

import type { LeaseView } from '../generated/api';
import type { IPoolState } from '../leases/lease';
import { isOpen } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import { formatDuration, formatMoney } from '../texts/format';
import { endReason, leaseNotes, notebookName, quotaNote, scrubNote } from '../texts/lease';
import { FormattedText, Section } from '../controls/components';
import type { ILeaseCallbacks } from './leaseitem';
import { LeaseItem } from './leaseitem';
import type { ITextContext } from '../controls/textcontext';

/** How long a lease is listed after its end. */
const ENDED_SHOWN_MS = 3_600_000;

/** The section of the panel that lists the user's leases and quotas. */
export function LeasesSection(
  props: ITextContext &
    ILeaseCallbacks & {
      readonly leases: ReadonlyArray<LeaseView>;
      readonly entitlements: ReadonlyArray<IEntitlement>;
      readonly samples: IPoolState['samples'];
      readonly devices: IPoolState['devices'];
      readonly pendingReleases: ReadonlySet<string>;
      readonly pendingActions: ReadonlySet<string>;
      readonly unanswered: ReadonlySet<string>;
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
    .filter(lease => !isOpen(lease) && now - (lease.times.ended_at ?? 0) < ENDED_SHOWN_MS)
    .sort((a, b) => (b.times.ended_at ?? 0) - (a.times.ended_at ?? 0));
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

/** The leases that ended in the last hour, with their cost and the reason. */
function EndedLeases(
  props: ITextContext & { readonly ended: ReadonlyArray<LeaseView>; readonly now: number }
): React.JSX.Element {
  const { ended, trans, language, now } = props;
  return (
    <details className="fg-Ended">
      <summary>{trans.__('Ended in the last hour (%1)', ended.length)}</summary>
      <ul className="fg-List">
        {ended.map(lease => (
          <li key={lease.id} className="fg-Ended-item">
            <span className="fg-ellipsis" title={lease.holder.notebook ?? undefined}>
              {notebookName(lease.holder, trans)}
            </span>
            <span className="fg-Cost">
              {formatMoney(lease.money.cost_micro, lease.money.currency, language)}
            </span>
            <span className="fg-dim fg-Ended-reason">
              {trans.__('%1 ago', formatDuration(now - (lease.times.ended_at ?? now)))}
              {[
                endReason(lease, trans, language),
                ...leaseNotes(lease, trans, language),
                scrubNote(lease, trans, language)
              ].map(
                (note, index) => note !== null && <FormattedText key={index} text={` · ${note}`} />
              )}
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}
