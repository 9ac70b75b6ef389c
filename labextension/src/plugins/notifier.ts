/** Notifies the user, where chosen, of the grant of a lease: in the application and as a notification of the browser. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification as Toast } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { LeaseView } from '../generated/api';
import type { IChoiceStore } from '../leases/notifier';
import { GrantNotifier } from '../leases/notifier';
import { notebookName } from '../texts/lease';
import { leaseFacts } from '../texts/size';
import { toastName } from '../texts/toast';
import { IGrantNotifier, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

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
      store: database === null ? memory() : storeIn(database),
      announce,
      onChosen: askForPermission
    });
  }
};

/** Ask, on the user's action, whether notifications may be shown; without them the application's own are. */
function askForPermission(): void {
  if ('Notification' in window && Notification.permission === 'default') {
    void Notification.requestPermission().catch(() => undefined);
  }
}

/** Show a notification of the browser if that is allowed; `tag` makes several pages show one. */
function notifyInBrowser(text: string, tag: string, open: () => void): void {
  if (!('Notification' in window) || Notification.permission !== 'granted') {
    return;
  }
  try {
    const shown = new Notification('FastGPU', { body: text, tag: `fastgpu-${tag}` });
    shown.onclick = () => {
      window.focus();
      shown.close();
      open();
    };
  } catch {
    // Some browsers allow notifications only from a service worker; the application's own is shown.
  }
}

function storeIn(database: IStateDB): IChoiceStore {
  return {
    load: async () => {
      const value = await database.fetch(PLUGIN_ID);
      return Array.isArray(value) ? value.filter((id): id is string => typeof id === 'string') : [];
    },
    save: async leaseIds => {
      await database.save(PLUGIN_ID, [...leaseIds]);
    }
  };
}

function memory(): IChoiceStore {
  return { load: () => Promise.resolve([]), save: () => Promise.resolve() };
}
