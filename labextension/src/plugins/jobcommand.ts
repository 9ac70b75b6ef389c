/** What the commands about one job have in common: their arguments, and the job that these name. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import type { IJobCallbacks } from '../controls/jobbody';
import type { JobView } from '../generated/api';
import type { IJobs } from '../tokens';

/** Return the function that finds the job of a command's arguments; null if there is none. */
export function jobFinder(
  app: JupyterFrontEnd,
  jobs: IJobs
): (args: ReadonlyPartialJSONObject) => JobView | null {
  return args => {
    if (args.fromContextMenu === true) {
      const item = app.contextMenuHitTest(node => node.dataset.jobId !== undefined);
      return jobs.find(Number(item?.dataset.jobId));
    }
    return typeof args.jobId === 'number' ? jobs.find(args.jobId) : null;
  };
}

/** Return the schema of the arguments by which a command finds its job. */
export function jobArguments(trans: TranslationBundle) {
  return {
    jobId: { type: 'integer', minimum: 1, description: trans.__('The number of the job.') },
    fromContextMenu: {
      type: 'boolean',
      description: trans.__('Whether to use the job on which the context menu was opened.')
    }
  };
}

/** Return what views of jobs call: each executes a command, if there is one. */
export function jobCallbacks({ commands }: JupyterFrontEnd): IJobCallbacks {
  const execute = (id: string) => (job: JobView) => {
    if (commands.hasCommand(id)) {
      void commands.execute(id, { jobId: job.id });
    }
  };
  return {
    onCancel: execute(CommandIDs.cancelJob),
    onRerun: execute(CommandIDs.rerunJob),
    onLog: execute(CommandIDs.openJobLog),
    onResult: execute(CommandIDs.openJobResult),
    onExplain: execute(CommandIDs.explainJob)
  };
}
