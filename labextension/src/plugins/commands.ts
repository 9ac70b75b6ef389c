/** Adds the commands: refresh, release (with a confirmation), the actions of a lease, and open its notebook. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import type { LeaseView } from '../generated/api';
import type { LeaseAction } from '../leases/actions';
import { LEASE_ACTION_NAMES, LEASE_ACTIONS } from '../leases/actions';
import { isReleasable } from '../leases/lease';
import { notebookName, releaseDialogTexts } from '../texts/lease';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { showFailure } from '../views/failuredialog';
import { leaseArguments, leaseFinder } from './leasecommand';

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

    const target = leaseFinder(app, manager, current);
    const describedBy = { args: { type: 'object', properties: leaseArguments(trans) } };

    commands.addCommand(CommandIDs.refresh, {
      label: trans.__('Refresh GPU Leases'),
      caption: trans.__('Reconnect to the pool manager and reload all data'),
      icon: refreshIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => manager.refresh()
    });

    commands.addCommand(CommandIDs.releaseLease, {
      label: trans.__('Release GPU…'),
      caption: trans.__('Release the GPU of this notebook; its kernel and variables are preserved'),
      describedBy,
      isEnabled: args => {
        const lease = target(args);
        return (
          lease !== null &&
          isReleasable(lease) &&
          !manager.pendingReleases.has(lease.id) &&
          manager.connection.kind === 'connected'
        );
      },
      execute: async args => {
        const lease = target(args);
        if (lease === null) {
          return;
        }
        const { title, body, accept } = releaseDialogTexts(lease, trans);
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
          await showFailure(trans.__('The GPU was not released'), reason, trans);
        }
      }
    });

    /** Return the action of a command that can be requested now; null if there is none. */
    const requestable = (
      lease: LeaseView | null,
      actions: ReadonlyArray<LeaseAction>
    ): LeaseAction | null => {
      if (
        lease === null ||
        manager.pendingActions.has(lease.id) ||
        manager.connection.kind !== 'connected'
      ) {
        return null;
      }
      return actions.find(action => LEASE_ACTIONS[action].isAvailable(lease)) ?? null;
    };

    const request = async (lease: LeaseView, action: LeaseAction): Promise<void> => {
      try {
        await manager.requestAction(lease.id, action);
      } catch (reason) {
        const { failed } = LEASE_ACTIONS[action].texts(notebookName(lease.holder, trans), trans);
        await showFailure(failed, reason, trans);
      }
    };

    const actionCommands = new Map<string, LeaseAction[]>();
    for (const action of LEASE_ACTION_NAMES) {
      const { id } = LEASE_ACTIONS[action].command(trans);
      actionCommands.set(id, [...(actionCommands.get(id) ?? []), action]);
    }
    for (const [id, actions] of actionCommands) {
      const { command, isRare, isToggle = false } = LEASE_ACTIONS[actions[0]];
      const { label, caption } = command(trans);
      const isEnabled = (args: ReadonlyPartialJSONObject) =>
        requestable(target(args), actions) !== null;
      commands.addCommand(id, {
        label,
        caption,
        describedBy,
        isToggleable: isToggle,
        isToggled: args => {
          const lease = target(args);
          return isToggle && lease !== null && LEASE_ACTIONS[actions[1]].isAvailable(lease);
        },
        isEnabled,
        isVisible: args => !isRare || isEnabled(args),
        execute: async args => {
          const lease = target(args);
          const action = requestable(lease, actions);
          if (lease !== null && action !== null) {
            await request(lease, action);
          }
        }
      });
    }

    commands.addCommand(CommandIDs.openNotebook, {
      label: trans.__('Open the Notebook of a GPU Lease'),
      describedBy: {
        args: {
          type: 'object',
          required: ['leaseId'],
          properties: { leaseId: { type: 'string', description: trans.__('The lease.') } }
        }
      },
      execute: async args => {
        const lease = target(args);
        if (lease !== null && lease.holder.kernel_id !== null) {
          await openSession(app, lease.holder.kernel_id, lease.holder.notebook);
        }
      }
    });

    // The palette and the menus update a command only after a notification.
    const leaseCommands = [...actionCommands.keys(), CommandIDs.releaseLease];
    const commandState = (id: string) => `${commands.isEnabled(id)} ${commands.isToggled(id)}`;
    const states = new Map(leaseCommands.map(id => [id, commandState(id)]));
    const notifyChanges = () => {
      for (const id of leaseCommands) {
        const state = commandState(id);
        if (state !== states.get(id)) {
          states.set(id, state);
          commands.notifyCommandChanged(id);
        }
      }
    };
    current?.changed.connect(notifyChanges);
    manager.changed.connect(notifyChanges);

    const category = trans.__('FastGPU');
    palette?.addItem({ command: CommandIDs.refresh, category });
    for (const command of leaseCommands) {
      palette?.addItem({ command, category });
    }
  }
};

/**
 * Open the notebook or console of a kernel.
 *
 * The path comes from the session and not from the lease: the lease has the path on the server's file system, the
 * session the one that the application opens, also after a rename.
 */
async function openSession(app: JupyterFrontEnd, kernelId: string, notebook: string | null): Promise<void> {
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
  // A kernel that waits for a GPU of a cluster has no session yet.
  const root = PageConfig.getOption('serverRoot');
  if (notebook !== null && root !== '' && notebook.startsWith(`${root}/`)) {
    await app.commands.execute('docmanager:open', { path: notebook.slice(root.length + 1) });
  }
}
