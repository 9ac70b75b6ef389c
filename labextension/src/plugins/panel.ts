/** Adds the side panel with the user's leases, what they cost, the queue and the devices. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONValue } from '@lumino/coreutils';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { AdviceList } from '../controls/advice';
import { late } from '../controls/late';
import type { LeaseView } from '../generated/api';
import { fastgpuIcon } from '../icon';
import { LEASE_ACTIONS } from '../leases/actions';
import { JOB_GROUPS, JOB_ORDERS } from '../jobs/grouping';
import { LEASE_GROUPS, LEASE_ORDERS } from '../leases/grouping';
import { QuotaModel } from '../leases/quota';
import { LeaseAPI } from '../leases/restapi';
import { PageSource } from '../leases/source';
import { SpendingModel } from '../leases/spending';
import { ICurrentLease, IJobNotifier, IJobs, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import type { IKeptKernelsProps } from '../views/keptkernels';
import { FastGPUPanel } from '../views/panel';
import { jobArguments, jobCallbacks } from './jobcommand';
import type { IPanelChoices } from '../views/panelsections';
import { DEFAULT_CHOICES, SECTIONS } from '../views/panelsections';
import { saveFile } from '../views/savefile';

/** Loaded when the panel is first shown; until that succeeds, the leases are shown without them. */
const KeptKernels = late<IKeptKernelsProps>(async () => (await import('../views/keptkernels')).KeptKernels);

const PLUGIN_ID = 'fastgpu-jupyter:panel';

const PANEL_ID = 'fastgpu-panel';

/** After the file browser, the running kernels and the table of contents. */
const RANK = 400;

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Adds the FastGPU side panel.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [
    ICurrentLease,
    IJobs,
    IJobNotifier,
    ITranslator,
    ISettingRegistry,
    ILayoutRestorer,
    ICommandPalette,
    IStateDB
  ],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease | null,
    jobs: IJobs | null,
    notifier: IJobNotifier | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    database: IStateDB | null
  ): void => {
    const { commands, shell } = app;
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const api = new LeaseAPI({ serverSettings: app.serviceManager.serverSettings });
    const onResize = (lease: LeaseView) => {
      void commands.execute(CommandIDs.resize, { leaseId: lease.id });
    };
    const panel = new FastGPUPanel({
      manager,
      current,
      jobs,
      notifier,
      ...jobCallbacks(app),
      onDeleteOld: () => void commands.execute(CommandIDs.deleteOldResults),
      quota: new QuotaModel({ manager, api }),
      spending: new SpendingModel(api),
      advice: React.createElement(AdviceList, {
        source: new PageSource({ manager, api, find: () => null, kernelId: null }),
        trans,
        language: used.languageCode
      }),
      renderKept: canAct => React.createElement(KeptKernels, { api, canAct, trans, language: used.languageCode }),
      trans,
      language: used.languageCode,
      onRelease: lease => {
        void commands.execute(CommandIDs.releaseLease, { leaseId: lease.id });
      },
      onAction: (lease, action) => {
        void commands.execute(LEASE_ACTIONS[action].command(trans).id, { leaseId: lease.id });
      },
      onLoadHistory: (subject, resolution, since) => api.history(subject, resolution, since),
      onOpenNotebook: lease => {
        void commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
      },
      onStatement: async month => saveFile(await api.statement(month), `fastgpu-${month}.csv`),
      // Evaluated at each rendering: these commands may be added after this plugin, or not at all.
      get onDashboard() {
        return commands.hasCommand(CommandIDs.openDashboard)
          ? () => void commands.execute(CommandIDs.openDashboard)
          : undefined;
      },
      get onResize() {
        return commands.hasCommand(CommandIDs.resize) ? onResize : undefined;
      },
      // Evaluated at each rendering: the launcher may be added after this plugin, or (in Notebook) not at all.
      get onOpenLauncher() {
        return commands.hasCommand('launcher:create')
          ? () => void commands.execute('launcher:create')
          : undefined;
      },
      onRefresh: () => manager.refresh()
    });
    panel.id = PANEL_ID;
    panel.title.icon = fastgpuIcon;
    panel.title.caption = trans.__('FastGPU: GPU leases, queue and devices');
    panel.node.setAttribute('role', 'region');
    panel.node.setAttribute('aria-label', trans.__('FastGPU'));
    shell.add(panel, 'left', { rank: RANK, type: 'FastGPU' });
    restorer?.add(panel, PANEL_ID);

    commands.addCommand(CommandIDs.openPanel, {
      label: trans.__('Show GPU Leases'),
      caption: trans.__('Show your GPU leases, the queue and the devices'),
      icon: fastgpuIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => shell.activateById(PANEL_ID)
    });
    palette?.addItem({ command: CommandIDs.openPanel, category: trans.__('FastGPU') });

    if (jobs !== null) {
      commands.addCommand(CommandIDs.openJobs, {
        label: trans.__('Show GPU Jobs'),
        caption: trans.__('Show your jobs in the FastGPU panel'),
        icon: fastgpuIcon,
        describedBy: { args: { type: 'object', properties: jobArguments(trans) } },
        execute: args => {
          shell.activateById(PANEL_ID);
          panel.showJobs(typeof args.jobId === 'number' ? args.jobId : null);
        }
      });
      palette?.addItem({ command: CommandIDs.openJobs, category: trans.__('FastGPU') });
    }

    if (settings !== null) {
      void connectSettings(settings, panel);
    }
    if (database !== null) {
      void connectChoices(database, panel);
    }
  }
};

async function connectSettings(registry: ISettingRegistry, panel: FastGPUPanel): Promise<void> {
  // If the settings cannot be loaded, the panel uses its defaults.
  const settings = await registry.load(PLUGIN_ID).catch(() => null);
  const apply = () => {
    panel.showEnded = settings?.get('showEnded').composite !== false;
    panel.asTable = settings?.get('historyAsTable').composite === true;
  };
  settings?.changed.connect(apply);
  apply();
}

/** Restore what the user has chosen in the panel, and keep what is chosen from then on. */
async function connectChoices(database: IStateDB, panel: FastGPUPanel): Promise<void> {
  const kept = await database.fetch(PLUGIN_ID).catch(() => undefined);
  if (kept !== undefined && panel.choices === DEFAULT_CHOICES) {
    panel.choices = readChoices(kept);
  }
  panel.choicesChanged.connect(() => {
    const { order, folded, foldedSections, jobs } = panel.choices;
    const value = {
      order,
      folded: [...folded],
      foldedSections: [...foldedSections],
      jobs: { order: jobs.order, folded: [...jobs.folded] }
    };
    database.save(PLUGIN_ID, value).catch(() => undefined);
  });
}

/** Return kept choices; what is not understood, as from another version, is the default. */
function readChoices(kept: ReadonlyPartialJSONValue): IPanelChoices {
  const value = (kept ?? {}) as { readonly [name: string]: unknown };
  const known = <T extends string>(names: ReadonlyArray<T>, list: unknown, otherwise: ReadonlySet<T>) =>
    Array.isArray(list) ? new Set(names.filter(name => list.includes(name))) : otherwise;
  const jobs = (value.jobs ?? {}) as { readonly [name: string]: unknown };
  return {
    order: LEASE_ORDERS.find(order => order === value.order) ?? DEFAULT_CHOICES.order,
    folded: known(LEASE_GROUPS, value.folded, DEFAULT_CHOICES.folded),
    foldedSections: known(SECTIONS, value.foldedSections, DEFAULT_CHOICES.foldedSections),
    jobs: {
      order: JOB_ORDERS.find(order => order === jobs.order) ?? DEFAULT_CHOICES.jobs.order,
      folded: known(JOB_GROUPS, jobs.folded, DEFAULT_CHOICES.jobs.folded)
    }
  };
}
