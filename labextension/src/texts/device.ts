/**
 * Sentences about a device: its health, the leases on it, and processes that use it without a lease.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { AllocationView, DeviceView, UnleasedProcessView } from '../generated/api';
import { formatMemory } from './format';
import { notebookName } from './lease';
import { messageText, withoutMarkup } from './message';

/** Return the worst known condition of a device: that it is missing, its health, or that it is drained. */
export function healthName(
  device: Pick<DeviceView, 'health' | 'drained'>,
  trans: TranslationBundle,
  language: string
): {
  readonly kind: 'ok' | 'warning' | 'error';
  readonly name: string;
  readonly description: string;
} {
  const { state, message } = device.health;
  const reason = message === null ? null : withoutMarkup(messageText(message, trans, language));
  if (state === 'missing') {
    return {
      kind: 'error',
      name: trans.__('missing'),
      description: reason ?? trans.__('Nothing is known of this device. Its leases keep their place.')
    };
  }
  if (state === 'faulty') {
    return {
      kind: 'error',
      name: trans.__('faulty'),
      description: reason ?? trans.__('No leases are granted on this device.')
    };
  }
  if (device.drained) {
    return {
      kind: 'warning',
      name: trans.__('drained'),
      description: trans.__('Running leases continue; no new leases are granted on this device.')
    };
  }
  return state === 'suspect'
    ? {
        kind: 'warning',
        name: trans.__('suspect'),
        description: reason ?? trans.__('No new leases are granted on this device.')
      }
    : {
        kind: 'ok',
        name: trans.__('healthy'),
        description: trans.__('New leases can be granted on this device.')
      };
}

/** Return the name of an allocation's notebook or tenant, as far as the viewer may know it. */
export function allocationName(allocation: AllocationView, trans: TranslationBundle): string {
  if (allocation.mine) {
    return trans.__('%1 (you)', notebookName(allocation, trans));
  }
  return allocation.tenant?.name ?? trans.__('another user');
}

/**
 * Return the notes about processes that use a device without a lease.
 *
 * @param separate - Whether each process has a note of its own; otherwise several share one.
 */
export function unleasedProcessNotes(
  device: Pick<DeviceView, 'unleased_processes'>,
  separate: boolean,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { unleased_processes: processes } = device;
  const memory = (bytes: number | null) =>
    bytes === null ? trans.__('unknown') : formatMemory(bytes, language);
  if (separate || processes.length < 2) {
    return processes.map(process =>
      trans.__(
        'Process %1 of user %2 uses GPU memory (%3) without a lease of this GPU.',
        process.pid,
        process.user,
        memory(process.memory_bytes)
      )
    );
  }
  return [
    trans.__(
      '%1 processes use GPU memory (%2) without a lease of this GPU.',
      processes.length,
      memory(totalMemory(processes))
    )
  ];
}

/** Return the memory of all processes; null if that of any is unknown, because the sum would be too small. */
function totalMemory(processes: ReadonlyArray<UnleasedProcessView>): number | null {
  return processes.reduce<number | null>(
    (total, { memory_bytes }) =>
      total === null || memory_bytes === null ? null : total + memory_bytes,
    0
  );
}
