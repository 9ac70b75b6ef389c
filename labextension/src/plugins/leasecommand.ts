/** What the commands about one lease have in common: their arguments, and the lease that these name. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { LeaseView } from '../generated/api';
import type { ICurrentLease, ILeaseManager } from '../tokens';

/** Return the function that finds the lease of a command's arguments; null if there is none. */
export function leaseFinder(
  app: JupyterFrontEnd,
  manager: ILeaseManager,
  current: ICurrentLease | null
): (args: ReadonlyPartialJSONObject) => LeaseView | null {
  const withId = (leaseId: string | undefined): LeaseView | null =>
    manager.state.leases.find(lease => lease.id === leaseId) ?? null;
  return args => {
    if (args.fromContextMenu === true) {
      const item = app.contextMenuHitTest(node => node.dataset.leaseId !== undefined);
      return withId(item?.dataset.leaseId);
    }
    return typeof args.leaseId === 'string' ? withId(args.leaseId) : (current?.lease ?? null);
  };
}

/** Return the schema of the arguments by which a command finds its lease. */
export function leaseArguments(trans: TranslationBundle) {
  return {
    leaseId: {
      type: 'string',
      description: trans.__('The lease; the default is that of the current notebook.')
    },
    fromContextMenu: {
      type: 'boolean',
      description: trans.__('Whether to use the lease on which the context menu was opened.')
    }
  };
}
