/** Adds the side panel with the user's leases, the queue and the devices. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { fastgpuIcon } from '../icon';
import { LEASE_ACTIONS } from '../leases/actions';
import { QuotaModel } from '../leases/quota';
import { LeaseAPI } from '../leases/restapi';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { FastGPUPanel } from '../views/panel';

const PLUGIN_ID = 'fastgpu-jupyter:panel';

const PANEL_ID = 'fastgpu-panel';

/** After the file browser, the running kernels and the table of contents. */
const RANK = 400;

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Adds the FastGPU side panel.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ICurrentLease, ITranslator, ISettingRegistry, ILayoutRestorer, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ): void => {
    const { commands, shell } = app;
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const api = new LeaseAPI({ serverSettings: app.serviceManager.serverSettings });
    const panel = new FastGPUPanel({
      manager,
      current,
      quota: new QuotaModel({ manager, api }),
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

    if (settings !== null) {
      void connectSettings(settings, panel);
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
