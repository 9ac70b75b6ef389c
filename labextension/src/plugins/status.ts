/** Adds the status bar item with the lease of the current notebook. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { StatusItem } from '../views/status';

const PLUGIN_ID = 'fastgpu-jupyter:status';

/** To the right of the kernel counts and of the kernel status. */
const RANK = 4;

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: "Shows the current notebook's GPU, memory and cost in the status bar.",
  autoStart: true,
  requires: [ILeaseManager, ICurrentLease],
  optional: [IStatusBar, ITranslator, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease,
    statusBar: IStatusBar | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null
  ): void => {
    if (statusBar === null) {
      return;
    }
    const used = translator ?? nullTranslator;
    const item = new StatusItem({
      manager,
      current,
      trans: used.load(TRANSLATION_DOMAIN),
      language: used.languageCode,
      canGetGPU: () =>
        app.commands.hasCommand(CommandIDs.getGPU) && app.commands.isEnabled(CommandIDs.getGPU),
      onClick: getsGPU => {
        if (getsGPU) {
          void app.commands.execute(CommandIDs.getGPU);
        } else if (app.commands.hasCommand(CommandIDs.openPanel)) {
          void app.commands.execute(CommandIDs.openPanel);
        }
      }
    });
    statusBar.registerStatusItem(PLUGIN_ID, {
      item,
      align: 'left',
      rank: RANK,
      priority: 1,
      isActive: () => item.isActive,
      activeStateChanged: item.activeStateChanged
    });
    if (settings !== null) {
      void connectSettings(settings, item);
    }
  }
};

async function connectSettings(registry: ISettingRegistry, item: StatusItem): Promise<void> {
  const settings = await registry.load(PLUGIN_ID).catch(() => null);
  const apply = () => {
    item.showWithoutLease = settings?.get('showWithoutLease').composite !== false;
  };
  settings?.changed.connect(apply);
  apply();
}
