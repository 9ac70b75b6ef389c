/**
 * Adds a card for each FastGPU kernel to the launcher, which says what a click gives, and one for the form.
 *
 * JupyterLab's own cards of these kernels stay: the launcher's interface returns the handle that removes a card only to
 * the extension that added it.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { DisposableSet } from '@lumino/disposable';
import type { Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import type { SizeOptions } from '../generated/api';
import { launcherIcon } from '../icon';
import type { ILauncherItem } from '../launch/launcheritems';
import { LauncherItems, ITEMS_REFRESH_MS } from '../launch/launcheritems';
import { defaultsOf, isFastGPU } from '../launch/choice';
import { LeaseAPI } from '../leases/restapi';
import { itemCaption, itemLabel, kernelName } from '../texts/start';
import { ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

const LAST_USED = 'fastgpu-jupyter:last-used';
const LAST_USED_MAX = 20;
/** Before JupyterLab's own categories, which begin at 0. */
const CATEGORY_RANK = -1;

export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:launcher',
  description: 'Adds items to the launcher that say when a GPU kernel starts and what it costs.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ILauncher, IStateDB, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    launcher: ILauncher | null,
    state: IStateDB | null,
    translator: ITranslator | null
  ): void => {
    if (launcher === null) {
      return;
    }
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const { commands, serviceManager, shell } = app;
    const api = new LeaseAPI({ serverSettings: serviceManager.serverSettings });
    const model = new LauncherItems(async query => (await api.sizes(query)) as SizeOptions);
    let items: ReadonlyArray<ILauncherItem> = [];
    let added = new DisposableSet();
    let lastUsed: ReadonlyArray<string> = [];

    const itemOf = (kernel: unknown) => items.find(item => item.kernel === kernel) ?? null;

    commands.addCommand(CommandIDs.startNotebook, {
      label: args => {
        const item = itemOf(args.kernel);
        return item === null
          ? trans.__('Start a notebook with a GPU')
          : itemLabel(item, model.stateOf(item), trans, used.languageCode);
      },
      caption: args => {
        const item = itemOf(args.kernel);
        const currency = manager.state.pool?.currency ?? '';
        return item === null
          ? ''
          : itemCaption(item, model.stateOf(item), currency, trans, used.languageCode);
      },
      icon: launcherIcon,
      describedBy: {
        args: {
          type: 'object',
          required: ['kernel'],
          properties: {
            kernel: { type: 'string', description: trans.__('The kernelspec to start.') },
            cwd: { type: 'string', description: trans.__('The folder of a new notebook.') }
          }
        }
      },
      execute: args => {
        const kernel = String(args.kernel);
        lastUsed = [kernel, ...lastUsed.filter(one => one !== kernel)].slice(0, LAST_USED_MAX);
        void state?.save(LAST_USED, { kernels: [...lastUsed] });
        return commands.execute('notebook:create-new', { cwd: args.cwd, kernelName: kernel });
      }
    });

    /** Replace the cards if there are other kernels; their order changes only then. */
    const update = () => {
      const { specs } = serviceManager.kernelspecs;
      const found = Object.values(specs?.kernelspecs ?? {})
        .flatMap(spec => (spec !== undefined && isFastGPU(spec) ? [spec] : []))
        .map(spec => ({ kernel: spec.name, name: kernelName(spec), choice: defaultsOf(spec) }))
        .sort((a, b) => rankOf(a) - rankOf(b) || a.kernel.localeCompare(b.kernel));
      if (JSON.stringify(found) === JSON.stringify(items)) {
        return;
      }
      items = found;
      added.dispose();
      added = new DisposableSet();
      const category = trans.__('Notebook on a GPU');
      items.forEach(({ kernel }, rank) => {
        const args = { kernel };
        added.add(
          launcher.add({
            command: CommandIDs.startNotebook,
            args,
            category,
            rank,
            categoryRank: CATEGORY_RANK
          })
        );
      });
      if (items.length > 0) {
        const args = { isNew: true, isLauncher: true };
        added.add(
          launcher.add({
            command: CommandIDs.chooseSize,
            args,
            category,
            rank: items.length,
            categoryRank: CATEGORY_RANK
          })
        );
      }
      void refresh();
    };

    const rankOf = ({ kernel }: ILauncherItem) => {
      const index = lastUsed.indexOf(kernel);
      return index < 0 ? LAST_USED_MAX : index;
    };

    let isRefreshing = false;
    let refreshedAt = -ITEMS_REFRESH_MS;
    const refresh = async () => {
      const shown = launchers(shell);
      const isDue = performance.now() - refreshedAt >= ITEMS_REFRESH_MS;
      if (isRefreshing || !isDue || shown.length === 0 || document.visibilityState !== 'visible') {
        return;
      }
      isRefreshing = true;
      refreshedAt = performance.now();
      const isChanged = await model.refresh(items);
      isRefreshing = false;
      if (isChanged) {
        // The same items with other labels: no card moves, and the focus stays.
        shown.forEach(widget => widget.update());
      }
    };

    void Promise.all([
      serviceManager.kernelspecs.ready,
      state?.fetch(LAST_USED).catch(() => undefined)
    ]).then(([, saved]) => {
      const { kernels } = (saved ?? {}) as { readonly kernels?: unknown };
      lastUsed = Array.isArray(kernels) ? kernels.filter(one => typeof one === 'string') : [];
      update();
      serviceManager.kernelspecs.specsChanged.connect(update);
      shell.currentChanged?.connect(() => void refresh());
      manager.changed.connect(() => void refresh());
      window.setInterval(() => void refresh(), ITEMS_REFRESH_MS);
    });
  }
};

/** Return the launchers that the user sees; the area of one has it as its content. */
function launchers(shell: JupyterFrontEnd.IShell): Widget[] {
  return [...shell.widgets('main')]
    .filter(widget => widget.isVisible)
    .map(widget => (widget as { readonly content?: Widget }).content ?? widget)
    .filter(widget => widget.node.classList.contains('jp-Launcher'));
}
