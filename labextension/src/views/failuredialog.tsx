/** A dialog that tells why a request failed, with code in the server's sentence shown as code. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { FormattedText } from '../controls/components';

/** Show why something failed, and return when the user has closed the dialog. */
export async function showFailure(
  title: string,
  reason: unknown,
  trans: TranslationBundle
): Promise<void> {
  const text = reason instanceof Error ? reason.message : String(reason);
  await showDialog({
    title,
    body: <FormattedText text={text} />,
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}
