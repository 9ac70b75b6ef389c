/**
 * Sentences about a device: its health, the leases on it, and processes that use it without a lease.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IDevice, IForeignProcess, IHolding, LeaseState } from '../leases/lease';
import { LEASE_STATES } from '../leases/lease';
import { formatMemory } from './format';
import { notebookName, stateName } from './lease';

/** Return the worst known condition of a device: its health, or that it is drained. */
export function healthName(
  device: Pick<IDevice, 'health' | 'health_reason' | 'drained'>,
  trans: TranslationBundle
): {
  readonly kind: 'ok' | 'warning' | 'error';
  readonly name: string;
  readonly description: string;
} {
  if (device.health === 'faulty') {
    return {
      kind: 'error',
      name: trans.__('faulty'),
      description: device.health_reason ?? trans.__('No leases are granted on this device.')
    };
  }
  if (device.drained) {
    return {
      kind: 'warning',
      name: trans.__('drained'),
      description: trans.__('Running leases continue; no new leases are granted on this device.')
    };
  }
  return device.health === 'suspect'
    ? {
        kind: 'warning',
        name: trans.__('suspect'),
        description:
          device.health_reason ?? trans.__('No new leases are granted on this device.')
      }
    : {
        kind: 'ok',
        name: trans.__('healthy'),
        description: trans.__('New leases can be granted on this device.')
      };
}

/** Return the name of a holding, as far as the viewer may know it. */
export function holdingName(holding: IHolding, trans: TranslationBundle): string {
  if (holding.mine) {
    return trans.__('%1 (you)', notebookName(holding, trans));
  }
  return holding.tenant ?? trans.__('another user');
}

/** Return the name of a holding's lease state; an unknown state is returned as it is. */
export function holdingStateName(holding: IHolding, trans: TranslationBundle): string {
  const known = LEASE_STATES.find(state => state === holding.state);
  return known === undefined
    ? holding.state
    : stateName(known satisfies LeaseState, trans).toLowerCase();
}

/**
 * Return the notes about processes that use a device without a lease.
 *
 * @param separate - Whether each process has a note of its own; otherwise several share one.
 */
export function foreignProcessNotes(
  device: Pick<IDevice, 'foreign'>,
  separate: boolean,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { foreign } = device;
  const memory = (bytes: number | null) =>
    bytes === null ? trans.__('unknown') : formatMemory(bytes, language);
  if (separate || foreign.length < 2) {
    return foreign.map(process =>
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
      foreign.length,
      memory(totalMemory(foreign))
    )
  ];
}

/** Return the memory of all processes; null if that of any is unknown, because the sum would be too small. */
function totalMemory(processes: ReadonlyArray<IForeignProcess>): number | null {
  return processes.reduce<number | null>(
    (total, { memory_bytes }) =>
      total === null || memory_bytes === null ? null : total + memory_bytes,
    0
  );
}
