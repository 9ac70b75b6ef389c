/** What the log and the result of a job have in common: a command that opens a tab of the main area, once for a job. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';
import type { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { fastgpuIcon } from '../icon';
import type { IJobs } from '../tokens';
import { showFailure } from '../views/failuredialog';
import { jobArguments, jobFinder } from './jobcommand';

/** A tab about one job. */
type JobDocument = MainAreaWidget & { readonly jobId: number };

export interface IJobDocumentOptions
  extends Pick<CommandRegistry.ICommandOptions, 'label' | 'caption' | 'isVisible'> {
  readonly app: JupyterFrontEnd;
  readonly jobs: IJobs;
  readonly restorer: ILayoutRestorer | null;
  readonly trans: TranslationBundle;
  readonly command: string;
  /** The first part of the ids of its tabs. */
  readonly namespace: string;
  /** Load the code of the tab, and return the tab of a job. */
  readonly create: (jobId: number) => Promise<JobDocument>;
  readonly failed: string;
}

export function addJobDocument(options: IJobDocumentOptions): void {
  const { app, jobs, restorer, trans, command, namespace, create, failed, ...texts } = options;
  const { commands, shell } = app;
  const tracker = new WidgetTracker<JobDocument>({ namespace });
  const find = jobFinder(app, jobs);
  commands.addCommand(command, {
    ...texts,
    describedBy: { args: { type: 'object', required: ['jobId'], properties: jobArguments(trans) } },
    execute: async args => {
      // A tab is restored before the list of jobs is known.
      const jobId = typeof args.jobId === 'number' ? args.jobId : find(args)?.id;
      if (jobId === undefined) {
        return;
      }
      let widget = tracker.find(one => one.jobId === jobId);
      if (widget === undefined) {
        try {
          widget = await create(jobId);
        } catch (reason) {
          await showFailure(failed, reason, trans);
          return;
        }
        widget.id = `${namespace}-${jobId}`;
        widget.title.icon = fastgpuIcon;
        widget.title.closable = true;
        shell.add(widget, 'main', { type: 'FastGPU' });
        if (!widget.isAttached) {
          // Notebook 7 has one document in its main area, and other tabs below it.
          widget.addClass('fg-mod-below');
          shell.add(widget, 'down', { type: 'FastGPU' });
        }
        await tracker.add(widget);
      }
      shell.activateById(widget.id);
      return widget;
    }
  });
  if (restorer !== null) {
    void restorer.restore(tracker, {
      command,
      args: ({ jobId }) => ({ jobId }),
      name: ({ jobId }) => `${namespace}-${jobId}`
    });
  }
}
