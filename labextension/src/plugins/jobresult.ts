/** Shows the result of a job in the main area; it is restored with the layout. Its code is loaded when it is opened. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { IJobs, TRANSLATION_DOMAIN } from '../tokens';
import { jobFinder } from './jobcommand';
import { addJobDocument } from './jobdocument';

export const jobResultPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:job-result',
  description: 'Shows the result of a GPU job in the main area.',
  autoStart: true,
  requires: [IJobs],
  optional: [ITranslator, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const find = jobFinder(app, jobs);
    addJobDocument({
      app,
      jobs,
      restorer,
      trans,
      command: CommandIDs.openJobResult,
      namespace: 'fastgpu-job-result',
      label: trans.__('Result'),
      caption: trans.__('Show what the job has left in the main area'),
      isVisible: args => (find(args)?.result ?? null) !== null,
      failed: trans.__('The result cannot be shown'),
      create: async jobId => {
        const { JobResultWidget } = await import('../views/jobresultwidget');
        return new JobResultWidget({ jobs, jobId, trans, language: used.languageCode });
      }
    });
  }
};
