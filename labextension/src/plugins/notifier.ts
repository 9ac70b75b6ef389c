/** Notifies the user, where chosen, of the grant of a lease: in the application and as a notification of the browser. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification as Toast } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { LeaseView } from '../generated/api';
import { GrantNotifier } from '../leases/notifier';
import { notebookName } from '../texts/lease';
import { leaseFacts } from '../texts/size';
import { toastName } from '../texts/toast';
import { IGrantNotifier, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { askForPermission, choiceStore, notifyInBrowser } from './browsernotification';

const PLUGIN_ID = 'fastgpu-jupyter:notifier';

export const notifierPlugin: JupyterFrontEndPlugin<IGrantNotifier> = {
  id: PLUGIN_ID,
  description: 'Notifies of the grant of the leases for which the user has chosen that.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [IStateDB, ITranslator],
  provides: IGrantNotifier,
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    database: IStateDB | null,
    translator: ITranslator | null
  ): IGrantNotifier => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const announce = (lease: LeaseView) => {
      const name = toastName(notebookName(lease.holder, trans));
      const facts = leaseFacts(lease, trans, used.languageCode).join(', ');
      const text =
        lease.usage.busy === true
          ? trans.__('The GPU of %1 is active: %2. Its cell runs.', name, facts)
          : trans.__('The GPU of %1 is active: %2.', name, facts);
      const open = () => {
        if (app.commands.hasCommand(CommandIDs.openNotebook)) {
          void app.commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
        }
      };
      Toast.success(text, {
        autoClose: false,
        actions: [{ label: trans.__('Open %1', name), callback: open }]
      });
      notifyInBrowser(text, lease.id, open);
    };
    return new GrantNotifier({
      manager,
      store: choiceStore(database, PLUGIN_ID),
      announce,
      onChosen: askForPermission
    });
  }
};
