/** Draws the output of a cell that waits for its lease, with buttons for what can be done meanwhile. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { LeaseAPI } from '../leases/restapi';
import { PageSource } from '../leases/source';
import { IGrantNotifier, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { WAITING_MIME, WaitingOutput } from '../views/waitingoutput';

/** Before HTML, which the same output has for pages without this extension. */
const RANK = 20;

export const waitingPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:waiting',
  description: 'Draws the output of a cell that waits for its GPU.',
  autoStart: true,
  requires: [ILeaseManager, IRenderMimeRegistry],
  optional: [IGrantNotifier, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    registry: IRenderMimeRegistry,
    notifier: IGrantNotifier | null,
    translator: ITranslator | null
  ): void => {
    const used = translator ?? nullTranslator;
    const api = new LeaseAPI({ serverSettings: app.serviceManager.serverSettings });
    registry.addFactory(
      {
        // The texts are shown as texts, and what the buttons do is decided by the server.
        safe: true,
        mimeTypes: [WAITING_MIME],
        createRenderer: () =>
          new WaitingOutput({
            trans: used.load(TRANSLATION_DOMAIN),
            language: used.languageCode,
            notifier,
            sourceOf: leaseId =>
              new PageSource({
                manager,
                api,
                find: leases => leases.find(({ id }) => id === leaseId) ?? null,
                kernelId: null
              }),
            onOpenLease: lease => {
              if (app.commands.hasCommand(CommandIDs.openNotebook)) {
                void app.commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
              }
            }
          })
      },
      RANK
    );
  }
};
