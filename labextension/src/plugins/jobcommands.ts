/** Adds the commands about jobs: cancel, run again, explain, and delete old results. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { UUID } from '@lumino/coreutils';

import { CommandIDs } from '../commands';
import { isOver } from '../jobs/job';
import { cancelDialogTexts, jobTitle } from '../texts/job';
import { IJobs, TRANSLATION_DOMAIN } from '../tokens';
import { showFailure } from '../views/failuredialog';
import { jobArguments, jobFinder } from './jobcommand';

export const jobCommandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:job-commands',
  description: 'Adds the commands that cancel, repeat and explain GPU jobs, and delete old results.',
  autoStart: true,
  requires: [IJobs],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const { commands } = app;
    const target = jobFinder(app, jobs);
    const describedBy = {
      args: { type: 'object', required: ['jobId'], properties: jobArguments(trans) }
    };
    const canChange = (id: number) => jobs.canAct && jobs.isHeard && !jobs.pending.has(id);

    commands.addCommand(CommandIDs.cancelJob, {
      label: args => (target(args)?.state === 'running' ? trans.__('Cancel…') : trans.__('Cancel')),
      caption: trans.__('End the job; its log and its cost are kept'),
      describedBy,
      isVisible: args => {
        const job = target(args);
        return job !== null && !isOver(job);
      },
      isEnabled: args => {
        const job = target(args);
        return job !== null && !isOver(job) && !job.cancelling && canChange(job.id);
      },
      execute: async args => {
        const job = target(args);
        if (job === null) {
          return;
        }
        if (job.state === 'running') {
          const { title, body, accept } = cancelDialogTexts(job, trans);
          const { button } = await showDialog({
            title,
            body,
            buttons: [
              Dialog.cancelButton({ label: trans.__('Let it run') }),
              Dialog.warnButton({ label: accept })
            ],
            defaultButton: 0
          });
          if (!button.accept) {
            return;
          }
        }
        try {
          await jobs.cancel(job.id);
        } catch (reason) {
          await showFailure(trans.__('The job was not cancelled'), reason, trans);
        }
      }
    });

    commands.addCommand(CommandIDs.rerunJob, {
      label: trans.__('Run again'),
      caption: trans.__('Submit the job again, as a new one'),
      describedBy,
      isVisible: args => {
        const job = target(args);
        return job !== null && isOver(job);
      },
      isEnabled: args => {
        const job = target(args);
        return job !== null && isOver(job) && canChange(job.id);
      },
      execute: async args => {
        const job = target(args);
        if (job === null) {
          return;
        }
        try {
          const submitted = await jobs.rerun(job.id);
          if (submitted !== null) {
            const open = {
              label: trans.__('Open'),
              callback: () => void commands.execute(CommandIDs.openJobs, { jobId: submitted.id })
            };
            Notification.info(trans.__('%1 was submitted.', jobTitle(submitted, trans)), {
              autoClose: 5000,
              actions: commands.hasCommand(CommandIDs.openJobs) ? [open] : []
            });
          }
        } catch (reason) {
          await showFailure(trans.__('The job was not submitted'), reason, trans);
        }
      }
    });

    commands.addCommand(CommandIDs.explainJob, {
      label: trans.__('Explain'),
      caption: trans.__('Say why the job was computed, or not'),
      describedBy,
      isVisible: args => {
        const job = target(args);
        return job !== null && job.cache !== null && job.cache.outcome !== null;
      },
      isEnabled: args => target(args) !== null && jobs.isHeard,
      execute: async args => {
        const job = target(args);
        if (job === null) {
          return;
        }
        try {
          const explanation = await jobs.api.explanation(job.id);
          const { showExplanation } = await import('../views/explanationdialog');
          await showExplanation(job, explanation, trans, used.languageCode);
        } catch (reason) {
          await showFailure(trans.__('The job cannot be explained'), reason, trans);
        }
      }
    });

    commands.addCommand(CommandIDs.deleteOldResults, {
      label: trans.__('Delete Old Job Results…'),
      caption: trans.__('Delete ended jobs, their logs and their results'),
      describedBy: { args: { type: 'object', properties: {} } },
      isEnabled: () => jobs.canAct && jobs.isHeard,
      execute: async () => {
        try {
          const usage = await jobs.api.usage();
          const { askWhatToDelete } = await import('../views/deletedialog');
          const choice = await askWhatToDelete(usage, trans, used.languageCode);
          if (choice !== null) {
            const report = await jobs.api.prune(choice, UUID.uuid4());
            const { deletedText } = await import('../views/deletedialog');
            Notification.success(deletedText(report, trans, used.languageCode), { autoClose: 5000 });
          }
        } catch (reason) {
          await showFailure(trans.__('Nothing was deleted'), reason, trans);
        }
      }
    });
    palette?.addItem({ command: CommandIDs.deleteOldResults, category: trans.__('FastGPU') });
    let isEnabled = commands.isEnabled(CommandIDs.deleteOldResults);
    jobs.changed.connect(() => {
      if (commands.isEnabled(CommandIDs.deleteOldResults) !== isEnabled) {
        isEnabled = !isEnabled;
        commands.notifyCommandChanged(CommandIDs.deleteOldResults);
      }
    });
  }
};
