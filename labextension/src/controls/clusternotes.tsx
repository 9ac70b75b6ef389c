/** What is to be known of a lease on a cluster: that it ends soon, that the cluster is silent, and that its size is fixed. */

import * as React from 'react';

import type { LeaseView, PoolView } from '../generated/api';
import { isOnCluster } from '../leases/lease';
import { clusterNotes, fixedText } from '../texts/cluster';
import { FormattedText } from './components';
import type { ITextContext } from './textcontext';

export function ClusterNotes(
  props: ITextContext & {
    readonly lease: LeaseView;
    /** Null where the cluster itself is described elsewhere. */
    readonly pool: PoolView | null;
  }
): React.JSX.Element | null {
  const { lease, pool, trans, language } = props;
  if (!isOnCluster(lease)) {
    return null;
  }
  return (
    <>
      {clusterNotes(lease, pool, trans, language).map(note => (
        <p key={note} className="fg-Note" data-kind="warning">
          <FormattedText text={note} />
        </p>
      ))}
      {lease.state === 'active' && <p className="fg-Note">{fixedText(lease, trans)}</p>}
    </>
  );
}
