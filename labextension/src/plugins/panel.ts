/** The side panel: the user's leases, the queue and the devices. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { changeCommand, CommandIDs } from '../commands';
import { fastgpuIcon } from '../icon';
import { Quota } from '../leases/quota';
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
      quota: new Quota({ manager, api }),
      trans,
      language: used.languageCode,
      onRelease: lease => {
        void commands.execute(CommandIDs.releaseLease, { leaseId: lease.id });
      },
      onChange: (lease, change) => {
        void commands.execute(changeCommand(change), { leaseId: lease.id });
      },
      onLoadHistory: (of, resolution, since) => api.history(of, resolution, since),
      onOpenNotebook: lease => {
        void commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
      },
      // Asked anew at each drawing: the launcher may come after this plugin, or (in Notebook) not at all.
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
      void followSettings(settings, panel);
    }
  }
};

async function followSettings(registry: ISettingRegistry, panel: FastGPUPanel): Promise<void> {
  // Without the settings' schema the panel works with its defaults.
  const settings = await registry.load(PLUGIN_ID).catch(() => null);
  const apply = () => {
    panel.showEnded = settings?.get('showEnded').composite !== false;
    panel.asTable = settings?.get('historyAsTable').composite === true;
  };
  settings?.changed.connect(apply);
  apply();
}
