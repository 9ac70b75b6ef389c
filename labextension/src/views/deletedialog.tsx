/** The dialog that asks which ended jobs and results to delete. */

import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobsUsage, PruneBody, PruneReport } from '../generated/api';
import { formatBytes } from '../texts/format';

const DAY_MS = 86_400_000;

/** The choices: how old a job must be; the first one is the default. */
const AGES = [
  { days: 30, text: (trans: TranslationBundle) => trans.__('that ended more than 30 days ago') },
  { days: 7, text: (trans: TranslationBundle) => trans.__('that ended more than 7 days ago') },
  { days: 1, text: (trans: TranslationBundle) => trans.__('that ended more than a day ago') },
  { days: 0, text: (trans: TranslationBundle) => trans.__('all that have ended') }
];

/** Ask which jobs to delete; null if none. The default answer deletes nothing. */
export async function askWhatToDelete(
  usage: JobsUsage,
  trans: TranslationBundle,
  language: string
): Promise<PruneBody | null> {
  const body = new AgeChoice(usage, trans, language);
  const { button } = await showDialog({
    title: trans.__('Delete old results?'),
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Keep all') }), Dialog.warnButton({ label: trans.__('Delete') })],
    defaultButton: 0,
    focusNodeSelector: 'select'
  });
  return button.accept ? { older_ms: body.days * DAY_MS } : null;
}

/** Return what was deleted, as a sentence. */
export function deletedText(report: PruneReport, trans: TranslationBundle, language: string): string {
  return report.jobs === 0 && report.results === 0
    ? trans.__('No job is that old. Nothing was deleted.')
    : trans._n(
        '%1 job was deleted; %2 are free.',
        '%1 jobs were deleted; %2 are free.',
        report.jobs,
        formatBytes(report.freed_bytes, language)
      );
}

class AgeChoice extends ReactWidget {
  constructor(
    private readonly _usage: JobsUsage,
    private readonly _trans: TranslationBundle,
    private readonly _language: string
  ) {
    super();
  }

  days = AGES[0].days;

  protected override render(): React.JSX.Element {
    const { _usage: usage, _trans: trans, _language: language } = this;
    const known = [usage.job_bytes, usage.result_bytes].filter(bytes => bytes !== null);
    const bytes = known.reduce((sum, one) => sum + one, 0);
    return (
      <div className="fg-Controls fg-DeleteChoice">
        <p>
          {known.length < 2
            ? trans.__('How much disk your jobs and their results take is not known.')
            : trans.__('Your jobs and their results take %1.', formatBytes(bytes, language))}
        </p>
        <label>
          <span>{trans.__('Delete jobs with log and result')}</span>
          <select
            className="jp-mod-styled"
            defaultValue={this.days}
            onChange={({ target }) => (this.days = Number(target.value))}
          >
            {AGES.map(({ days, text }) => (
              <option key={days} value={days}>
                {text(trans)}
              </option>
            ))}
          </select>
        </label>
        <p className="fg-Note">
          {trans.__('Jobs that wait or run are kept. A cached result that is deleted is computed again.')}
        </p>
      </div>
    );
  }
}
