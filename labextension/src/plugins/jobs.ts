/** Provides the model of the user's jobs, which the other plugins about jobs use. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { JobsModel } from '../jobs/model';
import { JobsAPI } from '../jobs/restapi';
import { LeaseAPI } from '../leases/restapi';
import { IJobs, ILeaseManager } from '../tokens';

export const jobsPlugin: JupyterFrontEndPlugin<IJobs> = {
  id: 'fastgpu-jupyter:jobs',
  description: "Follows the user's GPU jobs, and cancels and repeats them.",
  autoStart: true,
  requires: [ILeaseManager],
  provides: IJobs,
  activate: (app: JupyterFrontEnd, manager: ILeaseManager): IJobs => {
    const { serverSettings } = app.serviceManager;
    const leases = new LeaseAPI({ serverSettings });
    return new JobsModel({
      manager,
      api: new JobsAPI({ serverSettings }),
      sizes: () => leases.sizes({}),
      now: () => Date.now()
    });
  }
};
