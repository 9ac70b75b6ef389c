/**
 * The user's leases: the current notebook's first and open, then groups that can be folded, filtered and sorted.
 */

import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import type { LeaseView } from '../generated/api';
import type { LeaseGroup, LeaseOrder } from '../leases/grouping';
import { LEASE_ORDERS, leaseRows, listedLeases } from '../leases/grouping';
import type { IPoolState } from '../leases/lease';
import { isOpen } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import { groupName, groupNote, notebookName, orderName, quotaNote, stateName } from '../texts/lease';
import { FILTER_ITEMS_MIN, GroupedList, toggled } from './groupedlist';
import type { ILeaseCallbacks } from './leaseitem';
import { LeaseBody } from './leaseitem';
import { hasWarning, LeaseRow } from './leaserow';

/** The height of an open lease before it is measured, in pixels. */
const OPEN_HEIGHT = 190;

/** What the user has chosen for the list, which is kept. */
export interface IListChoices {
  readonly order: LeaseOrder;
  readonly folded: ReadonlySet<LeaseGroup>;
}

export interface ILeasesProps extends ITextContext, ILeaseCallbacks {
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
  /** Whether the user may change leases. */
  readonly canAct: boolean;
  readonly now: number;
  readonly choices: IListChoices;
  readonly onChoose: (choices: IListChoices) => void;
  /** Draw the kernels that run on without a server. */
  readonly renderKept?: (canAct: boolean) => React.JSX.Element;
}

/** The content of the section *My leases*. */
export function LeasesSection(props: ILeasesProps): React.JSX.Element {
  const { leases, trans } = props;
  const listed = listedLeases(leases, props);
  return (
    <>
      {!props.canAct && (
        <p className="fg-Quota" role="note">
          {trans.__('You may see the leases of this server and not change them.')}
        </p>
      )}
      {props.entitlements.length > 0 && (
        <ul className="fg-Quota">
          {props.entitlements.map(entitlement => (
            <li key={`${entitlement.isGroup} ${entitlement.name}`}>
              {quotaNote(entitlement, trans, props.language)}
            </li>
          ))}
        </ul>
      )}
      {props.renderKept?.(props.canAct)}
      {!leases.some(isOpen) && (
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
      {listed.length > 0 && <LeaseList {...props} hasFilter={listed.length >= FILTER_ITEMS_MIN} />}
    </>
  );
}

/** The list with its filter and its order. */
function LeaseList(props: ILeasesProps & { readonly hasFilter: boolean }): React.JSX.Element {
  const { trans, language, choices, currentLeaseId } = props;
  const [opened, setOpened] = React.useState<string | null>(null);
  const [closed, setClosed] = React.useState<string | null>(null);
  const isExpanded = (lease: LeaseView) =>
    lease.id === opened || (lease.id === currentLeaseId && lease.id !== closed);
  const live = props.live && props.canAct;
  const currency = props.leases[0]?.money.currency ?? '';

  const toggleLease = React.useCallback(
    (id: string) => {
      if (id === currentLeaseId) {
        setClosed(known => (known === id ? null : id));
        setOpened(known => (known === id ? null : known));
      } else {
        setOpened(known => (known === id ? null : id));
      }
    },
    [currentLeaseId]
  );

  return (
    <GroupedList<LeaseGroup, LeaseOrder, LeaseView>
      trans={trans}
      language={language}
      texts={{
        label: trans.__('My leases'),
        placeholder: trans.__('Filter by name, size, state'),
        order: trans.__('Order of the leases'),
        noMatch: trans.__('No lease matches.'),
        orderName: order => orderName(order, trans),
        groupName: group => groupName(group, trans),
        groupNote: row => groupNote(row, currency, trans, language)
      }}
      hasFilter={props.hasFilter}
      orders={LEASE_ORDERS}
      order={choices.order}
      onOrder={order => props.onChoose({ ...choices, order })}
      rowsOf={filter =>
        leaseRows(props.leases, {
          currentId: currentLeaseId,
          filter,
          order: choices.order,
          folded: choices.folded,
          showEnded: props.showEnded,
          now: props.now,
          nameOf: lease => notebookName(lease.holder, trans),
          textOf: lease =>
            [
              lease.holder.notebook,
              notebookName(lease.holder, trans),
              lease.request.size,
              stateName(lease.state, trans)
            ].join(' ')
        })
      }
      keyOf={({ id }) => id}
      openHeight={OPEN_HEIGHT}
      isExpanded={isExpanded}
      attributesOf={lease => ({
        'data-state': lease.state,
        'data-lease-id': lease.id,
        'data-current': lease.id === currentLeaseId,
        'data-warns': hasWarning(lease)
      })}
      onToggleGroup={group => props.onChoose({ ...choices, folded: toggled(choices.folded, group) })}
      render={(lease, isTabStop) => (
        <>
          <LeaseRow
            trans={trans}
            language={language}
            lease={lease}
            samples={props.samples.of(lease.id)}
            isExpanded={isExpanded(lease)}
            isTabStop={isTabStop}
            isPending={props.pendingActions.has(lease.id)}
            live={live}
            onToggle={toggleLease}
            onAction={props.onAction}
            onResize={props.onResize}
          />
          {isExpanded(lease) && <LeaseBody {...props} lease={lease} live={live} />}
        </>
      )}
    />
  );
}
