/** The dialog that says why a job was, or was not, computed. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { FormattedText } from '../controls/components';
import type { JobExplanation, JobView } from '../generated/api';
import { jobTitle } from '../texts/job';
import { messageText } from '../texts/message';

/** So many parts of a key are listed. */
const INGREDIENTS_MAX = 200;

/** Show why a job was computed or not, and what its key is made of. */
export async function showExplanation(
  job: JobView,
  { messages, ingredients, key }: JobExplanation,
  trans: TranslationBundle,
  language: string
): Promise<void> {
  const shown = ingredients.slice(0, INGREDIENTS_MAX);
  await showDialog({
    title: jobTitle(job, trans),
    body: (
      <div className="fg-Controls fg-Explanation">
        {messages.map((message, index) => (
          <p key={index}>
            <FormattedText text={messageText(message, trans, language)} />
          </p>
        ))}
        {messages.length === 0 && <p>{trans.__('Nothing is recorded about the cache of this job.')}</p>}
        {key !== null && shown.length > 0 && (
          <details className="fg-Collapsible">
            <summary>{trans.__('What the key is made of')}</summary>
            <dl className="fg-Details">
              {shown.map(({ category, name, shown: text, digest }, index) => (
                <div key={index}>
                  <dt>{category}</dt>
                  <dd>
                    {name} <code>{text ?? digest.slice(0, 12)}</code>
                  </dd>
                </div>
              ))}
            </dl>
            {ingredients.length > shown.length && (
              <p className="fg-Note">{trans.__('%1 more', ingredients.length - shown.length)}</p>
            )}
          </details>
        )}
      </div>
    ),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}
