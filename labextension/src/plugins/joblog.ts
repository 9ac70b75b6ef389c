/** Shows the log of a job in the main area; it is restored with the layout. Its code is loaded when it is opened. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { IJobs, TRANSLATION_DOMAIN } from '../tokens';
import { jobFinder } from './jobcommand';
import { addJobDocument } from './jobdocument';

export const jobLogPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:job-log',
  description: 'Shows the log of a GPU job in the main area.',
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
      command: CommandIDs.openJobLog,
      namespace: 'fastgpu-job-log',
      label: trans.__('Log'),
      caption: trans.__('Show the log of the job in the main area'),
      isVisible: args => (find(args)?.log_bytes ?? 0) > 0,
      failed: trans.__('The log cannot be shown'),
      create: async jobId => {
        const { JobLogWidget } = await import('../views/joblogwidget');
        return new JobLogWidget({ jobs, jobId, trans, language: used.languageCode });
      }
    });
  }
};
