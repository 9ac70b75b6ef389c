/** The user's leases on a cluster, for the dashboard: whose devices they are on, and what else uses them, is not known. */

import * as React from 'react';

import { leaseMark, StateShape } from '../controls/statemark';
import { isOnCluster, isOpen } from '../leases/lease';
import { clusterFacts, clusterPlace } from '../texts/cluster';
import { formatMoney } from '../texts/format';
import { notebookName } from '../texts/lease';
import type { IDashboardProps } from './dashboard';

export function ClusterLeases(props: IDashboardProps): React.JSX.Element {
  const { state, connection, now, trans, language, onOpenNotebook } = props;
  const leases = state.leases.filter(lease => isOpen(lease) && isOnCluster(lease));
  return (
    <>
      <h2>{trans.__('My leases')}</h2>
      {leases.length === 0 ? (
        <p className="fg-Empty">{trans.__('No GPU leases.')}</p>
      ) : (
        <ul className="fg-ClusterLeases" role="list" aria-label={trans.__('My leases')}>
          {leases.map(lease => {
            const name = notebookName(lease.holder, trans);
            const { shape, word } = leaseMark(lease, connection.kind, trans);
            const place = lease.state === 'waiting' ? clusterPlace(lease, now, trans) : [];
            return (
              <li key={lease.id}>
                <StateShape shape={shape} />
                <button type="button" className="fg-Link fg-ellipsis" onClick={() => onOpenNotebook(lease)}>
                  {name}
                </button>
                <span className="fg-Facts">
                  {[
                    word,
                    lease.request.size,
                    ...place,
                    ...clusterFacts(lease, now, trans),
                    formatMoney(lease.money.cost_micro, lease.money.currency, language)
                  ].map((fact, index) => (
                    <span key={index}>{fact}</span>
                  ))}
                </span>
              </li>
            );
          })}
        </ul>
      )}
    </>
  );
}
