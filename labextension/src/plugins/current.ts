/** Provides the lease of the notebook or console that the user is in. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { CurrentLease } from '../leases/current';
import { ICurrentLease, ILeaseManager } from '../tokens';

export const currentPlugin: JupyterFrontEndPlugin<ICurrentLease> = {
  id: 'fastgpu-jupyter:current',
  description: 'Knows the GPU lease of the notebook or console that the user is in.',
  autoStart: true,
  requires: [ILeaseManager],
  provides: ICurrentLease,
  activate: (app: JupyterFrontEnd, manager: ILeaseManager): ICurrentLease =>
    new CurrentLease({ shell: app.shell, manager })
};
