/**
 * Sentences about a lease: its state, the reasons of its changes, and the actions that a user can request.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import {
  baseName,
  formatGPUs,
  formatMemory,
  formatMemoryOf,
  formatMoney,
  formatPercent,
  shortModel
} from './format';
import type { LeaseAction, ILease, LeaseState } from '../leases/lease';
import { isParkedOrReturning, isOpen, isPinned } from '../leases/lease';
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

/** Return why a lease was parked, as a sentence. */
export function parkReason(reason: string | null, trans: TranslationBundle): string {
  switch (reason) {
    case 'asked':
      return trans.__('Parked at your request.');
    case 'idle':
      return trans.__('Parked while idle, because another request was waiting.');
    case 'priority':
      return trans.__('Parked for a request with a higher priority.');
    case 'guarantee':
      return trans.__('Parked for a user below their guaranteed share.');
    case 'fairness':
      return trans.__('Parked because its share of time was used and another request was waiting.');
    case 'over_limit':
      return trans.__('Parked because it exceeded its memory limit.');
    case 'move':
      return trans.__('Parked to migrate to another GPU, so that a waiting request fits.');
    case 'health':
      return trans.__('Parked to migrate to another GPU, because its GPU is unhealthy.');
    case 'restart':
      return trans.__('Its GPU is unhealthy; the lease migrates to another GPU when its kernel restarts.');
    case 'budget':
      return trans.__('Parked because its budget is used up.');
    default:
      return trans.__('Parked for another request.');
  }
}

/** Return why a lease was parked, and that its variables are preserved. */
export function parkedNote(lease: ILease, trans: TranslationBundle): string {
  const reason = parkReason(lease.park_reason, trans);
  return lease.park_reason === 'restart' ? reason : trans.__('%1 Variables are preserved.', reason);
}

/** Return whether a cell runs and whether the lease is pinned; empty if neither applies in the lease's state. */
export function activityNotes(
  lease: ILease,
  idleFor: string,
  trans: TranslationBundle
): ReadonlyArray<string> {
  if (lease.state !== 'active' || !(lease.parkable || isPinned(lease))) {
    return isPinned(lease) && isOpen(lease) ? [trans.__('pinned')] : [];
  }
  const activity = lease.busy ? trans.__('running a cell') : trans.__('idle for %1', idleFor);
  return isPinned(lease) ? [trans.__('pinned'), activity] : [activity];
}

/** Return the texts of an action: its button, its accessible name, its description and the title of its failure. */
export function actionTexts(
  action: LeaseAction,
  name: string,
  trans: TranslationBundle
): {
  readonly label: string;
  readonly aria: string;
  readonly title: string;
  readonly failed: string;
} {
  switch (action) {
    case 'move':
      return {
        label: trans.__('Move'),
        aria: trans.__('Move %1 to another GPU', name),
        title: trans.__(
          'Migrate the lease from this GPU, which is unhealthy or drained, to another one. If its memory cannot be migrated, this happens when the kernel restarts, and the contents of GPU memory are lost.'
        ),
        failed: trans.__('The lease was not moved')
      };
    case 'park':
      return {
        label: trans.__('Park'),
        aria: trans.__('Park the GPU of %1', name),
        title: trans.__(
          'Make the GPU available to others until the next cell runs. Variables and GPU memory are preserved; parked time is not billed.'
        ),
        failed: trans.__('The GPU was not parked')
      };
    case 'resume':
      return {
        label: trans.__('Resume'),
        aria: trans.__('Resume the GPU of %1', name),
        title: trans.__('Request a GPU again without running a cell.'),
        failed: trans.__('The GPU was not requested')
      };
    case 'pin':
      return {
        label: trans.__('Pin'),
        aria: trans.__('Pin the GPU of %1', name),
        title: trans.__(
          'Keep the GPU while no cell runs: an idle lease is not parked for others, and its time is billed.'
        ),
        failed: trans.__('The GPU was not pinned')
      };
    case 'unpin':
      return {
        label: trans.__('Unpin'),
        aria: trans.__('Unpin the GPU of %1', name),
        title: trans.__('Allow the GPU to be parked for others while no cell runs.'),
        failed: trans.__('The GPU was not unpinned')
      };
  }
}

/** Return why a lease ended, as part of a sentence. */
export function endReason(reason: string | null, trans: TranslationBundle): string {
  switch (reason) {
    case 'released':
      return trans.__('released');
    case 'cancelled':
      return trans.__('left the queue');
    case 'holder_died':
      return trans.__('the kernel ended');
    case 'revoked':
      return trans.__('revoked by an operator');
    case 'device_lost':
      return trans.__('the GPU was lost');
    case 'prepare_failed':
      return trans.__('the GPU could not be prepared');
    case 'resume_failed':
      return trans.__('its parked memory could not be restored');
    case 'over_limit':
      return trans.__('it exceeded its memory limit');
    case 'expired':
      return trans.__('its maximum waiting time passed');
    default:
      return reason ?? trans.__('ended');
  }
}

/** Return how the memory limit of a lease is enforced; empty before the lease has a limit. */
export function memoryLimitText(
  lease: Pick<ILease, 'enforcement' | 'partition' | 'simulated'>,
  trans: TranslationBundle
): string {
  if (lease.partition !== null) {
    return trans.__('enforced by hardware (MIG partition %1)', lease.partition);
  }
  switch (lease.enforcement) {
    case 'hardware':
      return trans.__('enforced by hardware');
    case 'driver':
      return trans.__('enforced by the driver');
    case 'userspace':
      return trans.__('enforced by CUDA, for each process of the kernel');
    case 'cooperative':
      return trans.__('cooperative: set in the kernel’s framework, monitored by the pool manager');
    case 'none':
      return lease.simulated ? trans.__('not enforced (simulated)') : trans.__('not enforced');
    default:
      return '';
  }
}

/** Return the name of a lease's mechanism; empty before it has one. */
export function mechanismName(
  lease: Pick<ILease, 'mechanism' | 'partition'>,
  trans: TranslationBundle
): string {
  switch (lease.mechanism) {
    case null:
      return '';
    case 'exclusive':
      return trans.__('Whole GPU');
    case 'mig':
      return lease.partition === null ? trans.__('MIG') : trans.__('MIG %1', lease.partition);
    case 'shared':
      return trans.__('Shared GPU');
    case 'mps':
      return trans.__('MPS');
    case 'simulated':
      return trans.__('Simulated');
    default:
      return lease.mechanism;
  }
}

/** Return what happened to the device memory of a lease that ended or was parked; null if nothing is known. */
export function scrubNote(
  lease: Pick<ILease, 'scrub' | 'scrub_bytes' | 'scrub_detail'>,
  trans: TranslationBundle,
  language: string
): string | null {
  const result = (() => {
    switch (lease.scrub) {
      case null:
        return null;
      case 'gone':
        return trans.__('All its GPU memory was freed.');
      case 'device_gone':
        return trans.__('Its GPU is missing, with all memory.');
      case 'overwritten':
        return lease.scrub_bytes === null
          ? trans.__('Its GPU memory was overwritten.')
          : trans.__('Its GPU memory was overwritten (%1).', formatMemory(lease.scrub_bytes, language));
      default:
        return lease.scrub;
    }
  })();
  return [result, lease.scrub_detail].filter(Boolean).join(' ') || null;
}

/** Return the file name of a notebook; if there is none, the name of its kernel. */
export function notebookName(
  item: { readonly notebook: string | null; readonly kernel_id?: string | null },
  trans: TranslationBundle
): string {
  if (item.notebook !== null && item.notebook !== '') {
    return baseName(item.notebook);
  }
  return item.kernel_id
    ? trans.__('kernel %1', item.kernel_id.slice(0, 8))
    : trans.__('without a notebook');
}

/** Return the text of the status bar item. */
export function statusBarText(
  lease: ILease | null,
  trans: TranslationBundle,
  language: string
): string {
  if (lease === null || !isOpen(lease)) {
    return trans.__('No GPU lease');
  }
  if (lease.state === 'waiting' && isParkedOrReturning(lease)) {
    return lease.place === null
      ? trans.__('GPU: parked, waiting to resume')
      : trans.__('GPU: parked, waiting to resume, position %1', lease.place);
  }
  if (lease.state === 'waiting') {
    return lease.place === null
      ? trans.__('GPU: waiting')
      : trans.__('GPU: waiting, position %1', lease.place);
  }
  if (lease.state !== 'active') {
    return trans.__('GPU: %1', stateName(lease.state, trans).toLowerCase());
  }
  const model = shortModel(lease.device_model ?? trans.__('device'));
  const parts = [
    lease.utilization_percent === null
      ? trans.__('GPU %1', model)
      : trans.__('GPU %1 %2', model, formatPercent(lease.utilization_percent, language))
  ];
  if (lease.memory_used_bytes !== null && lease.memory_bytes !== null) {
    parts.push(formatMemoryOf(lease.memory_used_bytes, lease.memory_bytes, language));
  }
  parts.push(formatMoney(lease.cost_micro, lease.currency, language));
  if (isPinned(lease)) {
    parts.push(trans.__('pinned'));
  }
  if (lease.simulated) {
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
  lease: ILease,
  trans: TranslationBundle
): { readonly title: string; readonly body: string; readonly accept: string } {
  const name = notebookName(lease, trans);
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
  return {
    title: trans.__('Release the GPU?'),
    body: trans.__(
      'The kernel and the Python variables of “%1” are preserved; cells that run afterwards have no GPU. The GPU is granted to the next request in the queue once this kernel has no memory left on it; memory that it allocated there is freed when it restarts.',
      name
    ),
    accept: trans.__('Release')
  };
}
