/** Adds the GPU of the notebook to its toolbar, in JupyterLab and Notebook 7, with the popover of its controls. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { ISessionContext } from '@jupyterlab/apputils';
import { ICommandPalette, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import type { IControlsHost, IControlsProps } from '../controls/leasecontrols';
import { isGated } from '../leases/kernelspec';
import { leaseOfNotebook } from '../leases/lease';
import { LeaseAPI } from '../leases/restapi';
import { PageSource } from '../leases/source';
import { baseName } from '../texts/format';
import { ILeaseManager, IGrantNotifier, TRANSLATION_DOMAIN } from '../tokens';
import { GPUPopover } from '../views/popover';
import { ToolbarItem } from '../views/toolbaritem';

const PLUGIN_ID = 'fastgpu-jupyter:toolbar';

/** The name of the item in `schema/toolbar.json`. */
const ITEM = 'fastgpu-gpu';

export const toolbarPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: "Shows the notebook's GPU in its toolbar, with the controls of its lease.",
  autoStart: true,
  requires: [ILeaseManager, IToolbarWidgetRegistry],
  optional: [IGrantNotifier, ITranslator, ISettingRegistry, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    toolbars: IToolbarWidgetRegistry,
    notifier: IGrantNotifier | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    palette: ICommandPalette | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const language = used.languageCode;
    const api = new LeaseAPI({ serverSettings: app.serviceManager.serverSettings });
    const items = new Map<Widget, ToolbarItem>();
    let showWithoutLease = true;
    let open: { readonly item: ToolbarItem; readonly popover: GPUPopover } | null = null;

    const close = () => open?.popover.dismiss();

    const controls = (panel: INotebook, kernelId: string): IControlsProps => {
      const find = (leases: Parameters<typeof leaseOfNotebook>[0]) =>
        leaseOfNotebook(leases, kernelId, panel.sessionContext.path);
      const source = new PageSource({
        manager,
        api,
        find,
        kernelId,
        isGated: () => {
          const name = panel.sessionContext.session?.kernel?.name ?? '';
          return isGated(app.serviceManager.kernelspecs.specs?.kernelspecs[name]);
        }
      });
      return {
        source,
        trans,
        language,
        title: trans.__('GPU of %1', baseName(panel.sessionContext.path)),
        ...host(app, panel, kernelId, () => source.lease?.id ?? null, notifier, close)
      };
    };

    const toggle = (panel: INotebook, item: ToolbarItem) => {
      const wasOpen = open?.item === item;
      close();
      const { kernelId } = item;
      if (wasOpen || kernelId === null) {
        return;
      }
      const popover = new GPUPopover({
        controls: controls(panel, kernelId),
        anchor: () => item.button,
        host: app.shell.node,
        onClosed: () => {
          open = null;
          item.isExpanded = false;
        }
      });
      open = { item, popover };
      item.isExpanded = true;
      popover.open();
    };

    toolbars.addFactory<INotebook>('Notebook', ITEM, panel => {
      const item: ToolbarItem = new ToolbarItem({
        manager,
        sessionContext: panel.sessionContext,
        trans,
        language,
        onClick: () => toggle(panel, item)
      });
      item.showWithoutLease = showWithoutLease;
      items.set(panel, item);
      const closeOwn = () => {
        if (open?.item === item) {
          close();
        }
      };
      panel.sessionContext.kernelChanged.connect(closeOwn);
      item.disposed.connect(() => {
        closeOwn();
        items.delete(panel);
      });
      return item;
    });

    commandOf(app, items, toggle, trans.__('Show GPU Controls'), trans.__('Show and change the GPU of this notebook'));
    palette?.addItem({ command: CommandIDs.showControls, category: trans.__('FastGPU') });

    if (settings !== null) {
      void connectSettings(settings, value => {
        showWithoutLease = value;
        for (const item of items.values()) {
          item.showWithoutLease = value;
        }
      });
    }
  }
};

/** What is used of a notebook; importing its package would make the extension depend on it. */
type INotebook = Widget & { readonly sessionContext: ISessionContext };

/** Add the command that opens the popover of the current notebook. */
function commandOf(
  app: JupyterFrontEnd,
  items: ReadonlyMap<Widget, ToolbarItem>,
  toggle: (panel: INotebook, item: ToolbarItem) => void,
  label: string,
  caption: string
): void {
  const current = () => {
    const panel = app.shell.currentWidget;
    const item = panel === null ? undefined : items.get(panel);
    return panel === null || item === undefined || item.isHidden
      ? null
      : { panel: panel as INotebook, item };
  };
  app.commands.addCommand(CommandIDs.showControls, {
    label,
    caption,
    describedBy: { args: { type: 'object', properties: {} } },
    isEnabled: () => current() !== null,
    execute: () => {
      const found = current();
      if (found !== null) {
        toggle(found.panel, found.item);
      }
    }
  });
}

/** Return what the controls can ask of the application; commands that it does not have are not offered. */
function host(
  app: JupyterFrontEnd,
  panel: INotebook,
  kernelId: string,
  leaseId: () => string | null,
  notifier: IGrantNotifier | null,
  close: () => void
): IControlsHost {
  const { commands } = app;
  const executing = (id: string, args: () => { readonly [name: string]: string | null } = () => ({})) =>
    commands.hasCommand(id)
      ? () => {
          close();
          void commands.execute(id, { ...args() });
        }
      : undefined;
  // The form of a start chooses kernel and size together.
  const other = [CommandIDs.chooseSize, CommandIDs.changeKernel].find(id => commands.hasCommand(id));
  return {
    notify:
      notifier === null
        ? undefined
        : {
            get isChosen() {
              return notifier.isChosen(leaseId());
            },
            choose: isChosen => notifier.choose(leaseId(), isChosen)
          },
    onOpenPanel: executing(CommandIDs.openPanel),
    onOpenLease: commands.hasCommand(CommandIDs.openNotebook)
      ? lease => {
          close();
          void commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
        }
      : undefined,
    onResize: executing(CommandIDs.resize, () => ({ leaseId: leaseId() })),
    onGetGPU: executing(CommandIDs.getGPU, () => ({ kernelId })),
    onChangeKernel: other === undefined
      ? undefined
      : () => {
          close();
          app.shell.activateById(panel.id);
          void commands.execute(other);
        }
  };
}

async function connectSettings(
  registry: ISettingRegistry,
  apply: (showWithoutLease: boolean) => void
): Promise<void> {
  const settings = await registry.load(PLUGIN_ID).catch(() => null);
  const read = () => apply(settings?.get('showWithoutLease').composite !== false);
  settings?.changed.connect(read);
  read();
}
