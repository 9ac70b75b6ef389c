/** The commands: refresh, release a lease (asks first), go to a lease's notebook. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import type { ILease } from '../leases/lease';
import { isReleasable } from '../leases/lease';
import { releaseQuestion } from '../texts';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

export const commandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:commands',
  description: 'Adds the commands that refresh the view and release GPU leases.',
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
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const { commands } = app;

    const meant = (args: ReadonlyPartialJSONObject): ILease | null =>
      typeof args.leaseId === 'string'
        ? (manager.state.leases.find(lease => lease.id === args.leaseId) ?? null)
        : (current?.lease ?? null);

    commands.addCommand(CommandIDs.refresh, {
      label: trans.__('Refresh GPU Leases'),
      caption: trans.__('Connect again to the pool manager and load everything anew'),
      icon: refreshIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => manager.refresh()
    });

    commands.addCommand(CommandIDs.releaseLease, {
      label: trans.__('Release GPU…'),
      caption: trans.__('Give the GPU of this notebook back; its kernel and variables stay'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            leaseId: {
              type: 'string',
              description: trans.__('The lease; without it, that of the current notebook.')
            }
          }
        }
      },
      isEnabled: args => {
        const lease = meant(args);
        return (
          lease !== null &&
          isReleasable(lease) &&
          !manager.releasing.has(lease.id) &&
          manager.connection.kind === 'connected'
        );
      },
      execute: async args => {
        const lease = meant(args);
        if (lease === null) {
          return;
        }
        const { title, body, accept } = releaseQuestion(lease, trans);
        const { button } = await showDialog({
          title,
          body,
          buttons: [
            Dialog.cancelButton({ label: trans.__('Cancel') }),
            Dialog.warnButton({ label: accept })
          ],
          defaultButton: 0
        });
        if (!button.accept) {
          return;
        }
        try {
          await manager.release(lease.id);
        } catch (reason) {
          await showErrorMessage(
            trans.__('The GPU was not released'),
            reason instanceof Error ? reason.message : String(reason)
          );
        }
      }
    });

    commands.addCommand(CommandIDs.openNotebook, {
      label: trans.__('Go to the Notebook of a GPU Lease'),
      describedBy: {
        args: {
          type: 'object',
          required: ['leaseId'],
          properties: { leaseId: { type: 'string', description: trans.__('The lease.') } }
        }
      },
      execute: async args => {
        const lease = meant(args);
        if (lease !== null && lease.kernel_id !== null) {
          await openSession(app, lease.kernel_id);
        }
      }
    });

    // The palette and the menus ask anew whether the command can be used.
    const notify = () => commands.notifyCommandChanged(CommandIDs.releaseLease);
    let enabled = commands.isEnabled(CommandIDs.releaseLease);
    const onChange = () => {
      const isEnabled = commands.isEnabled(CommandIDs.releaseLease);
      if (isEnabled !== enabled) {
        enabled = isEnabled;
        notify();
      }
    };
    current?.changed.connect(onChange);
    manager.changed.connect(onChange);

    const category = trans.__('FastGPU');
    palette?.addItem({ command: CommandIDs.refresh, category });
    palette?.addItem({ command: CommandIDs.releaseLease, category });
  }
};

/**
 * Go to what uses a kernel.
 *
 * Asks the sessions, not the lease: the lease knows the notebook's path as the server's host has it, and a session knows
 * it as the application opens it, also after a rename.
 */
async function openSession(app: JupyterFrontEnd, kernelId: string): Promise<void> {
  const { sessions } = app.serviceManager;
  for (const session of sessions.running()) {
    if (session.kernel?.id !== kernelId) {
      continue;
    }
    const [command, args] =
      session.type === 'console'
        ? ['console:open', { path: session.path, insertMode: 'tab-after', activate: true }]
        : ['docmanager:open', { path: session.path }];
    if (app.commands.hasCommand(command)) {
      await app.commands.execute(command, args);
    }
    return;
  }
}
