/** Notifies the user, once in each browser, that a job has ended, and of each job for which that was chosen. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification as Toast } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { JobView } from '../generated/api';
import type { JobState } from '../generated/jobstates';
import type { IClaims } from '../jobs/ends';
import { claim, JobEnds } from '../jobs/ends';
import { isOver } from '../jobs/job';
import { ChoiceNotifier } from '../leases/notifier';
import { endsText, endText } from '../texts/job';
import { toastText } from '../texts/toast';
import { IJobNotifier, IJobs, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { askForPermission, choiceStore, notifyInBrowser } from './browsernotification';

const PLUGIN_ID = 'fastgpu-jupyter:job-notifications';

const AUTO_CLOSE_MS = 8_000;

/** How long no other page can announce the same end. */
const CLAIM_HELD_MS = 60_000;

/** More jobs that end at once are one notification. */
const SEPARATE_MAX = 3;

/** How the end of a job is shown; what needs no action goes by itself. */
const TOASTS: Readonly<Partial<Record<JobState, { readonly type: 'success' | 'error' | 'warning'; readonly autoClose: number | false }>>> = {
  done: { type: 'success', autoClose: AUTO_CLOSE_MS },
  failed: { type: 'error', autoClose: false },
  lost: { type: 'warning', autoClose: false }
};

export const jobNotificationsPlugin: JupyterFrontEndPlugin<IJobNotifier> = {
  id: PLUGIN_ID,
  description: 'Notifies when a GPU job has ended.',
  autoStart: true,
  requires: [IJobs, ILeaseManager],
  optional: [IStateDB, ITranslator],
  provides: IJobNotifier,
  activate: (
    app: JupyterFrontEnd,
    jobs: IJobs,
    manager: ILeaseManager,
    database: IStateDB | null,
    translator: ITranslator | null
  ): IJobNotifier => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const language = used.languageCode;
    const claims = browserClaims(app.serviceManager.serverSettings.baseUrl);
    const ends = new JobEnds();

    const openAction = (job: JobView | null) => ({
      label: trans.__('Open'),
      caption: trans.__('Show the job in the FastGPU panel'),
      callback: () => {
        if (app.commands.hasCommand(CommandIDs.openJobs)) {
          void app.commands.execute(CommandIDs.openJobs, job === null ? {} : { jobId: job.id });
        }
      }
    });
    const announce = (job: JobView, isChosen: boolean) => {
      const toast = TOASTS[job.state];
      if (toast === undefined) {
        return;
      }
      const { text } = toastText(endText(job, trans, language));
      const action = openAction(job);
      const autoClose = isChosen ? false : toast.autoClose;
      Toast.emit(text, toast.type, { autoClose, actions: [action] });
      if (isChosen) {
        notifyInBrowser(text, `job-${job.id}`, action.callback);
      }
    };

    const notifier = new ChoiceNotifier<JobView>({
      manager,
      store: choiceStore(database, PLUGIN_ID),
      find: () =>
        jobs.isHeard && jobs.state.isKnown
          ? new Map(jobs.state.jobs.map(job => [String(job.id), job]))
          : null,
      progressOf: job => (isOver(job) ? 'reached' : 'pending'),
      announce: job => void claim([job], claims).then(own => own.forEach(one => announce(one, true))),
      onChosen: askForPermission
    });

    const onChanged = async () => {
      const ended = ends
        .next(jobs.state)
        // The calls of a program come by the hundred, and the program itself sees how they end.
        .filter(job => job.kind !== 'function' && TOASTS[job.state] !== undefined)
        .filter(job => !notifier.handles(String(job.id)));
      const own = ended.length === 0 ? [] : await claim(ended, claims);
      if (own.length <= SEPARATE_MAX) {
        own.forEach(job => announce(job, false));
      } else {
        Toast.emit(endsText(own, trans), 'info', {
          autoClose: AUTO_CLOSE_MS,
          actions: [openAction(null)]
        });
      }
    };
    jobs.changed.connect(() => void onChanged());
    void onChanged();
    return notifier;
  }
};

/** Return what the pages of this browser share about a server. */
function browserClaims(baseUrl: string): IClaims {
  const prefix = `fastgpu-jupyter:announced-jobs ${baseUrl}`;
  return {
    // Browsers give a lock to one page only, at once; by the time it is given back, all pages see what was stored.
    acquire: async key => {
      if (navigator.locks === undefined) {
        return true;
      }
      return new Promise<boolean>(resolve => {
        const hold = (lock: Lock | null) => {
          resolve(lock !== null);
          return lock === null
            ? Promise.resolve()
            : new Promise<void>(release => window.setTimeout(release, CLAIM_HELD_MS));
        };
        navigator.locks
          .request(`${prefix} ${key}`, { ifAvailable: true }, hold)
          .catch(() => resolve(true));
      });
    },
    read: () => window.localStorage.getItem(prefix),
    write: text => window.localStorage.setItem(prefix, text)
  };
}
