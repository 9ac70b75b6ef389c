/** Adds the commands that change the size of a lease, and that request a lease for a running kernel. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import { isCluster } from '../launch/cluster';
import { isGated } from '../leases/kernelspec';
import { isOnCluster, isOpen, isReleasable, leaseOfKernel } from '../leases/lease';
import { LeaseAPI } from '../leases/restapi';
import { PageSource } from '../leases/source';
import { notebookName } from '../texts/lease';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { showFailure } from '../views/failuredialog';
import { showRequestDialog, showResizeDialog } from '../views/sizedialog';
import { leaseArguments, leaseFinder } from './leasecommand';

export const resizePlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:resize',
  description: 'Adds the commands that change the size of a GPU lease and request one for a running kernel.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ICurrentLease, ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const texts = { trans, language: used.languageCode };
    const api = new LeaseAPI({ serverSettings: app.serviceManager.serverSettings });
    const { commands } = app;

    const target = leaseFinder(app, manager, current);
    const isConnected = () => manager.connection.kind === 'connected' && manager.canAct;

    commands.addCommand(CommandIDs.resize, {
      label: trans.__('Resize GPU…'),
      caption: trans.__('Change the size of the GPU of this notebook; its kernel and variables are preserved'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            ...leaseArguments(trans),
            size: {
              type: 'string',
              description: trans.__('The new size; without it a dialog asks for it.')
            }
          }
        }
      },
      isEnabled: args => {
        const lease = target(args);
        return lease !== null && isReleasable(lease) && !isOnCluster(lease) && isConnected();
      },
      execute: async args => {
        const lease = target(args);
        if (lease === null) {
          return;
        }
        const { id } = lease;
        const name = notebookName(lease.holder, trans);
        if (typeof args.size === 'string') {
          await manager.change(id, 'resize', { size: args.size }).catch((reason: unknown) => {
            void showFailure(trans.__('The GPU was not resized'), reason, trans);
          });
          return;
        }
        const source = new PageSource({
          manager,
          api,
          find: leases => leases.find(one => one.id === id) ?? null,
          kernelId: lease.holder.kernel_id
        });
        await showResizeDialog(trans.__('Resize the GPU of %1', name), source, texts);
      }
    });

    /** Return the kernel of the arguments, or the current one, if it has no lease and could use one. */
    const kernelWithoutLease = (args: ReadonlyPartialJSONObject): string | null => {
      const kernelId = typeof args.kernelId === 'string' ? args.kernelId : (current?.kernelId ?? null);
      const lease = leaseOfKernel(manager.state.leases, kernelId);
      return kernelId === null || (lease !== null && isOpen(lease)) ? null : kernelId;
    };

    /** Return whether the cells of a kernel wait for a lease; null if that is unknown. */
    const isKernelGated = (kernelId: string): boolean | null => {
      const name = [...app.serviceManager.kernels.running()].find(({ id }) => id === kernelId)?.name;
      return isGated(app.serviceManager.kernelspecs.specs?.kernelspecs[name ?? '']);
    };

    commands.addCommand(CommandIDs.getGPU, {
      label: trans.__('Get a GPU…'),
      caption: trans.__('Request a GPU for the kernel of this notebook; its variables are preserved'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            kernelId: {
              type: 'string',
              description: trans.__('The kernel; the default is that of the current notebook.')
            },
            size: {
              type: 'string',
              description: trans.__('The size; without it a dialog asks for it.')
            }
          }
        }
      },
      isEnabled: args => kernelWithoutLease(args) !== null && isConnected(),
      execute: async args => {
        const kernelId = kernelWithoutLease(args);
        if (kernelId === null) {
          return;
        }
        if (isKernelGated(kernelId) === false || isCluster(manager)) {
          const other = [CommandIDs.chooseSize, CommandIDs.changeKernel].find(id => commands.hasCommand(id));
          if (other !== undefined && kernelId === current?.kernelId) {
            await commands.execute(other);
          } else {
            await showFailure(
              trans.__('This kernel cannot get a GPU'),
              trans.__('It is not a FastGPU kernel. Choose a FastGPU kernel for the notebook.'),
              trans
            );
          }
          return;
        }
        if (typeof args.size === 'string') {
          await manager.requestLease(kernelId, { size: args.size }).catch((reason: unknown) => {
            void showFailure(trans.__('The GPU was not requested'), reason, trans);
          });
          return;
        }
        const source = new PageSource({
          manager,
          api,
          find: leases => leaseOfKernel(leases, kernelId),
          kernelId
        });
        await showRequestDialog(trans.__('Get a GPU'), source, texts);
      }
    });

    // The palette and the menus update a command only after a notification.
    const ids = [CommandIDs.resize, CommandIDs.getGPU];
    const states = new Map(ids.map(id => [id, commands.isEnabled(id)]));
    const notifyChanges = () => {
      for (const id of ids) {
        const isEnabled = commands.isEnabled(id);
        if (isEnabled !== states.get(id)) {
          states.set(id, isEnabled);
          commands.notifyCommandChanged(id);
        }
      }
    };
    current?.changed.connect(notifyChanges);
    manager.changed.connect(notifyChanges);
    for (const command of ids) {
      palette?.addItem({ command, category: trans.__('FastGPU') });
    }
  }
};
