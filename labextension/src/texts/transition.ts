/** Sentences about transitions of leases. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { LeaseView, MessageView } from '../generated/api';
import type { ILeaseTransition } from '../leases/transitions';
import { endsAtText } from './cluster';
import { endReason, notebookName, parkedNote } from './lease';
import { messageText } from './message';
import { toastName } from './toast';

/** The message that a transition of a kind carries. */
const MESSAGES: Readonly<Record<'fault' | 'budget' | 'limit' | 'idle' | 'ending', (lease: LeaseView) => MessageView | null>> = {
  fault: lease => lease.health.message,
  budget: lease => lease.money.message,
  limit: lease => lease.enforcement.message,
  idle: lease => lease.idle.message,
  ending: lease => lease.cluster?.message ?? null
};

/** Return what a transition other than a grant tells the user. */
export function transitionText(
  { kind, lease }: ILeaseTransition & { readonly kind: Exclude<ILeaseTransition['kind'], 'granted'> },
  trans: TranslationBundle,
  language: string
): string {
  const name = toastName(notebookName(lease.holder, trans));
  if (kind === 'lost') {
    return trans.__('“%1” has lost its GPU. %2', name, whyLost(lease, trans, language));
  }
  if (kind === 'preempted') {
    return trans.__('“%1”: %2', name, parkedNote(lease, trans, language));
  }
  const message = MESSAGES[kind](lease);
  const text = message === null ? '' : ((kind === 'ending' ? endsAtText(lease, trans, language) : null) ?? messageText(message, trans, language));
  // The budget of a tenant concerns more than one notebook, and its message names the tenant.
  const isOfTenant = kind === 'budget' && message?.params.tenant !== undefined;
  return isOfTenant ? text : trans.__('“%1”: %2', name, text);
}

/** Return why a lease ended; of an idle one the note says for how long it was. */
function whyLost(lease: LeaseView, trans: TranslationBundle, language: string): string {
  const note = lease.end_reason?.code === 'end.idle' ? lease.notes[0] : (lease.cluster?.reason ?? undefined);
  return note === undefined ? endReason(lease, trans, language) : messageText(note, trans, language);
}
