/** The dialogs that change the size of a lease, and that request one for a running kernel, with the same slider. */

import { Dialog } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { FormattedText } from '../controls/components';
import { useSource } from '../controls/hooks';
import { RequestControl } from '../controls/requestcontrol';
import { CostLine, SizeControl } from '../controls/sizecontrol';
import type { ILeaseSource } from '../controls/source';
import type { ITextContext } from '../controls/textcontext';
import { isOpen } from '../leases/lease';
import { leaseFacts, limitSentence } from '../texts/size';
import { endReason } from '../texts/lease';

interface IDialogProps extends ITextContext {
  readonly source: ILeaseSource;
  readonly onDone: () => void;
}

/** The size of a lease, as long as it has not ended. */
function ResizeBody(props: IDialogProps): React.JSX.Element {
  const { source, trans, language } = props;
  useSource(source);
  const { lease, connection } = source;
  if (lease === null || !isOpen(lease)) {
    return (
      <p className="fg-Note" data-kind="info" role="status">
        <FormattedText
          text={
            lease === null
              ? trans.__('This lease no longer exists.')
              : trans.__('This lease has ended. %1', endReason(lease, trans, language))
          }
        />
      </p>
    );
  }
  const limit = limitSentence(lease, trans, language);
  return (
    <>
      <div className="fg-Controls-title">
        <p className="fg-Facts">
          {leaseFacts(lease, trans, language).map(fact => (
            <span key={fact}>{fact}</span>
          ))}
        </p>
        <CostLine lease={lease} trans={trans} language={language} />
      </div>
      {connection.kind !== 'connected' && (
        <p className="fg-Note" data-kind="error" role="status">
          {trans.__('There is no connection to the pool manager; the size cannot be changed now.')}
        </p>
      )}
      <SizeControl
        {...props}
        lease={lease}
        takesFocus
        live={connection.kind === 'connected' && source.canAct && !source.isPending}
        onApplied={props.onDone}
      />
      {limit !== '' && <p className="fg-Note">{limit}</p>}
      {!source.canAct && (
        <p className="fg-Note">{trans.__('You can see the leases of this server, but not change them.')}</p>
      )}
    </>
  );
}

/** Show the dialog with the sizes of a lease; returns when it is closed. */
export function showResizeDialog(
  title: string,
  source: ILeaseSource,
  texts: ITextContext
): Promise<void> {
  return show(title, texts, onDone => <ResizeBody {...texts} source={source} onDone={onDone} />);
}

/** Show the dialog with the sizes of a new request; returns when it is closed. */
export function showRequestDialog(
  title: string,
  source: ILeaseSource,
  texts: ITextContext
): Promise<void> {
  const { trans } = texts;
  return show(title, texts, onDone => (
    <>
      <p className="fg-Note">
        {trans.__('Cells of this notebook run on the CPU. Variables stay when a GPU is added.')}
      </p>
      <RequestControl {...texts} source={source} onRequested={onDone} />
    </>
  ));
}

async function show(
  title: string,
  { trans }: ITextContext,
  content: (onDone: () => void) => React.JSX.Element
): Promise<void> {
  const body = ReactWidget.create(content(() => dialog.resolve(0)));
  body.addClass('fg-Controls');
  body.addClass('fg-SizeDialog');
  const dialog: Dialog<void> = new Dialog<void>({
    title,
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Close') })],
    hasClose: true,
    // Where the slider is there already; otherwise it takes the focus when it appears.
    focusNodeSelector: '.fg-SizeDialog input'
  });
  await dialog.launch();
}
