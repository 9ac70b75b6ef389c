/**
 * The whole side panel as one view: what is connected, what is mine, who waits, what there is.
 */

import { refreshIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { failure, kept } from '../texts/connection';
import { formatDuration, formatTime } from '../texts/format';
import type { Connection, IPool, IPoolState } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';
import type { IWriting } from './textcontext';
import { DevicesSection, SimulatedTag } from './devices';
import type { ILeaseCallbacks } from './leases';
import { LeasesSection } from './leases';
import { Said } from './components';
import { QueueSection } from './queue';

export interface IPanelProps extends IWriting, ILeaseCallbacks {
  readonly state: IPoolState;
  readonly connection: Connection;
  /** When the last message came; null before the first. By the browser's clock, as `browserNow`. */
  readonly updatedAt: number | null;
  readonly browserNow: number;
  /** The time by the server's clock, which the times in `state` are in. */
  readonly now: number;
  readonly releasing: ReadonlySet<string>;
  readonly changing: ReadonlySet<string>;
  readonly entitlements: ReadonlyArray<IEntitlement>;
  readonly currentLeaseId: string | null;
  readonly showEnded: boolean;
  readonly onRefresh: () => void;
}

export function PanelView(props: IPanelProps): React.JSX.Element {
  const { state, connection, trans } = props;
  const { pool } = state;
  const live = connection.kind === 'connected';
  return (
    <div className="fg-Panel-scroll">
      <header className="fg-Header">
        <h2 className="fg-ellipsis">FastGPU</h2>
        {pool?.simulated && <SimulatedTag trans={trans} />}
        <ConnectionMark {...props} />
        <button
          type="button"
          className="fg-IconButton"
          title={trans.__('Connect again and load everything anew')}
          aria-label={trans.__('Refresh')}
          onClick={props.onRefresh}
        >
          <refreshIcon.react tag="span" width="16px" height="16px" />
        </button>
      </header>
      <div role="status" aria-live="polite">
        {connection.kind === 'unreachable' && <Unreachable {...props} connection={connection} />}
      </div>
      {pool !== null && <PoolNotes pool={pool} trans={trans} language={props.language} />}
      {pool === null ? (
        connection.kind !== 'unreachable' && (
          <p className="fg-Empty">{trans.__('Asking the pool manager…')}</p>
        )
      ) : (
        <div className="fg-Content" data-stale={connection.kind === 'unreachable'}>
          <LeasesSection
            {...props}
            leases={state.leases}
            devices={state.devices}
            history={state.history}
            live={live}
          />
          <QueueSection {...props} queue={state.queue} />
          <DevicesSection {...props} devices={state.devices} pool={pool} live={live} />
        </div>
      )}
    </div>
  );
}

function ConnectionMark(props: IPanelProps): React.JSX.Element {
  const { connection, state, trans } = props;
  const text =
    connection.kind === 'connected'
      ? trans.__('live')
      : connection.kind === 'unreachable'
        ? trans.__('offline')
        : trans.__('connecting');
  const pool = state.pool;
  const title =
    pool === null
      ? undefined
      : pool.scope === 'system'
        ? trans.__('Pool of this machine, version %1', pool.version)
        : trans.__('Your own pool on this machine, version %1', pool.version);
  return (
    <span className="fg-Connection" data-kind={connection.kind} title={title}>
      <span className="fg-ellipsis">{text}</span>
    </span>
  );
}

/** What happened, what is kept, what to do. */
function Unreachable(
  props: IPanelProps & { readonly connection: Extract<Connection, { kind: 'unreachable' }> }
): React.JSX.Element {
  const { connection, trans } = props;
  const { title, advice } = failure(connection.reason, trans);
  const { retryAt } = connection;
  const wait = retryAt === null ? 0 : retryAt - props.browserNow;
  return (
    <div className="fg-Banner" data-kind="error">
      <strong>{title}</strong>
      {/* What a browser says of its network ("Failed to fetch") helps nobody. */}
      {connection.reason !== 'network' && (
        <p>
          <Said text={connection.message} />
        </p>
      )}
      <p>
        {kept(connection.reason, trans)}
        {props.state.pool !== null &&
          props.updatedAt !== null &&
          ` ${trans.__('Below is what was known at %1.', formatTime(props.updatedAt, props.language))}`}
      </p>
      <p>{advice}</p>
      <p className="fg-Banner-action">
        {/* The countdown is for the eye only: read out each second it would drown the rest. */}
        <span className="fg-dim" aria-hidden="true">
          {wait > 0
            ? trans.__('Next attempt in %1', formatDuration(wait + 999))
            : retryAt === null
              ? trans.__('The server keeps trying')
              : trans.__('Trying…')}
        </span>
        <button type="button" className="fg-Button" onClick={props.onRefresh}>
          {trans.__('Try now')}
        </button>
      </p>
    </div>
  );
}

function PoolNotes(props: IWriting & { readonly pool: IPool }): React.JSX.Element | null {
  const { pool, trans, language } = props;
  const silent = pool.counters_silent_since;
  if (pool.message === null && pool.accepting && silent === null) {
    return null;
  }
  const warns = !pool.accepting || silent !== null;
  return (
    <div className="fg-Banner" data-kind={warns ? 'warning' : 'info'} role="note">
      {silent !== null && (
        <p>
          {trans.__(
            'The driver of the GPUs has not answered since %1: what they and leases use is not known.',
            formatTime(silent, language)
          )}
        </p>
      )}
      {!pool.accepting && <strong>{trans.__('The pool grants nothing new for now')}</strong>}
      {pool.message !== null && (
        <p>
          <Said text={pool.message} />
        </p>
      )}
    </div>
  );
}
