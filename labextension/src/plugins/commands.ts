/** The commands: refresh, release a lease (asks first), park, resume, move and pin it, go to its notebook. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import type { Change, ILease } from '../leases/lease';
import { canChange, isPinned, isReleasable } from '../leases/lease';
import { changeTexts, notebookName, releaseQuestion } from '../texts/lease';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

export const commandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:commands',
  description: 'Adds the commands that refresh the view and release, park, resume and pin GPU leases.',
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

    const withId = (leaseId: string | undefined): ILease | null =>
      manager.state.leases.find(lease => lease.id === leaseId) ?? null;

    /** The lease of the arguments, the one under a context menu, or that of the current notebook. */
    const meant = (args: ReadonlyPartialJSONObject): ILease | null => {
      if (args.fromContextMenu === true) {
        const card = app.contextMenuHitTest(node => node.dataset.leaseId !== undefined);
        return withId(card?.dataset.leaseId);
      }
      return typeof args.leaseId === 'string' ? withId(args.leaseId) : (current?.lease ?? null);
    };

    const describedBy = {
      args: {
        type: 'object',
        properties: {
          leaseId: {
            type: 'string',
            description: trans.__('The lease; without it, that of the current notebook.')
          },
          fromContextMenu: {
            type: 'boolean',
            description: trans.__('The lease is the one that the context menu was opened on.')
          }
        }
      }
    };

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
      describedBy,
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

    const mayChange = (lease: ILease | null, change: Change): boolean =>
      lease !== null &&
      canChange(lease, change) &&
      !manager.changing.has(lease.id) &&
      manager.connection.kind === 'connected';

    const ask = async (lease: ILease | null, change: Change): Promise<void> => {
      if (lease === null) {
        return;
      }
      try {
        await manager.change(lease.id, change);
      } catch (reason) {
        await showErrorMessage(
          changeTexts(change, notebookName(lease, trans), trans).failed,
          reason instanceof Error ? reason.message : String(reason)
        );
      }
    };

    commands.addCommand(CommandIDs.parkLease, {
      label: trans.__('Park GPU'),
      caption: trans.__('Give the GPU of this notebook to others until its next cell; nothing is lost'),
      describedBy,
      isEnabled: args => mayChange(meant(args), 'park'),
      execute: args => ask(meant(args), 'park')
    });

    commands.addCommand(CommandIDs.resumeLease, {
      label: trans.__('Resume GPU'),
      caption: trans.__('Ask for the parked GPU of this notebook back without running a cell'),
      describedBy,
      isEnabled: args => mayChange(meant(args), 'resume'),
      execute: args => ask(meant(args), 'resume')
    });

    commands.addCommand(CommandIDs.moveLease, {
      label: trans.__('Move to Another GPU'),
      caption: trans.__('Leave the GPU of this notebook, which is not well or in service no more, for another one'),
      describedBy,
      isEnabled: args => mayChange(meant(args), 'move'),
      // Seldom offered: a menu need not have it all the time.
      isVisible: args => mayChange(meant(args), 'move'),
      execute: args => ask(meant(args), 'move')
    });

    const pinOf = (lease: ILease | null): Change =>
      lease !== null && isPinned(lease) ? 'unpin' : 'pin';

    commands.addCommand(CommandIDs.togglePin, {
      label: trans.__('Pin GPU'),
      caption: trans.__('Keep the GPU of this notebook although no cell runs; it is billed all the time'),
      describedBy,
      isToggleable: true,
      isToggled: args => pinOf(meant(args)) === 'unpin',
      isEnabled: args => {
        const lease = meant(args);
        return mayChange(lease, pinOf(lease));
      },
      execute: args => {
        const lease = meant(args);
        return ask(lease, pinOf(lease));
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

    // The palette and the menus ask anew whether the commands can be used.
    const ofLease = [
      CommandIDs.parkLease,
      CommandIDs.resumeLease,
      CommandIDs.moveLease,
      CommandIDs.togglePin,
      CommandIDs.releaseLease
    ];
    const asShown = (id: string) => `${commands.isEnabled(id)} ${commands.isToggled(id)}`;
    const shown = new Map(ofLease.map(id => [id, asShown(id)]));
    const onChange = () => {
      for (const id of ofLease) {
        const now = asShown(id);
        if (now !== shown.get(id)) {
          shown.set(id, now);
          commands.notifyCommandChanged(id);
        }
      }
    };
    current?.changed.connect(onChange);
    manager.changed.connect(onChange);

    const category = trans.__('FastGPU');
    palette?.addItem({ command: CommandIDs.refresh, category });
    for (const command of ofLease) {
      palette?.addItem({ command, category });
    }
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
