/** Provides the model of the pool, which all other plugins use. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { LeaseManager } from '../leases/manager';
import { BrowserPage } from '../leases/page';
import { LeaseAPI } from '../leases/restapi';
import { ILeaseManager } from '../tokens';

export const managerPlugin: JupyterFrontEndPlugin<ILeaseManager> = {
  id: 'fastgpu-jupyter:manager',
  description: 'Follows the GPU pool over one event stream and releases leases.',
  autoStart: true,
  provides: ILeaseManager,
  activate: (app: JupyterFrontEnd): ILeaseManager =>
    new LeaseManager({
      api: new LeaseAPI({ serverSettings: app.serviceManager.serverSettings }),
      page: new BrowserPage()
    })
};
