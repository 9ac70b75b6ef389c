/**
 * What is said of a device: its health, who is on it, and who is on it without a lease.
 *
 * Pure. Takes the translator's bundle, so that every string goes through it.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import { formatMemory } from './format';
import type { IDevice, IForeign, IHolding, LeaseState } from '../leases/lease';
import { LEASE_STATES } from '../leases/lease';
import { notebookName, stateName } from './lease';

/** Its health or its drain in a word: what keeps it from being granted, the worst first. */
export function healthName(
  device: Pick<IDevice, 'health' | 'health_reason' | 'drained'>,
  trans: TranslationBundle
): { readonly kind: 'ok' | 'warning' | 'error'; readonly name: string; readonly meaning: string } {
  if (device.health === 'faulty') {
    return {
      kind: 'error',
      name: trans.__('faulty'),
      meaning: device.health_reason ?? trans.__('Nothing is granted on this device.')
    };
  }
  if (device.drained) {
    return {
      kind: 'warning',
      name: trans.__('drained'),
      meaning: trans.__('Running leases stay; nothing new is granted here.')
    };
  }
  return device.health === 'suspect'
    ? {
        kind: 'warning',
        name: trans.__('suspect'),
        meaning: device.health_reason ?? trans.__('Nothing new is granted on this device.')
      }
    : { kind: 'ok', name: trans.__('healthy'), meaning: trans.__('New leases can be granted here.') };
}

/** As far as the viewer may know. */
export function holdingName(holding: IHolding, trans: TranslationBundle): string {
  if (holding.mine) {
    return trans.__('%1 (you)', notebookName(holding, trans));
  }
  return holding.tenant ?? trans.__('somebody else');
}

export function holdingState(holding: IHolding, trans: TranslationBundle): string {
  const known = LEASE_STATES.find(state => state === holding.state);
  return known === undefined ? holding.state : stateName(known satisfies LeaseState, trans).toLowerCase();
}

/** The processes without a lease: each by itself, or where there are several all in one sentence. */
export function foreignNotes(
  device: Pick<IDevice, 'foreign'>,
  each: boolean,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { foreign } = device;
  const memory = (bytes: number | null) =>
    bytes === null ? trans.__('unknown') : formatMemory(bytes, language);
  if (each || foreign.length < 2) {
    return foreign.map(one =>
      trans.__(
        'Process %1 of %2 has memory here (%3) and no lease of this GPU.',
        one.pid,
        one.user,
        memory(one.memory_bytes)
      )
    );
  }
  return [
    trans.__(
      '%1 processes have memory here (%2) and no lease of this GPU.',
      foreign.length,
      memory(sum(foreign))
    )
  ];
}

/** Not known where one is not: what is known would be too little. */
function sum(foreign: ReadonlyArray<IForeign>): number | null {
  return foreign.reduce<number | null>(
    (total, { memory_bytes }) => (total === null || memory_bytes === null ? null : total + memory_bytes),
    0
  );
}
