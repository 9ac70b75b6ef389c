/** A source that a test controls, and sizes as the server sends them. */

import type { SizeOption, SizeOptions } from '../../src/generated/api';
import type { ILeaseSource } from '../../src/controls/source';
import { GIB, lease, message, pool } from '../samples';

export function option(size: string, gib: number, changes: Partial<SizeOption> = {}): SizeOption {
  return {
    size,
    devices: 1,
    model: 'NVIDIA A100-SXM4-80GB',
    memory_bytes: gib * GIB,
    rate_micro: gib * 31_250,
    effect: 'now',
    reason: null,
    position: null,
    estimate: null,
    mechanism: null,
    enforcement: null,
    ...changes
  };
}

export const sizes: SizeOptions = {
  lease_id: 'l1',
  applied: 'half',
  requested: 'half',
  models: [],
  options: [
    option('eighth', 10, { effect: 'unavailable', reason: message('31 GiB are in use.') }),
    option('quarter', 20),
    option('half', 40),
    option('full', 80, { effect: 'after_parking' }),
    option('2xa100', 160, { effect: 'needs_restart', devices: 2, rate_micro: null })
  ]
};

export function source(changes: Partial<ILeaseSource> = {}): ILeaseSource {
  return {
    lease: lease(),
    connection: { kind: 'connected' },
    updatedAt: 60_000,
    samples: [],
    pool,
    leases: [],
    queueLength: 3,
    canAct: true,
    isPending: false,
    isGated: true,
    now: () => 60_000,
    changed: () => () => undefined,
    act: () => Promise.resolve(),
    sizes: () => Promise.resolve(sizes),
    refresh: () => undefined,
    ...changes
  };
}
