/**
 * Sentences about a lease: its state, the reasons of its changes, its quota and its release.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import {
  baseName,
  formatDuration,
  formatGPUs,
  formatMemory,
  formatMemoryOf,
  formatMoney,
  formatNumber,
  formatPercent,
  shortModel
} from './format';
import { clusterReleaseTexts } from './cluster';
import { messageText } from './message';
import type { LeaseView, QueueEntryView } from '../generated/api';
import type { LeaseState } from '../generated/lifecycle';
import type { MessageCode } from '../generated/messages';
import { isOnCluster, isParkedOrReturning, isOpen, isPinned, positionOf } from '../leases/lease';
import type { LeaseGroup, LeaseOrder } from '../leases/grouping';
import type { IEntitlement } from '../leases/quota';

/** Return the name of a lease state. */
export function stateName(state: LeaseState, trans: TranslationBundle): string {
  switch (state) {
    case 'waiting':
      return trans.__('Waiting');
    case 'preparing':
      return trans.__('Preparing');
    case 'active':
      return trans.__('Active');
    case 'parking':
      return trans.__('Parking');
    case 'parked':
      return trans.__('Parked');
    case 'resuming':
      return trans.__('Resuming');
    case 'draining':
      return trans.__('Releasing');
    case 'ended':
      return trans.__('Ended');
  }
}

/** Return what a lease state means, as a sentence. */
export function stateDescription(state: LeaseState, trans: TranslationBundle): string {
  switch (state) {
    case 'waiting':
      return trans.__('The request waits in the queue. The kernel is already running.');
    case 'preparing':
      return trans.__('A GPU is granted and is being prepared.');
    case 'active':
      return trans.__('The kernel can use the GPU.');
    case 'parking':
      return trans.__('The GPU memory is being moved to host memory.');
    case 'parked':
      return trans.__(
        'The GPU memory is saved in host memory. The next cell requests a GPU again; parked time is not billed.'
      );
    case 'resuming':
      return trans.__('The saved memory is being moved back to a GPU.');
    case 'draining':
      return trans.__('The GPU becomes free as soon as the kernel has no memory left on it.');
    case 'ended':
      return trans.__('The lease has ended.');
  }
}

/** A lease that migrates with the restart of its kernel loses the kernel's variables. */
const RESTART: MessageCode = 'park.restart';

/** Return why a lease was parked, and that its variables are preserved; empty if it was never parked. */
export function parkedNote(
  { parking: { reason } }: Pick<LeaseView, 'parking'>,
  trans: TranslationBundle,
  language: string
): string {
  if (reason === null) {
    return '';
  }
  const text = messageText(reason, trans, language);
  return reason.code === RESTART
    ? trans.__('Parked: %1', text)
    : trans.__('Parked: %1 Variables are preserved.', text);
}

/** Return whether a cell runs and whether the lease is pinned; empty if neither applies in the lease's state. */
export function activityNotes(
  lease: LeaseView,
  idleFor: string,
  trans: TranslationBundle
): ReadonlyArray<string> {
  if (lease.state !== 'active' || !(lease.parking.parkable || isPinned(lease))) {
    return isPinned(lease) && isOpen(lease) ? [trans.__('pinned')] : [];
  }
  const pinned = isPinned(lease) ? [trans.__('pinned')] : [];
  if (lease.usage.busy === null) {
    return pinned;
  }
  return [...pinned, lease.usage.busy ? trans.__('running a cell') : trans.__('idle for %1', idleFor)];
}

/** Return why a lease ended, as a sentence. */
export function endReason(
  lease: Pick<LeaseView, 'end_reason'>,
  trans: TranslationBundle,
  language: string
): string {
  return lease.end_reason === null
    ? trans.__('It has ended.')
    : messageText(lease.end_reason, trans, language);
}

/** Return how the memory limit of a lease is enforced; empty before the lease has a limit. */
export function memoryLimitText(
  { enforcement, gpu }: Pick<LeaseView, 'enforcement' | 'gpu'>,
  trans: TranslationBundle
): string {
  if (gpu !== null && gpu.partition !== null) {
    return trans.__('enforced by hardware (MIG partition %1)', gpu.partition);
  }
  switch (enforcement.memory_limit) {
    case 'hardware':
      return trans.__('enforced by hardware');
    case 'driver':
      return trans.__('enforced by the driver');
    case 'userspace':
      return trans.__('enforced by the library of the GPU, for each process of the kernel');
    case 'cooperative':
      return trans.__('cooperative: set in the kernel’s framework, monitored by the pool manager');
    case 'none':
      return gpu?.simulated ? trans.__('not enforced (simulated)') : trans.__('not enforced');
    case null:
      return '';
  }
}

/** Return the name of the mechanism of a logical GPU. */
export function mechanismName(
  { mechanism, partition }: Pick<NonNullable<LeaseView['gpu']>, 'mechanism' | 'partition'>,
  trans: TranslationBundle
): string {
  switch (mechanism) {
    case 'exclusive':
      return trans.__('Whole GPU');
    case 'mig':
      return partition === null ? trans.__('MIG') : trans.__('MIG %1', partition);
    case 'shared':
      return trans.__('Shared GPU');
    case 'mps':
      return trans.__('MPS');
    case 'simulated':
      return trans.__('Simulated');
    case 'cluster':
      return trans.__('On the cluster');
  }
}

/** Return what happened to the device memory of a lease that ended or was parked; null if nothing is known. */
export function scrubNote(
  { scrub }: Pick<LeaseView, 'scrub'>,
  trans: TranslationBundle,
  language: string
): string | null {
  if (scrub === null) {
    return null;
  }
  const result = scrubResult(scrub, trans, language);
  return scrub.message === null
    ? result
    : `${result} ${messageText(scrub.message, trans, language)}`;
}

function scrubResult(
  { result, bytes }: NonNullable<LeaseView['scrub']>,
  trans: TranslationBundle,
  language: string
): string {
  switch (result) {
    case 'gone':
      return trans.__('All its GPU memory was freed.');
    case 'device_gone':
      return trans.__('Its GPU is missing, with all memory.');
    case 'unknown':
      return trans.__('Whether its GPU memory was freed cannot be seen.');
    case 'overwritten':
      return bytes === null
        ? trans.__('Its GPU memory was overwritten.')
        : trans.__('Its GPU memory was overwritten (%1).', formatMemory(bytes, language));
  }
}

/** Return the messages about a lease that is not waiting, or the pending reason of one that is. */
export function leaseNotes(
  lease: Pick<LeaseView, 'queue' | 'notes'>,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { queue, notes } = lease;
  const holder = queue === null || queue.holder === null ? [] : [queue.holder.message];
  const messages = queue === null ? notes : [queue.reason, ...holder, ...notes];
  return messages.map(message => messageText(message, trans, language));
}

/** Return when the lease that has the GPU is parked, counted down; empty if that is not known, or past. */
export function countdownText(
  { holder }: Pick<QueueEntryView, 'holder'>,
  now: number,
  trans: TranslationBundle,
  language: string
): string {
  if (holder === null || holder.yields_at === null || holder.yields_at <= now) {
    return '';
  }
  const wait_ms = 1000 * Math.ceil((holder.yields_at - now) / 1000);
  const code: MessageCode = 'holder.yields_in';
  return messageText({ code, params: { wait_ms }, text: '' }, trans, language);
}

/** Return when a waiting request is expected to be granted, and what that is based on, as a sentence. */
export function estimateText(
  { estimate_ms, estimate_basis }: Pick<QueueEntryView, 'estimate_ms' | 'estimate_basis'>,
  trans: TranslationBundle,
  language: string
): string {
  const basis = messageText(estimate_basis, trans, language);
  return estimate_ms === null
    ? trans.__('Expected wait: unknown (%1).', basis)
    : trans.__('Expected wait: about %1 (%2).', formatDuration(estimate_ms), basis);
}

/** Return the name of a group of leases. */
export function groupName(group: LeaseGroup, trans: TranslationBundle): string {
  switch (group) {
    case 'waiting':
      return trans.__('Waiting');
    case 'active':
      return trans.__('Active');
    case 'parked':
      return trans.__('Parked');
    case 'ended':
      return trans.__('Ended in the last hour');
  }
}

/** Return the number of leases of a group, with what they cost an hour if that is of interest. */
export function groupNote(
  { group, count, rateMicro }: { readonly group: LeaseGroup; readonly count: number; readonly rateMicro: number },
  currency: string,
  trans: TranslationBundle,
  language: string
): string {
  const leases = formatNumber(count, 0, 0, language);
  switch (group) {
    case 'active':
      return trans.__('%1 · %2 per hour', leases, formatMoney(rateMicro, currency, language));
    case 'parked':
      return trans.__('%1 · nothing is billed', leases);
    case 'waiting':
    case 'ended':
      return leases;
  }
}

/** Return the name of an order of leases. */
export function orderName(order: LeaseOrder, trans: TranslationBundle): string {
  switch (order) {
    case 'newest':
      return trans.__('Newest');
    case 'name':
      return trans.__('Name');
    case 'cost':
      return trans.__('Highest cost');
    case 'utilization':
      return trans.__('Utilization');
  }
}

/** Return the file name of a notebook; if there is none, the name of its kernel. */
export function notebookName(
  item: {
    readonly notebook: string | null;
    readonly job?: string | null;
    readonly kernel_id?: string | null;
  },
  trans: TranslationBundle
): string {
  if (item.job) {
    return item.job;
  }
  if (item.notebook !== null && item.notebook !== '') {
    return baseName(item.notebook);
  }
  return item.kernel_id
    ? trans.__('kernel %1', item.kernel_id.slice(0, 8))
    : trans.__('without a notebook');
}

/** Return the text of the status bar item. */
export function statusBarText(
  lease: LeaseView | null,
  trans: TranslationBundle,
  language: string
): string {
  if (lease === null || !isOpen(lease)) {
    return trans.__('No GPU lease');
  }
  if (lease.state === 'waiting' && isOnCluster(lease)) {
    const position = positionOf(lease);
    return position === null ? trans.__('GPU: waiting') : trans.__('GPU: waiting, position %1', position);
  }
  if (lease.queue !== null) {
    const waiting = isParkedOrReturning(lease)
      ? trans.__('GPU: parked, waiting to resume, position %1', lease.queue.position)
      : trans.__('GPU: waiting, position %1', lease.queue.position);
    return lease.queue.estimate_ms === null
      ? waiting
      : trans.__('%1, about %2', waiting, formatDuration(lease.queue.estimate_ms));
  }
  if (lease.state !== 'active') {
    return trans.__('GPU: %1', stateName(lease.state, trans).toLowerCase());
  }
  const model = shortModel(lease.gpu?.model ?? trans.__('device'));
  const parts = [
    lease.usage.utilization_percent === null
      ? trans.__('GPU %1', model)
      : trans.__('GPU %1 %2', model, formatPercent(lease.usage.utilization_percent, language))
  ];
  if (lease.memory.used_bytes !== null && lease.memory.limit_bytes !== null) {
    parts.push(formatMemoryOf(lease.memory.used_bytes, lease.memory.limit_bytes, language));
  }
  parts.push(formatMoney(lease.money.cost_micro, lease.money.currency, language));
  if (isPinned(lease)) {
    parts.push(trans.__('pinned'));
  }
  if (lease.gpu?.simulated) {
    parts.push(trans.__('simulated'));
  }
  return parts.join(' · ');
}

/** Return what a user or the user's group holds of its quota, in GPUs. */
export function quotaNote(
  entitlement: IEntitlement,
  trans: TranslationBundle,
  language: string
): string {
  const gpus = (milli: number) => formatGPUs(milli, language);
  const held = gpus(entitlement.held_milli);
  const guaranteed = gpus(entitlement.guaranteed_milli);
  const name = entitlement.isGroup ? trans.__('Group %1', entitlement.name) : trans.__('You');
  if (entitlement.limit_milli === null) {
    return trans.__('%1: %2 GPUs held, %3 guaranteed', name, held, guaranteed);
  }
  const limit = gpus(entitlement.limit_milli);
  return entitlement.guaranteed_milli > 0
    ? trans.__('%1: %2 of %3 GPUs held, %4 guaranteed', name, held, limit, guaranteed)
    : trans.__('%1: %2 of %3 GPUs held', name, held, limit);
}

/** Return the texts of the dialog that confirms a release: what is preserved, and what is lost. */
export function releaseDialogTexts(
  lease: LeaseView,
  trans: TranslationBundle
): { readonly title: string; readonly body: string; readonly accept: string } {
  const name = notebookName(lease.holder, trans);
  if (isOnCluster(lease)) {
    return clusterReleaseTexts(lease, name, trans);
  }
  if (lease.state === 'waiting' && !isParkedOrReturning(lease)) {
    return {
      title: trans.__('Leave the queue?'),
      body: trans.__(
        '“%1” leaves the queue. Its kernel and variables are preserved; cells that run afterwards have no GPU.',
        name
      ),
      accept: trans.__('Leave the queue')
    };
  }
  if (isParkedOrReturning(lease)) {
    return {
      title: trans.__('Release the parked GPU?'),
      body: trans.__(
        'The contents of GPU memory of “%1” are lost. Its kernel and its other variables are preserved; restart the kernel before it uses a GPU again.',
        name
      ),
      accept: trans.__('Release')
    };
  }
  if (lease.usage.busy) {
    return {
      title: trans.__('Release the GPU while a cell runs?'),
      body: trans.__(
        'A cell of “%1” is running. If it uses the GPU, interrupt it first: it keeps the memory that it has there, and no other request is granted it until that is freed, at the latest when the kernel restarts. The kernel and its variables are preserved; cells that run afterwards have no GPU.',
        name
      ),
      accept: trans.__('Release while it runs')
    };
  }
  return {
    title: trans.__('Release the GPU?'),
    body: trans.__(
      'The kernel and the Python variables of “%1” are preserved; cells that run afterwards have no GPU. The GPU is granted to the next request in the queue once this kernel has no memory left on it; memory that it allocated there is freed when it restarts.',
      name
    ),
    accept: trans.__('Release')
  };
}
