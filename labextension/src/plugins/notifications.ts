/** Tells the user, wherever they are, that a GPU has come, failed, was lent or taken away, or that money for it runs out. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { news } from '../leases/transitions';
import { awayNote, endReason, notebookName } from '../texts/lease';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

const SHOWN_MS = 8_000;

export const noticesPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:notices',
  description: 'Notifies when a GPU has been granted after a wait, failed, was lent to others or taken away, or when a budget runs out.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ICurrentLease, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const waited = new Set<string>();
    let before = manager.state.leases;

    const onChanged = () => {
      const { leases } = manager.state;
      if (leases === before) {
        return;
      }
      const found = news(before, leases, waited);
      before = leases;
      for (const { kind, lease } of found) {
        const name = notebookName(lease, trans);
        if (kind === 'lost') {
          const why = endReason(lease.end_reason, trans);
          Notification.warning(trans.__('“%1” has lost its GPU: %2.', name, why), {
            autoClose: false
          });
        } else if (kind === 'lent') {
          Notification.info(trans.__('“%1”: %2', name, awayNote(lease, trans)), {
            autoClose: SHOWN_MS
          });
        } else if (kind === 'fault') {
          Notification.error(trans.__('“%1”: %2', name, lease.fault_message ?? ''), {
            autoClose: false
          });
        } else if (kind === 'money') {
          Notification.warning(trans.__('“%1”: %2', name, lease.budget_message ?? ''), {
            autoClose: SHOWN_MS
          });
        } else if (kind === 'limit') {
          Notification.warning(trans.__('“%1”: %2', name, lease.limit_message ?? ''), {
            autoClose: SHOWN_MS
          });
        } else if (lease.id !== current?.lease?.id) {
          // In its own notebook the user sees the cell go on: no need to say it twice.
          Notification.success(trans.__('The GPU for “%1” is ready.', name), {
            autoClose: SHOWN_MS,
            actions: [
              {
                label: trans.__('Go there'),
                callback: () => {
                  if (app.commands.hasCommand(CommandIDs.openNotebook)) {
                    void app.commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
                  }
                }
              }
            ]
          });
        }
      }
    };
    manager.changed.connect(onChanged);
    onChanged();
  }
};
