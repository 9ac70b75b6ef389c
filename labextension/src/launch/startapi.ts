/** The requests of a start: to FastGPU's server extension, and to Jupyter's own interface of kernels. */

import type { Kernel, ServerConnection } from '@jupyterlab/services';
import { KernelAPI } from '@jupyterlab/services';

import type { ISizesQuery } from '../controls/source';
import type { IntentBody, IntentView, SizeOptions } from '../generated/api';
import type { LeaseAPI } from '../leases/restapi';
import type { IStartAPI } from './starter';

export class StartAPI implements IStartAPI {
  constructor(api: LeaseAPI, serverSettings: ServerConnection.ISettings) {
    this._api = api;
    this._serverSettings = serverSettings;
  }

  registerIntent(kernelId: string, parameters: IntentBody): Promise<IntentView> {
    return this._api.registerIntent(kernelId, parameters);
  }

  sizes(query: ISizesQuery): Promise<SizeOptions> {
    return this._api.sizes(query);
  }

  async startKernel(kernelId: string, name: string, path: string): Promise<void> {
    // The types of JupyterLab do not have the two other fields, which the server takes.
    const model: Kernel.IKernelOptions = { name, ...{ path, kernel_id: kernelId } };
    await KernelAPI.startNew(model, this._serverSettings);
  }

  shutdownKernel(kernelId: string): Promise<void> {
    return KernelAPI.shutdownKernel(kernelId, this._serverSettings);
  }

  private readonly _api: LeaseAPI;
  private readonly _serverSettings: ServerConnection.ISettings;
}
