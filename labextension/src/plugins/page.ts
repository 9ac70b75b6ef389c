/** Offers the page's model of the pool to the widgets of notebooks, so that they need no messages of their kernels. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { leaseOfKernel } from '../leases/lease';
import { LeaseAPI } from '../leases/restapi';
import { PageSource } from '../leases/source';
import { ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { offerPage, PAGE_INTERFACE } from '../widget/page';

export const pagePlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:page',
  description: 'Lets the GPU widgets of notebooks use the connection of the page.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, manager: ILeaseManager, translator: ITranslator | null): void => {
    const used = translator ?? nullTranslator;
    const { kernels, serverSettings } = app.serviceManager;
    const api = new LeaseAPI({ serverSettings });
    offerPage({
      interface: PAGE_INTERFACE,
      trans: used.load(TRANSLATION_DOMAIN),
      language: used.languageCode,
      source: kernelId =>
        new PageSource({
          manager,
          api,
          kernelId,
          find: leases => leaseOfKernel(leases, kernelId),
          // Only kernels of FastGPU have a widget that names its kernel.
          isGated: () => true
        }),
      isRunning: kernelId =>
        kernels.isReady ? [...kernels.running()].some(({ id }) => id === kernelId) : null,
      kernelsChanged: listener => {
        kernels.runningChanged.connect(listener);
        return () => {
          kernels.runningChanged.disconnect(listener);
        };
      }
    });
  }
};
