/**
 * The sentences of the page: what a state, a reason or a failure means, and what to do about it.
 *
 * Pure. Takes the translator's bundle, so that every string goes through it.
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
import type { Change, ILease, LeaseState } from '../leases/lease';
import { isAway, isOpen, isPinned } from '../leases/lease';
import type { IEntitlement } from '../leases/quota';

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

export function stateMeaning(state: LeaseState, trans: TranslationBundle): string {
  switch (state) {
    case 'waiting':
      return trans.__('Waits in the queue for a GPU. The kernel runs already.');
    case 'preparing':
      return trans.__('A GPU is found and is being made ready.');
    case 'active':
      return trans.__('The GPU is yours.');
    case 'parking':
      return trans.__('The GPU memory is being moved to host memory.');
    case 'parked':
      return trans.__(
        'The GPU memory is kept in host memory. The next cell asks for a GPU again; nothing is billed meanwhile.'
      );
    case 'resuming':
      return trans.__('The GPU memory is being brought back.');
    case 'draining':
      return trans.__('The GPU is given back as soon as nothing is left in its memory.');
    case 'ended':
      return trans.__('The lease has ended.');
  }
}

/** Why a lease is parked, as a sentence. */
export function parkReason(reason: string | null, trans: TranslationBundle): string {
  switch (reason) {
    case 'asked':
      return trans.__('Parked because you asked for it.');
    case 'idle':
      return trans.__('Parked while it was idle, because somebody waited.');
    case 'priority':
      return trans.__('Parked for a request of a higher priority.');
    case 'guarantee':
      return trans.__('Parked for somebody who had less than is guaranteed.');
    case 'fairness':
      return trans.__('Parked because its turn was over and somebody waited.');
    case 'over_limit':
      return trans.__('Parked because it used more GPU memory than it had.');
    case 'move':
      return trans.__('Parked to go to another GPU, so that somebody else fits.');
    case 'health':
      return trans.__('Parked to go to another GPU, because its own is not well.');
    case 'restart':
      return trans.__('Its GPU is not well: it goes to another one with the restart of its kernel.');
    case 'budget':
      return trans.__('Parked because the money for it is spent.');
    default:
      return trans.__('Parked for others.');
  }
}

/** What a user wants to know of a lease that is away: why, and that nothing is lost. */
export function awayNote(lease: ILease, trans: TranslationBundle): string {
  const reason = parkReason(lease.park_reason, trans);
  return lease.park_reason === 'restart' ? reason : trans.__('%1 Its variables are kept.', reason);
}

/** Whether its cells run, and whether it stays while none does; empty for a lease that is not active. */
export function activityNotes(
  lease: ILease,
  idleFor: string,
  trans: TranslationBundle
): ReadonlyArray<string> {
  if (lease.state !== 'active' || !(lease.parkable || isPinned(lease))) {
    return isPinned(lease) && isOpen(lease) ? [trans.__('pinned')] : [];
  }
  const use = lease.busy ? trans.__('a cell runs') : trans.__('idle for %1', idleFor);
  return isPinned(lease) ? [trans.__('pinned'), use] : [use];
}

/** A change that can be asked of a lease, as a button's label, what a screen reader says, and what it means. */
export function changeTexts(
  change: Change,
  name: string,
  trans: TranslationBundle
): {
  readonly label: string;
  readonly aria: string;
  readonly title: string;
  readonly failed: string;
} {
  switch (change) {
    case 'move':
      return {
        label: trans.__('Move'),
        aria: trans.__('Move %1 to another GPU', name),
        title: trans.__(
          'Leave this GPU, which is not well or in service no more, for another one. Where its memory cannot go along, that happens when the kernel is restarted, and what is on the GPU is lost.'
        ),
        failed: trans.__('The lease was not moved')
      };
    case 'park':
      return {
        label: trans.__('Park'),
        aria: trans.__('Park the GPU of %1', name),
        title: trans.__(
          'Give the GPU to others until the next cell runs. Variables and GPU memory are kept; nothing is billed meanwhile.'
        ),
        failed: trans.__('The GPU was not parked')
      };
    case 'resume':
      return {
        label: trans.__('Resume'),
        aria: trans.__('Ask for the GPU of %1 back', name),
        title: trans.__('Ask for a GPU again without running a cell.'),
        failed: trans.__('The GPU was not asked for')
      };
    case 'pin':
      return {
        label: trans.__('Pin'),
        aria: trans.__('Pin the GPU of %1', name),
        title: trans.__(
          'Keep the GPU although no cell runs: it is not parked for others while idle, and billed all the time.'
        ),
        failed: trans.__('The GPU was not pinned')
      };
    case 'unpin':
      return {
        label: trans.__('Unpin'),
        aria: trans.__('Unpin the GPU of %1', name),
        title: trans.__('Let others have the GPU while no cell runs here.'),
        failed: trans.__('The GPU was not unpinned')
      };
  }
}

export function endReason(reason: string | null, trans: TranslationBundle): string {
  switch (reason) {
    case 'released':
      return trans.__('released');
    case 'cancelled':
      return trans.__('left the queue');
    case 'holder_died':
      return trans.__('the kernel ended');
    case 'revoked':
      return trans.__('taken back by an operator');
    case 'device_lost':
      return trans.__('the GPU was lost');
    case 'prepare_failed':
      return trans.__('the GPU could not be made ready');
    case 'resume_failed':
      return trans.__('its parked memory could not be brought back');
    case 'over_limit':
      return trans.__('it used more GPU memory than it had');
    case 'expired':
      return trans.__('it waited as long as was allowed');
    default:
      return reason ?? trans.__('ended');
  }
}

/** Who keeps the lease within its memory; empty before it has any. */
export function enforcement(
  lease: Pick<ILease, 'enforcement' | 'partition'>,
  trans: TranslationBundle
): string {
  if (lease.partition !== null) {
    return trans.__('The hardware keeps this limit: MIG partition %1.', lease.partition);
  }
  switch (lease.enforcement) {
    case 'hardware':
      return trans.__('The hardware keeps this limit.');
    case 'driver':
      return trans.__('The driver keeps this limit.');
    case 'userspace':
      return trans.__('CUDA keeps this limit, for each process of the kernel.');
    case 'cooperative':
      return trans.__('The framework in the kernel is asked to keep this limit; the pool watches.');
    case 'none':
      return trans.__('Nobody enforces this limit.');
    default:
      return '';
  }
}

/** How the lease is served, in a word or two; empty before it is. */
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

/** What became of what it had in device memory, since it ended or was parked; null where nothing is said. */
export function scrubNote(
  lease: Pick<ILease, 'scrub' | 'scrub_bytes' | 'scrub_detail'>,
  trans: TranslationBundle,
  language: string
): string | null {
  const said = (() => {
    switch (lease.scrub) {
      case null:
        return null;
      case 'gone':
        return trans.__('No process has its GPU memory any more.');
      case 'device_gone':
        return trans.__('Its GPU is gone, with all memory.');
      case 'overwritten':
        return lease.scrub_bytes === null
          ? trans.__('Its GPU memory was overwritten.')
          : trans.__('Its GPU memory was overwritten (%1).', formatMemory(lease.scrub_bytes, language));
      default:
        return lease.scrub;
    }
  })();
  return [said, lease.scrub_detail].filter(Boolean).join(' ') || null;
}

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

/** The lease of the current notebook in one line. */
export function oneLine(
  lease: ILease | null,
  trans: TranslationBundle,
  language: string
): string {
  if (lease === null || !isOpen(lease)) {
    return trans.__('No GPU lease');
  }
  if (lease.state === 'waiting' && isAway(lease)) {
    return lease.place === null
      ? trans.__('GPU: parked, wanted back')
      : trans.__('GPU: parked, wanted back, place %1', lease.place);
  }
  if (lease.state === 'waiting') {
    return lease.place === null
      ? trans.__('GPU: waiting')
      : trans.__('GPU: waiting, place %1', lease.place);
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

/** What a user, or the user's group, holds of what it may hold, in GPUs. */
export function quotaNote(
  one: IEntitlement,
  trans: TranslationBundle,
  language: string
): string {
  const gpus = (milli: number) => formatGPUs(milli, language);
  const held = gpus(one.held_milli);
  const who = one.isGroup ? trans.__('Group %1', one.name) : trans.__('You');
  if (one.limit_milli === null) {
    return trans.__('%1: %2 GPUs held, %3 guaranteed', who, held, gpus(one.guaranteed_milli));
  }
  const limit = gpus(one.limit_milli);
  return one.guaranteed_milli > 0
    ? trans.__('%1: %2 of %3 GPUs held, %4 guaranteed', who, held, limit, gpus(one.guaranteed_milli))
    : trans.__('%1: %2 of %3 GPUs held', who, held, limit);
}

/** What the release of a lease means, before it is done. */
export function releaseQuestion(
  lease: ILease,
  trans: TranslationBundle
): { readonly title: string; readonly body: string; readonly accept: string } {
  const name = notebookName(lease, trans);
  if (lease.state === 'waiting' && !isAway(lease)) {
    return {
      title: trans.__('Leave the queue?'),
      body: trans.__(
        '“%1” gives up its place in the queue. Its kernel and variables stay; cells that run after this have no GPU.',
        name
      ),
      accept: trans.__('Leave the queue')
    };
  }
  if (isAway(lease)) {
    return {
      title: trans.__('Give the parked GPU up?'),
      body: trans.__(
        'What “%1” had on its GPU is lost. Its kernel and its other variables stay; restart the kernel before it uses a GPU again.',
        name
      ),
      accept: trans.__('Give it up')
    };
  }
  return {
    title: trans.__('Release the GPU?'),
    body: trans.__(
      'The kernel and the Python variables of “%1” stay; cells that run after this have no GPU. The GPU goes to the next in the queue once this kernel has no memory left on it: what it allocated there is given back when it restarts.',
      name
    ),
    accept: trans.__('Release')
  };
}
