/** Draws the output of a cell that was submitted as a job. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IJobNotifier, IJobs, TRANSLATION_DOMAIN } from '../tokens';
import { JOB_MIME, JobOutput } from '../views/joboutput';
import { jobCallbacks } from './jobcommand';

/** Before HTML, which the same output has for pages without this extension. */
const RANK = 20;

export const jobCellPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:job-cell',
  description: 'Draws the output of a cell that was submitted as a GPU job.',
  autoStart: true,
  requires: [IJobs, IRenderMimeRegistry],
  optional: [IJobNotifier, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    registry: IRenderMimeRegistry,
    notifier: IJobNotifier | null,
    translator: ITranslator | null
  ): void => {
    const used = translator ?? nullTranslator;
    registry.addFactory(
      {
        // The texts are shown as texts, and what the buttons do is decided by the server.
        safe: true,
        mimeTypes: [JOB_MIME],
        createRenderer: () =>
          new JobOutput({
            jobs,
            notifier,
            ...jobCallbacks(app),
            trans: used.load(TRANSLATION_DOMAIN),
            language: used.languageCode
          })
      },
      RANK
    );
  }
};
