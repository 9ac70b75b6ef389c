/** Notifies the user, in any document, that a GPU was granted, failed or was taken back, or that a limit is near. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { LeaseView, MessageView } from '../generated/api';
import type { ILeaseTransition } from '../leases/transitions';
import { findTransitions } from '../leases/transitions';
import { endReason, notebookName, parkedNote } from '../texts/lease';
import { messageText } from '../texts/message';
import { ICurrentLease, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';

const AUTO_CLOSE_MS = 8_000;

export const notificationsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:notifications',
  description:
    'Notifies when a GPU was granted after a wait, failed or was taken back, or when a limit is near.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ICurrentLease, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    current: ICurrentLease | null,
    translator: ITranslator | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const waited = new Set<string>();
    let before = manager.state.leases;

    const onChanged = () => {
      const { leases } = manager.state;
      if (leases === before) {
        return;
      }
      const transitions = findTransitions(before, leases, waited);
      before = leases;
      for (const transition of transitions) {
        if (transition.kind !== 'granted') {
          notify(transition, trans, used.languageCode);
        } else if (transition.lease.id !== current?.lease?.id) {
          // In the current notebook the cell that continues is notification enough.
          notifyGranted(app, transition.lease, trans);
        }
      }
    };
    manager.changed.connect(onChanged);
    onChanged();
  }
};

function notify(
  { kind, lease }: ILeaseTransition,
  trans: TranslationBundle,
  language: string
): void {
  const name = notebookName(lease.holder, trans);
  const text = (message: MessageView | null) =>
    message === null ? '' : messageText(message, trans, language);
  const show = (sentence: string) => trans.__('“%1”: %2', name, sentence);
  switch (kind) {
    case 'lost':
      Notification.warning(
        trans.__('“%1” has lost its GPU. %2', name, endReason(lease, trans, language)),
        { autoClose: false }
      );
      break;
    case 'preempted':
      Notification.info(show(parkedNote(lease, trans, language)), { autoClose: AUTO_CLOSE_MS });
      break;
    case 'fault':
      Notification.error(show(text(lease.health.message)), { autoClose: false });
      break;
    case 'budget':
      Notification.warning(show(text(lease.money.message)), { autoClose: AUTO_CLOSE_MS });
      break;
    case 'limit':
      Notification.warning(show(text(lease.enforcement.message)), { autoClose: AUTO_CLOSE_MS });
      break;
  }
}

function notifyGranted(app: JupyterFrontEnd, lease: LeaseView, trans: TranslationBundle): void {
  Notification.success(trans.__('The GPU for “%1” is ready.', notebookName(lease.holder, trans)), {
    autoClose: AUTO_CLOSE_MS,
    actions: [
      {
        label: trans.__('Open notebook'),
        callback: () => {
          if (app.commands.hasCommand(CommandIDs.openNotebook)) {
            void app.commands.execute(CommandIDs.openNotebook, { leaseId: lease.id });
          }
        }
      }
    ]
  });
}
