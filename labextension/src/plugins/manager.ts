/** Provides the model of the pool, which all other plugins use. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { LeaseManager } from '../leases/manager';
import { BrowserPage } from '../leases/page';
import { LeaseAPI } from '../leases/restapi';
import { SharedStream } from '../leases/sharedstream';
import { VERSION } from '../generated/version';
import { ILeaseManager } from '../tokens';

export const managerPlugin: JupyterFrontEndPlugin<ILeaseManager> = {
  id: 'fastgpu-jupyter:manager',
  description: 'Follows the GPU pool over one event stream and releases leases.',
  autoStart: true,
  provides: ILeaseManager,
  activate: (app: JupyterFrontEnd): ILeaseManager => {
    const { serverSettings } = app.serviceManager;
    const api = new LeaseAPI({ serverSettings });
    const page = new BrowserPage();
    return new LeaseManager({
      api,
      page,
      openStream: state =>
        new SharedStream({
          source: api,
          name: `fastgpu-jupyter ${VERSION} ${serverSettings.baseUrl}`,
          browser: page,
          state
        })
    });
  }
};
