/**
 * The user's leases: the current notebook's first and open, then groups that can be folded, filtered and sorted.
 */

import { FilterBox, HTMLSelect } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ITextContext } from '../controls/textcontext';
import type { LeaseView } from '../generated/api';
import type { LeaseGroup, LeaseOrder, LeaseRow } from '../leases/grouping';
import { LEASE_ORDERS, leaseRows, listedLeases, rowKey } from '../leases/grouping';
import type { IPoolState } from '../leases/lease';
import { isOpen } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import { groupName, groupNote, notebookName, orderName, quotaNote, stateName } from '../texts/lease';
import type { ILeaseCallbacks } from './leaseitem';
import { LeaseBody } from './leaseitem';
import { hasWarning, LeaseRow as LeaseLine, ROW_HEIGHT } from './leaserow';
import type { ItemAttributes } from './virtuallist';
import { VirtualList } from './virtuallist';

/** The height of an open lease before it is measured, in pixels. */
const OPEN_HEIGHT = 190;

/** A list with fewer leases has no filter. */
const FILTER_LEASES_MIN = 5;

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
      {listed.length > 0 && <LeaseList {...props} hasFilter={listed.length >= FILTER_LEASES_MIN} />}
    </>
  );
}

/** The list with its filter and its order. */
function LeaseList(props: ILeasesProps & { readonly hasFilter: boolean }): React.JSX.Element {
  const { trans, choices, now, currentLeaseId, hasFilter } = props;
  const [filter, setFilter] = React.useState('');
  const [cleared, setCleared] = React.useState(0);
  const [opened, setOpened] = React.useState<string | null>(null);
  const [closed, setClosed] = React.useState<string | null>(null);
  const [active, setActive] = React.useState<string | null>(null);
  const node = React.useRef<HTMLDivElement>(null);
  const isExpanded = (lease: LeaseView) =>
    lease.id === opened || (lease.id === currentLeaseId && lease.id !== closed);

  const rows = leaseRows(props.leases, {
    currentId: currentLeaseId,
    filter: hasFilter ? filter : '',
    order: choices.order,
    folded: choices.folded,
    showEnded: props.showEnded,
    now,
    nameOf: lease => notebookName(lease.holder, trans),
    textOf: lease =>
      [lease.holder.notebook, notebookName(lease.holder, trans), lease.request.size, stateName(lease.state, trans)].join(' ')
  });
  const keys = rows.map(rowKey);
  const tabStop = active !== null && keys.includes(active) ? active : (keys[0] ?? null);
  const live = props.live && props.canAct;

  const onFilter = React.useCallback(
    (_: unknown, query?: string) => setFilter(query ?? ''),
    []
  );
  const toggleLease = React.useCallback(
    (id: string) => {
      setActive(id);
      if (id === currentLeaseId) {
        setClosed(known => (known === id ? null : id));
        setOpened(known => (known === id ? null : known));
      } else {
        setOpened(known => (known === id ? null : id));
      }
    },
    [currentLeaseId]
  );
  const toggleGroup = (group: LeaseGroup) => {
    setActive(`group ${group}`);
    const folded = new Set(choices.folded);
    if (!folded.delete(group)) {
      folded.add(group);
    }
    props.onChoose({ ...choices, folded });
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLElement>) => {
    const target = nextRow(event, keys);
    if (target !== null) {
      event.preventDefault();
      setActive(target);
      focusRow(node.current, target);
    }
  };

  return (
    <div ref={node}>
      {hasFilter && (
        <div className="fg-ListHead">
          <FilterBox
            key={cleared}
            placeholder={trans.__('Filter by name, size, state')}
            useFuzzyFilter={false}
            updateFilter={onFilter}
          />
          <HTMLSelect
            value={choices.order}
            aria-label={trans.__('Order of the leases')}
            onChange={({ target }) => props.onChoose({ ...choices, order: target.value as LeaseOrder })}
          >
            {LEASE_ORDERS.map(order => (
              <option key={order} value={order}>
                {orderName(order, trans)}
              </option>
            ))}
          </HTMLSelect>
        </div>
      )}
      {rows.length === 0 ? (
        <div className="fg-Empty" role="status">
          <p>{trans.__('No lease matches.')}</p>
          <button
            type="button"
            className="fg-Button"
            onClick={() => {
              setFilter('');
              setCleared(cleared + 1);
            }}
          >
            {trans.__('Clear')}
          </button>
        </div>
      ) : (
        <div
          onKeyDown={onKeyDown}
          onFocus={({ target }) => setActive(target.closest('li')?.dataset.key ?? null)}
        >
          <VirtualList
            label={trans.__('My leases')}
            className="fg-LeaseList"
            items={rows}
            keyOf={rowKey}
            heightOf={row =>
              row.kind === 'lease' && isExpanded(row.lease) ? OPEN_HEIGHT : ROW_HEIGHT
            }
            attributesOf={row => rowAttributes(row, currentLeaseId)}
            kept={[tabStop]}
            render={row =>
              row.kind === 'group' ? (
                <GroupLine
                  {...props}
                  row={row}
                  isTabStop={rowKey(row) === tabStop}
                  onToggle={toggleGroup}
                />
              ) : (
                <>
                  <LeaseLine
                    trans={trans}
                    language={props.language}
                    lease={row.lease}
                    samples={props.samples[row.lease.id]}
                    isExpanded={isExpanded(row.lease)}
                    isTabStop={row.lease.id === tabStop}
                    isPending={props.pendingActions.has(row.lease.id)}
                    live={live}
                    onToggle={toggleLease}
                    onAction={props.onAction}
                    onResize={props.onResize}
                  />
                  {isExpanded(row.lease) && <LeaseBody {...props} lease={row.lease} live={live} />}
                </>
              )
            }
          />
        </div>
      )}
    </div>
  );
}

/** The heading of a group, with the number of its leases and what they cost an hour. */
function GroupLine(
  props: ITextContext & {
    readonly row: Extract<LeaseRow, { kind: 'group' }>;
    readonly leases: ReadonlyArray<LeaseView>;
    readonly isTabStop: boolean;
    readonly onToggle: (group: LeaseGroup) => void;
  }
): React.JSX.Element {
  const { row, leases, trans, language } = props;
  const name = groupName(row.group, trans);
  const note = groupNote(row, leases[0]?.money.currency ?? '', trans, language);
  return (
    <button
      type="button"
      className="fg-GroupRow"
      tabIndex={props.isTabStop ? 0 : -1}
      aria-expanded={!row.folded}
      aria-label={`${name}: ${note}`}
      onClick={() => props.onToggle(row.group)}
    >
      <span className="fg-Section-caret" aria-hidden="true" />
      <span className="fg-ellipsis">{name}</span>
      <span className="fg-GroupRow-note">{note}</span>
    </button>
  );
}

function rowAttributes(row: LeaseRow, currentLeaseId: string | null): ItemAttributes {
  return row.kind === 'group'
    ? { 'data-group': row.group }
    : {
        className: 'fg-Item',
        tabIndex: -1,
        'data-state': row.lease.state,
        'data-lease-id': row.lease.id,
        'data-current': row.lease.id === currentLeaseId,
        'data-warns': hasWarning(row.lease)
      };
}

/** Return the key of the row to which a key press moves; the focus within a row is moved here. */
function nextRow(event: React.KeyboardEvent<HTMLElement>, keys: ReadonlyArray<string>): string | null {
  const target = event.target as HTMLElement;
  const line = target.closest<HTMLElement>('.fg-LeaseRow, .fg-GroupRow');
  const key = target.closest('li')?.dataset.key;
  if (line === null || key === undefined || event.ctrlKey || event.altKey || event.metaKey) {
    return null;
  }
  const index = keys.indexOf(key);
  switch (event.key) {
    case 'ArrowDown':
      return keys[Math.min(index + 1, keys.length - 1)];
    case 'ArrowUp':
      return keys[Math.max(index - 1, 0)];
    case 'Home':
      return keys[0];
    case 'End':
      return keys[keys.length - 1];
    case 'ArrowRight':
    case 'ArrowLeft':
    case 'Escape':
      moveInLine(event, line, target);
      return null;
    default:
      return null;
  }
}

/** Move from a line to its buttons and back; a group is unfolded and folded. */
function moveInLine(
  event: React.KeyboardEvent<HTMLElement>,
  line: HTMLElement,
  target: HTMLElement
): void {
  if (line.matches('.fg-GroupRow')) {
    if (event.key !== 'Escape' && (line.getAttribute('aria-expanded') === 'true') === (event.key === 'ArrowLeft')) {
      event.preventDefault();
      line.click();
    }
    return;
  }
  const stops = [...line.querySelectorAll<HTMLElement>('button:not(:disabled)')].filter(
    button => button.offsetParent !== null
  );
  const index = stops.indexOf(target);
  const next = event.key === 'Escape' ? 0 : index + (event.key === 'ArrowRight' ? 1 : -1);
  if (next >= 0 && next < stops.length && next !== index) {
    event.preventDefault();
    stops[next].focus();
  }
}

/** Focus a row once it is rendered. */
function focusRow(node: HTMLElement | null, key: string): void {
  window.requestAnimationFrame(() => {
    const row = [...(node?.querySelectorAll<HTMLElement>('li') ?? [])].find(
      item => item.dataset.key === key
    );
    const button = row?.querySelector<HTMLElement>('.fg-LeaseRow-toggle, .fg-GroupRow');
    button?.focus({ preventScroll: true });
    button?.scrollIntoView({ block: 'nearest' });
  });
}
