/** Starts kernels with the size that the user chose, or that the notebook remembers. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { isFastGPU, METADATA_KEY, readRemembered } from '../launch/choice';
import { Cluster } from '../launch/cluster';
import { Consent } from '../launch/consent';
import { NotebookDocument } from '../launch/document';
import { StartAPI } from '../launch/startapi';
import type { INotebook } from '../launch/starter';
import { KernelStarter } from '../launch/starter';
import { LeaseAPI } from '../leases/restapi';
import { noticeTexts } from '../texts/start';
import { toastText } from '../texts/toast';
import { IKernelStart, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

export const startPlugin: JupyterFrontEndPlugin<IKernelStart> = {
  id: 'fastgpu-jupyter:start',
  description: 'Starts kernels with the GPU size that was chosen or that the notebook remembers.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [IStateDB, ITranslator],
  provides: IKernelStart,
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    state: IStateDB | null,
    translator: ITranslator | null
  ): IKernelStart => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const { sessions, kernelspecs, serverSettings } = app.serviceManager;
    const consent = new Consent(state);
    const documents = new Set<NotebookDocument>();
    /** The notifications about each notebook, which say nothing any more once it is closed. */
    const notices = new Map<INotebook, string[]>();
    const api = new LeaseAPI({ serverSettings });
    const cluster = new Cluster(manager, async () => {
      const { ClusterRequests } = await import('../launch/clusterrequests');
      return new ClusterRequests({
        manager,
        api,
        notebooks: documents,
        runs: kernelId => [...sessions.running()].some(({ kernel }) => kernel?.id === kernelId),
        kernelOf: ({ remembered }) => {
          const read = readRemembered(remembered);
          const specs = kernelspecs.specs?.kernelspecs ?? {};
          const named = read.kind === 'choice' ? specs[read.kernel] : undefined;
          const any = Object.values(specs).find(spec => isFastGPU(spec));
          return (isFastGPU(named) ? named : any)?.name ?? null;
        }
      });
    });
    const starter = new KernelStarter({
      sessions,
      specs: kernelspecs,
      api: new StartAPI(api, serverSettings),
      cluster,
      consent,
      onNotice: (notice, notebook) => {
        const { text, action } = noticeTexts(notice, trans);
        const id = Notification.warning(toastText(text).text, {
          autoClose: false,
          actions: [
            {
              label: action,
              callback: () => {
                if (app.commands.hasCommand(CommandIDs.chooseSize)) {
                  void app.commands.execute(CommandIDs.chooseSize, { path: notebook.path });
                }
              }
            }
          ]
        });
        notices.set(notebook, [...(notices.get(notebook) ?? []), id]);
      }
    });

    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel, context) => {
        const document = new NotebookDocument(panel, context, METADATA_KEY);
        const untrack = starter.track(document);
        documents.add(document);
        const { sessionContext } = context;
        const wrap = () => {
          if (sessionContext.session !== null) {
            starter.wrap(sessionContext.session, document);
          }
        };
        sessionContext.sessionChanged.connect(wrap);
        wrap();
        panel.disposed.connect(() => {
          sessionContext.sessionChanged.disconnect(wrap);
          documents.delete(document);
          cluster.forget(document);
          notices.get(document)?.forEach(id => Notification.dismiss(id));
          notices.delete(document);
          untrack();
        });
      }
    });

    return { starter, consent, documents, cluster };
  }
};
