/** Adds the form for the size of a GPU, for a new notebook or for the current one. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import type { SizeOptions } from '../generated/api';
import { chooseIcon } from '../icon';
import type { IChoice, Raised } from '../launch/choice';
import {
  bounded,
  defaultsOf,
  isFastGPU,
  METADATA_KEY,
  plainKernel,
  raisedBy,
  readRemembered,
  rememberedOf
} from '../launch/choice';
import type { NotebookDocument } from '../launch/document';
import { mayCostMore } from '../launch/rates';
import { LeaseAPI } from '../leases/restapi';
import { IKernelStart, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import type { IChosen } from '../views/choosesize';

export const chooseSizePlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:choose-size',
  description: 'Adds the form that chooses the GPU size of a kernel.',
  autoStart: true,
  requires: [ILeaseManager, IKernelStart],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    start: IKernelStart,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const { commands, serviceManager, shell } = app;
    const api = new LeaseAPI({ serverSettings: serviceManager.serverSettings });

    /** Return the kernels that get a lease, the default one first. */
    const fastgpuKernels = () => {
      const { specs } = serviceManager.kernelspecs;
      return Object.values(specs?.kernelspecs ?? {})
        .flatMap(spec => (spec !== undefined && isFastGPU(spec) ? [spec] : []))
        .map(spec => ({ name: spec.name, label: spec.display_name, defaults: defaultsOf(spec) }))
        .sort((a, b) => Number(b.name === specs?.default) - Number(a.name === specs?.default));
    };

    /** Notebook 7 opens a notebook in another page, which knows only what its file says. */
    const opensHere = () => commands.hasCommand('launcher:create');

    const documentOf = (args: ReadonlyPartialJSONObject): NotebookDocument | null => {
      if (args.isNew === true) {
        return null;
      }
      return (
        [...start.documents].find(({ path, widget }) =>
          typeof args.path === 'string' ? path === args.path : widget === shell.currentWidget
        ) ?? null
      );
    };

    /** Return what a notebook asks for beyond the defaults, unless the user has agreed; a size may be the user's. */
    const raisedIn = async (
      wanted: IChoice,
      kernel: ReturnType<typeof fastgpuKernels>[number],
      path: string | undefined,
      isOwnSize: boolean
    ): Promise<ReadonlyArray<Raised>> => {
      if (path !== undefined && (await start.consent.has(path, kernel.name, wanted))) {
        return [];
      }
      const costsMore = !isOwnSize && (await mayCostMore(wanted, kernel.defaults, query => api.sizes(query)));
      return raisedBy(wanted, kernel.defaults, costsMore);
    };

    const execute = async (args: ReadonlyPartialJSONObject): Promise<unknown> => {
      await serviceManager.kernelspecs.ready;
      const kernels = fastgpuKernels();
      if (kernels.length === 0) {
        return null;
      }
      const document = documentOf(args);
      if (typeof args.path === 'string' && document === null) {
        return null; // it was closed
      }
      const remembered = readRemembered(document?.remembered);
      const running = document?.context.sessionContext.session?.kernel?.name;
      const named = [args.kernel, remembered.kind === 'choice' ? remembered.kernel : null, running];
      const kernel = kernels.find(({ name }) => named.includes(name)) ?? kernels[0];
      const isOfKernel = remembered.kind === 'choice' && remembered.kernel === kernel.name;
      const wanted: IChoice = {
        ...kernel.defaults,
        ...(isOfKernel ? remembered.values : {}),
        ...(typeof args.size === 'string' ? { size: args.size } : {})
      };
      const raised = await raisedIn(wanted, kernel, document?.path, typeof args.size === 'string');
      const plain = plainKernel(serviceManager.kernelspecs.specs);
      const [{ ChooseSizeBody }, { ChooseSizeDialog }] = await Promise.all([
        import('../views/choosesize'),
        import('../views/choosesizedialog')
      ]);
      const body = new ChooseSizeBody({
        kernels,
        kernel: kernel.name,
        choice: bounded(wanted, kernel.defaults, raised),
        asked: raised.length > 0 ? { raised, choice: wanted } : null,
        isUnfolded: raised.some(name => name !== 'size'),
        replaces: running !== undefined,
        remember:
          document === null
            ? opensHere() || null
            : document.isWritable
              ? remembered.kind !== 'nothing'
              : null,
        withoutGPU: plain?.display_name ?? null,
        currency: () => manager.state.pool?.currency ?? '',
        cluster: () => manager.state.pool?.cluster ?? null,
        loadSizes: async query => (await api.sizes(query)) as SizeOptions,
        poolChanged: manager.changed,
        trans,
        language: used.languageCode
      });
      const { button, value } = await new ChooseSizeDialog(body, trans).launch();
      if (!button.accept || value === null) {
        return null;
      }
      const name = value.withoutGPU ? (plain?.name ?? '') : value.kernel;
      return document === null
        ? startNew(name, value, typeof args.cwd === 'string' ? args.cwd : '')
        : startForDocument(document, name, value);
    };

    /** Choose for the next start of a document's kernel; the user has seen and confirmed all values. */
    const prepare = async (path: string, { kernel, choice, withoutGPU }: IChosen): Promise<void> => {
      if (!withoutGPU) {
        start.starter.chooseNext(path, kernel, choice);
        await start.consent.add(path, kernel, choice);
      }
    };

    const remember = (document: NotebookDocument, chosen: IChosen): void => {
      if (chosen.withoutGPU || !document.isWritable) {
        return;
      }
      const spec = serviceManager.kernelspecs.specs?.kernelspecs[chosen.kernel];
      if (chosen.remember) {
        document.remember(rememberedOf(chosen, defaultsOf(spec)));
      } else if (document.remembered !== undefined) {
        document.remember(null);
      }
    };

    const startNew = async (name: string, chosen: IChosen, cwd: string): Promise<unknown> => {
      const model = (await commands.execute('docmanager:new-untitled', {
        path: cwd,
        type: 'notebook'
      })) as { readonly path: string } | undefined;
      if (model === undefined) {
        return null;
      }
      await prepare(model.path, chosen);
      if (!opensHere() && !chosen.withoutGPU) {
        await rememberInFile(model.path, chosen);
      }
      const widget: unknown = await commands.execute('docmanager:open', {
        path: model.path,
        factory: 'Notebook',
        kernel: { name }
      });
      const document = [...start.documents].find(({ path }) => path === model.path);
      if (document !== undefined) {
        await document.context.ready;
        remember(document, chosen);
        // As for a notebook of the launcher: its first save asks for a name.
        (document.widget as { isUntitled?: boolean }).isUntitled = true;
      }
      return widget;
    };

    const rememberInFile = async (path: string, chosen: IChosen): Promise<void> => {
      const { contents, kernelspecs } = serviceManager;
      const file = await contents.get(path, { content: true });
      const defaults = defaultsOf(kernelspecs.specs?.kernelspecs[chosen.kernel]);
      const metadata = { ...file.content.metadata, [METADATA_KEY]: rememberedOf(chosen, defaults) };
      await contents.save(path, { ...file, content: { ...file.content, metadata } });
    };

    const startForDocument = async (
      document: NotebookDocument,
      name: string,
      chosen: IChosen
    ): Promise<void> => {
      remember(document, chosen);
      await prepare(document.path, chosen);
      // A failure is shown by JupyterLab's own dialog.
      await document.context.sessionContext.changeKernel({ name }).catch(() => undefined);
    };

    commands.addCommand(CommandIDs.chooseSize, {
      label: args =>
        args.isLauncher === true
          ? [trans.__('Choose size…'), trans.__('model, memory, priority')].join('\n')
          : args.isNew === true
            ? trans.__('New Notebook with a GPU…')
            : trans.__('Choose size…'),
      caption: trans.__('Choose model, size, priority and budget of the GPU, and start a kernel with it'),
      icon: args => (args.isLauncher === true ? chooseIcon : undefined),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            kernel: { type: 'string', description: trans.__('The kernelspec to start.') },
            size: { type: 'string', description: trans.__('The size to begin with.') },
            path: {
              type: 'string',
              description: trans.__('The open notebook; the default is the current one, or a new one.')
            },
            cwd: { type: 'string', description: trans.__('The folder of a new notebook.') },
            isNew: { type: 'boolean', description: trans.__('Whether to start in a new notebook.') },
            isLauncher: { type: 'boolean', description: trans.__('Whether it is a card of the launcher.') }
          }
        }
      },
      isVisible: () => fastgpuKernels().length > 0,
      execute
    });
    palette?.addItem({ command: CommandIDs.chooseSize, category: trans.__('FastGPU') });
  }
};
