/** Shows what becomes of the requests of notebooks where a cluster grants the leases. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { isCluster } from '../launch/cluster';
import { IGrantNotifier, IKernelStart, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

export const clusterPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:cluster',
  description: 'Shows above a notebook that its kernel waits for a GPU of a cluster, or has lost it.',
  autoStart: true,
  requires: [ILeaseManager, IKernelStart],
  optional: [IGrantNotifier, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    start: IKernelStart,
    notifier: IGrantNotifier | null,
    translator: ITranslator | null
  ): void => {
    const used = translator ?? nullTranslator;
    const load = async () => {
      const [requests, { ClusterBars }] = await Promise.all([start.cluster.requests(), import('../views/clusterbars')]);
      new ClusterBars({
        app,
        manager,
        start,
        requests,
        notifier,
        trans: used.load(TRANSLATION_DOMAIN),
        language: used.languageCode
      });
    };
    const onChanged = () => {
      if (isCluster(manager)) {
        manager.changed.disconnect(onChanged);
        void load();
      }
    };
    manager.changed.connect(onChanged);
    onChanged();
  }
};
