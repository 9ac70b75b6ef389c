/** Notifies the user, in any document, that a GPU was granted, failed or was taken back, or that a limit is near. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { LeaseView } from '../generated/api';
import { isShown } from '../leases/current';
import type { ILeaseTransition } from '../leases/transitions';
import { budgetKey, findTransitions } from '../leases/transitions';
import { SNOOZES_MS, snoozeText } from '../texts/idle';
import { notebookName } from '../texts/lease';
import { toastName, toastText } from '../texts/toast';
import { transitionText } from '../texts/transition';
import { IGrantNotifier, ILeaseManager, TRANSLATION_DOMAIN } from '../tokens';
import { showFailure } from '../views/failuredialog';

const AUTO_CLOSE_MS = 8_000;

/** How each transition but a grant is shown; `false` is until the user closes it. */
const TOASTS: Readonly<
  Record<
    Exclude<ILeaseTransition['kind'], 'granted'>,
    { readonly type: 'info' | 'warning' | 'error'; readonly autoClose: number | false }
  >
> = {
  lost: { type: 'warning', autoClose: false },
  preempted: { type: 'info', autoClose: AUTO_CLOSE_MS },
  fault: { type: 'error', autoClose: false },
  budget: { type: 'warning', autoClose: AUTO_CLOSE_MS },
  limit: { type: 'warning', autoClose: AUTO_CLOSE_MS },
  idle: { type: 'warning', autoClose: false },
  ending: { type: 'warning', autoClose: false }
};

export const notificationsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'fastgpu-jupyter:notifications',
  description:
    'Notifies when a GPU was granted after a wait, failed or was taken back, or when a limit is near.',
  autoStart: true,
  requires: [ILeaseManager],
  optional: [ITranslator, IGrantNotifier],
  activate: (
    app: JupyterFrontEnd,
    manager: ILeaseManager,
    translator: ITranslator | null,
    notifier: IGrantNotifier | null
  ): void => {
    const used = translator ?? nullTranslator;
    const trans = used.load(TRANSLATION_DOMAIN);
    const waited = new Set<string>();
    /** The notifications about budgets, which are removed when they no longer hold. */
    const budgets = new Map<string, string>();
    /** The notifications about idle leases by lease, which are removed when the lease is used or the step is taken. */
    const idle = new Map<string, string>();
    let before = manager.state.leases;

    const onChanged = () => {
      const { leases } = manager.state;
      if (leases === before) {
        return;
      }
      const transitions = findTransitions(before, leases, waited);
      before = leases;
      if (budgets.size > 0) {
        dismissOthers(budgets, new Set(leases.map(budgetKey)));
      }
      if (idle.size > 0) {
        const announced = leases.filter(
          lease => lease.idle.message !== null && lease.idle.snoozed_until === null
        );
        dismissOthers(idle, new Set(announced.map(({ id }) => id)));
      }
      for (const { kind, lease } of transitions) {
        if (kind === 'granted') {
          // In the notebook itself the cell that continues is notification enough.
          if (!isShown(app.shell, lease.holder.kernel_id) && !notifier?.handles(lease.id)) {
            notifyGranted(app, lease, trans);
          }
          continue;
        }
        if (kind === 'idle') {
          const shown = idle.get(lease.id);
          if (shown !== undefined) {
            Notification.dismiss(shown);
          }
          const actions = idleActions(app, manager, lease, trans);
          idle.set(lease.id, notify(app, { kind, lease }, trans, used.languageCode, actions));
          continue;
        }
        const id = notify(app, { kind, lease }, trans, used.languageCode);
        const key = kind === 'budget' ? budgetKey(lease) : null;
        if (key !== null) {
          budgets.set(key, id);
        }
      }
    };
    manager.changed.connect(onChanged);
    onChanged();
  }
};

/** Dismiss the notifications whose key no lease has any more. */
function dismissOthers(shown: Map<string, string>, current: ReadonlySet<string | null>): void {
  for (const [key, id] of shown) {
    if (!current.has(key)) {
      shown.delete(key);
      Notification.dismiss(id);
    }
  }
}

function notify(
  app: JupyterFrontEnd,
  { kind, lease }: ILeaseTransition & { readonly kind: keyof typeof TOASTS },
  trans: TranslationBundle,
  language: string,
  actions: ReadonlyArray<Notification.IAction> = []
): string {
  const { text, isShortened } = toastText(transitionText({ kind, lease }, trans, language));
  const { type, autoClose } = TOASTS[kind];
  const details = {
    label: trans.__('Details'),
    caption: trans.__('Show your GPU leases'),
    callback: () => {
      if (app.commands.hasCommand(CommandIDs.openPanel)) {
        void app.commands.execute(CommandIDs.openPanel);
      }
    }
  };
  return Notification.emit(text, type, { autoClose, actions: actions.length === 0 && isShortened ? [details] : [...actions] });
}

/** Return what can be done about an idle lease from its notification. */
function idleActions(
  app: JupyterFrontEnd,
  manager: ILeaseManager,
  lease: LeaseView,
  trans: TranslationBundle
): ReadonlyArray<Notification.IAction> {
  if (!manager.canAct) {
    return [];
  }
  const failed = (reason: unknown) => void showFailure(trans.__('Nothing was changed'), reason, trans);
  const snooze = {
    label: trans.__('Snooze %1', snoozeText(SNOOZES_MS[0])),
    callback: () => void manager.change(lease.id, 'snooze', { for_ms: SNOOZES_MS[0] }).catch(failed)
  };
  const park = {
    label: trans.__('Park now'),
    callback: () => void manager.requestAction(lease.id, 'park').catch(failed)
  };
  const release = {
    label: trans.__('Release…'),
    callback: () => void app.commands.execute(CommandIDs.releaseLease, { leaseId: lease.id })
  };
  const canRelease = app.commands.hasCommand(CommandIDs.releaseLease);
  return [snooze, ...(lease.parking.parkable ? [park] : []), ...(canRelease ? [release] : [])];
}

function notifyGranted(app: JupyterFrontEnd, lease: LeaseView, trans: TranslationBundle): void {
  const name = toastName(notebookName(lease.holder, trans));
  Notification.success(trans.__('The GPU for “%1” is ready.', name), {
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
