/**
 * The head of the side panel: the connection, and what the pool manager or the page has to say.
 */

import * as React from 'react';

import { FormattedText } from '../controls/components';
import type { ITextContext } from '../controls/textcontext';
import type { PoolView } from '../generated/api';
import type { Connection, IPoolState } from '../leases/lease';
import { silenceText } from '../texts/cluster';
import { failureTexts, kernelsNote } from '../texts/connection';
import { formatDuration, formatTime } from '../texts/format';
import { messageText } from '../texts/message';
import { SimulatedTag } from './devices';
import { QueueStatus } from './queue';
import { RefreshButton } from './refreshbutton';

export interface IPanelHeaderProps extends ITextContext {
  readonly state: IPoolState;
  readonly connection: Connection;
  /** The browser's time at which the last message arrived; null before the first. */
  readonly updatedAt: number | null;
  readonly browserNow: number;
  readonly onRefresh: () => void;
}

/** The head, with banners while something needs attention. */
export function PanelHeader(props: IPanelHeaderProps): React.JSX.Element {
  const { state, connection, trans } = props;
  const { pool } = state;
  return (
    <>
      <div className="fg-Header">
        <h2 className="fg-ellipsis">FastGPU</h2>
        {pool?.simulated && <SimulatedTag trans={trans} />}
        <ConnectionLabel {...props} />
        <RefreshButton trans={trans} onRefresh={props.onRefresh} />
      </div>
      <div role="status" aria-live="polite">
        {connection.kind === 'unreachable' && (
          <UnreachableBanner {...props} connection={connection} />
        )}
      </div>
      {pool !== null && <PoolBanner pool={pool} trans={trans} language={props.language} />}
      {pool === null && connection.kind !== 'unreachable' && (
        <p className="fg-Empty">{trans.__('Connecting to the pool manager…')}</p>
      )}
      <QueueStatus {...props} queue={state.queue} />
    </>
  );
}

/** A short label of the connection's state, with the pool's version as its tooltip. */
function ConnectionLabel(props: IPanelHeaderProps): React.JSX.Element {
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

/** A banner with the cause of a lost connection, what continues to run, and what to do. */
function UnreachableBanner(
  props: IPanelHeaderProps & { readonly connection: Extract<Connection, { kind: 'unreachable' }> }
): React.JSX.Element {
  const { connection, trans } = props;
  const { title, advice } = failureTexts(connection.reason, trans);
  const { retryAt } = connection;
  const wait = retryAt === null ? 0 : retryAt - props.browserNow;
  return (
    <div className="fg-Banner" data-kind="error">
      <strong>{title}</strong>
      {/* A browser's message about its network ("Failed to fetch") does not help the user. */}
      {connection.reason !== 'network' && (
        <p>
          <FormattedText text={connection.message} />
        </p>
      )}
      <p>
        {kernelsNote(connection.reason, trans)}
        {props.state.pool !== null &&
          props.updatedAt !== null &&
          ` ${trans.__(
            'No message since %1; the data below is from then.',
            formatTime(connection.since ?? props.updatedAt, props.language)
          )}`}
      </p>
      <p>{advice}</p>
      <p className="fg-Banner-action">
        {/* Hidden from screen readers, which would read the countdown every second. */}
        <span className="fg-dim" aria-hidden="true">
          {wait > 0
            ? trans.__('Next attempt in %1', formatDuration(wait + 999))
            : retryAt === null
              ? trans.__('The server is retrying')
              : trans.__('Retrying…')}
        </span>
        <button type="button" className="fg-Button" onClick={props.onRefresh}>
          {trans.__('Retry now')}
        </button>
      </p>
    </div>
  );
}

/** A banner with the pool manager's messages; null if there are none and leases are granted. */
function PoolBanner(props: ITextContext & { readonly pool: PoolView }): React.JSX.Element | null {
  const { pool, trans, language } = props;
  const silent = pool.counters_silent_since;
  const messages = [pool.message, pool.carried_over].flatMap(one => (one === null || one.text === '' ? [] : [one]));
  const clusterSilence = silenceText(pool, trans, language);
  if (messages.length === 0 && pool.accepting && silent === null && clusterSilence === null) {
    return null;
  }
  const warns = !pool.accepting || silent !== null || clusterSilence !== null || pool.carried_over !== null;
  return (
    <div className="fg-Banner" data-kind={warns ? 'warning' : 'info'} role="note">
      {silent !== null && (
        <p>
          {trans.__(
            'The GPU driver has not responded since %1; the utilization and memory of devices and leases are unknown.',
            formatTime(silent, language)
          )}
        </p>
      )}
      {clusterSilence !== null && (
        <p>
          <FormattedText text={clusterSilence} />
        </p>
      )}
      {!pool.accepting && <strong>{trans.__('No new leases are granted at the moment')}</strong>}
      {messages.map(message => (
        <p key={message.code}>
          <FormattedText text={messageText(message, trans, language)} />
        </p>
      ))}
    </div>
  );
}
