/** Provides the lease of the notebook or console that the user works in. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { CurrentLease } from '../leases/current';
import { ICurrentLease, ILeaseManager } from '../tokens';

export const currentLeasePlugin: JupyterFrontEndPlugin<ICurrentLease> = {
  id: 'fastgpu-jupyter:current-lease',
  description: 'Provides the GPU lease of the notebook or console that the user works in.',
  autoStart: true,
  requires: [ILeaseManager],
  provides: ICurrentLease,
  activate: (app: JupyterFrontEnd, manager: ILeaseManager): ICurrentLease =>
    new CurrentLease({ shell: app.shell, manager })
};
