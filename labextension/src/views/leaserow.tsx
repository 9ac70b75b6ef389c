/**
 * A lease in one line: its state, name and numbers, in whose place its actions appear on hover and focus.
 */

import * as React from 'react';

import { Sparkline } from '../controls/components';
import { leaseMark, StateMark, StateShape } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import type { LeaseView } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import { availableActions, LEASE_ACTIONS } from '../leases/actions';
import { isOnCluster, isOpen, positionOf } from '../leases/lease';
import { formatDuration, formatMoney, formatPercent } from '../texts/format';
import { notebookName, stateName } from '../texts/lease';
import { openContextMenu } from './contextmenu';

export interface ILeaseRowProps extends ITextContext {
  readonly lease: LeaseView;
  readonly samples: ReadonlyArray<number | null>;
  readonly isExpanded: boolean;
  /** Whether the Tab key reaches the list here. */
  readonly isTabStop: boolean;
  readonly isPending: boolean;
  /** Whether actions can be requested: there is a connection, and the user may. */
  readonly live: boolean;
  readonly onToggle: (leaseId: string) => void;
  readonly onAction: (lease: LeaseView, action: LeaseAction) => void;
  /** Undefined while no command changes sizes. */
  readonly onResize?: (lease: LeaseView) => void;
}

/** The line; it is rendered again only if what it shows has changed. */
export const LeaseRow = React.memo(function LeaseRow(props: ILeaseRowProps): React.JSX.Element {
  const { lease, isExpanded, trans, language } = props;
  const name = notebookName(lease.holder, trans);
  const mark = leaseMark(lease, 'connected', trans);
  const warning = hasWarning(lease);
  const numbers = rowNumbers(lease, trans, language);
  const spoken = [name, mark.word, ...numbers.map(({ text }) => text)];
  if (warning) {
    spoken.push(trans.__('has a warning'));
  }
  return (
    <div className="fg-ListRow" data-expanded={isExpanded}>
      <button
        type="button"
        className="fg-ListRow-toggle"
        tabIndex={props.isTabStop ? 0 : -1}
        aria-expanded={isExpanded}
        aria-label={spoken.join(', ')}
        title={lease.holder.notebook ?? undefined}
        onClick={() => props.onToggle(lease.id)}
      >
        <span className="fg-Section-caret" aria-hidden="true" />
        <StateShape shape={mark.shape} />
        <span className="fg-Item-name fg-ellipsis">{name}</span>
        {warning && (
          <span className="fg-ListRow-warning" aria-hidden="true">
            !
          </span>
        )}
      </button>
      {isExpanded ? (
        <StateMark mark={mark} />
      ) : (
        <>
          <span className="fg-ListRow-numbers" aria-hidden="true">
            {numbers.map(({ kind, text }) => (
              <React.Fragment key={kind}>
                {kind === 'utilization' && <Sparkline samples={props.samples} label="" />}
                <span data-kind={kind} className="fg-ellipsis">
                  {text}
                </span>
              </React.Fragment>
            ))}
          </span>
          <RowActions {...props} name={name} />
        </>
      )}
    </div>
  );
});

/** The buttons of a line, which the arrow keys reach from its name. */
function RowActions(props: ILeaseRowProps & { readonly name: string }): React.JSX.Element | null {
  const { lease, name, trans, live, isPending, onResize } = props;
  if (!isOpen(lease)) {
    return null;
  }
  const [action] = availableActions(lease);
  return (
    <span className="fg-ListRow-actions" role="group" aria-label={trans.__('Actions for %1', name)}>
      {onResize !== undefined && !isOnCluster(lease) && (
        <button
          type="button"
          className="fg-Button fg-mod-optional"
          tabIndex={-1}
          disabled={!live || isPending}
          aria-label={trans.__('Resize the GPU of %1', name)}
          onClick={() => onResize(lease)}
        >
          {trans.__('Resize…')}
        </button>
      )}
      {action !== undefined && (
        <button
          type="button"
          className="fg-Button"
          tabIndex={-1}
          disabled={!live || isPending}
          aria-label={LEASE_ACTIONS[action].texts(name, trans).aria}
          title={LEASE_ACTIONS[action].texts(name, trans).title}
          onClick={() => props.onAction(lease, action)}
        >
          {LEASE_ACTIONS[action].texts(name, trans).label}
        </button>
      )}
      <button
        type="button"
        className="fg-Button"
        tabIndex={-1}
        aria-haspopup="menu"
        aria-label={trans.__('More actions for %1', name)}
        onClick={openContextMenu}
      >
        <span aria-hidden="true">⋯</span>
      </button>
    </span>
  );
}

/** Return whether the lease has a message that its user should read. */
export function hasWarning(lease: LeaseView): boolean {
  return (
    isOpen(lease) &&
    [lease.money, lease.enforcement, lease.size, lease.health, lease.cluster].some(
      part => (part ?? null) !== null && part?.message !== null
    )
  );
}

interface IRowNumber {
  readonly kind: 'size' | 'position' | 'estimate' | 'utilization' | 'cost';
  readonly text: string;
}

/** Return the numbers of a line, in order; those of a narrow panel are chosen by the style sheet. */
function rowNumbers(
  lease: LeaseView,
  trans: ITextContext['trans'],
  language: string
): ReadonlyArray<IRowNumber> {
  const size: IRowNumber = { kind: 'size', text: lease.request.size };
  if (lease.state === 'waiting' && isOnCluster(lease)) {
    const position = positionOf(lease);
    const text = position === null ? stateName(lease.state, trans) : trans.__('position %1', position);
    return [size, { kind: 'position', text }];
  }
  if (lease.queue !== null) {
    const { position, estimate_ms } = lease.queue;
    const place: IRowNumber = { kind: 'position', text: trans.__('position %1', position) };
    return estimate_ms === null
      ? [size, place]
      : [size, place, { kind: 'estimate', text: trans.__('about %1', formatDuration(estimate_ms)) }];
  }
  const cost: IRowNumber = {
    kind: 'cost',
    text: formatMoney(lease.money.cost_micro, lease.money.currency, language)
  };
  const { utilization_percent } = lease.usage;
  return lease.state === 'active' && utilization_percent !== null
    ? [size, { kind: 'utilization', text: formatPercent(utilization_percent, language) }, cost]
    : [size, cost];
}
