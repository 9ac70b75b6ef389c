/** Lists the leases in the “Running” side panel, together with kernels and terminals. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers } from '@jupyterlab/running';
import type { IRunningSessions } from '@jupyterlab/running';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';

import { CommandIDs } from '../commands';
import { formatMemory } from '../texts/format';
import { fastgpuIcon } from '../icon';
import type { LeaseView } from '../generated/api';
import { isOpen, isReleasable, sameLeases } from '../leases/lease';
import { notebookName, stateName } from '../texts/lease';
import { ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:running',
  description: 'Lists GPU leases among the running kernels and terminals.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [IRunningSessionManagers, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    running: IRunningSessionManagers | null,
    translator: ITranslator | null
  ): void => {
    if (running === null) {
      return;
    }
    const used = translator ?? nullTranslator;
    running.add(
      new RunningLeases({
        manager,
        commands: app.commands,
        trans: used.load(TRANSLATION_DOMAIN),
        language: used.languageCode
      })
    );
  }
};

class RunningLeases implements IRunningSessions.IManager {
  constructor(options: RunningLeases.IOptions) {
    this._options = options;
    const { manager, trans } = options;
    this.name = trans.__('GPU leases');
    this.shutdownLabel = trans.__('Release the GPU');
    this.shutdownAllLabel = trans.__('Release All GPUs');
    this.shutdownAllConfirmationText = trans.__(
      'Release all your GPUs? Kernels and Python variables are preserved; cells that run afterwards have no GPU.'
    );
    manager.changed.connect(this._onChanged, this);
  }

  readonly name: string;
  readonly shutdownLabel: string;
  readonly shutdownAllLabel: string;
  readonly shutdownAllConfirmationText: string;
  readonly runningChanged = new Signal<this, void>(this);

  running(): IRunningSessions.IRunningItem[] {
    return this._leases().map(lease => this._item(lease));
  }

  refreshRunning(): void {
    // The event stream already updates the list.
  }

  shutdownAll(): void {
    // A refusal must not prevent the release of the other leases; a lease that is not released stays in the list.
    for (const lease of this._leases().filter(isReleasable)) {
      this._options.manager.release(lease.id).catch(() => undefined);
    }
  }

  private _item(lease: LeaseView): IRunningSessions.IRunningItem {
    const { commands, trans, language } = this._options;
    // Called for the leases that are in view only.
    const size = () =>
      lease.memory.limit_bytes === null
        ? lease.request.size
        : formatMemory(lease.memory.limit_bytes, language);
    return {
      label: () => notebookName(lease.holder, trans),
      labelTitle: () => lease.holder.notebook ?? lease.id,
      detail: () => `${size()}, ${stateName(lease.state, trans).toLowerCase()}`,
      icon: () => fastgpuIcon,
      open: () => {
        void commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
      },
      ...(isReleasable(lease) && {
        shutdown: () => {
          void commands.execute(CommandIDs.releaseLease, { leaseId: lease.id });
        }
      })
    };
  }

  private _leases(): LeaseView[] {
    return this._options.manager.state.leases.filter(isOpen);
  }

  /** Emit a change only if the displayed values changed, not for each usage sample. */
  private _onChanged(): void {
    const shown = this._leases();
    if (!sameLeases(this._shown, shown, isSameItem)) {
      this._shown = shown;
      this.runningChanged.emit();
    }
  }

  private readonly _options: RunningLeases.IOptions;
  private _shown: ReadonlyArray<LeaseView> = [];
}

/** Return whether an item shows the same of two versions of a lease. */
function isSameItem(old: LeaseView, lease: LeaseView): boolean {
  return (
    lease.state === old.state &&
    lease.memory.limit_bytes === old.memory.limit_bytes &&
    lease.request.size === old.request.size &&
    lease.holder.notebook === old.holder.notebook
  );
}

namespace RunningLeases {
  export interface IOptions {
    readonly manager: ILeaseManager;
    readonly commands: CommandRegistry;
    readonly trans: TranslationBundle;
    readonly language: string;
  }
}
