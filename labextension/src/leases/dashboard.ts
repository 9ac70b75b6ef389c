/** The numbers of the dashboard: totals, the parts of each device, and the rows of its file. Pure. */

import type { AllocationView, DeviceView, LeaseView } from '../generated/api';
import type { IPoolState } from './lease';
import { byId, isGranting } from './lease';

/** A part of a device's memory: a lease, or what is left. */
export interface IDevicePart {
  readonly kind: 'mine' | 'other' | 'free';
  readonly bytes: number;
  /** The part of the bar, from 0 to 1. */
  readonly width: number;
  /** Null for free memory. */
  readonly allocation: AllocationView | null;
  /** The user's own lease; null if it is another user's. */
  readonly lease: LeaseView | null;
}

/** Return the parts of a device's memory: the user's leases, those of others, and the rest. */
export function deviceParts(
  device: DeviceView,
  leases: ReadonlyMap<string, LeaseView>
): ReadonlyArray<IDevicePart> {
  const held = device.allocations.filter(({ memory_bytes }) => memory_bytes > 0);
  const leased = held.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0);
  // Leases without a memory limit may add up to more than the device; the bar then shows proportions.
  const total = Math.max(device.memory.total_bytes, leased, 1);
  const parts = [...held]
    .sort((a, b) => Number(b.mine) - Number(a.mine))
    .map(
      (allocation): IDevicePart => ({
        kind: allocation.mine ? 'mine' : 'other',
        bytes: allocation.memory_bytes,
        width: allocation.memory_bytes / total,
        allocation,
        lease: allocation.lease_id === null ? null : (leases.get(allocation.lease_id) ?? null)
      })
    );
  const bytes = total - leased;
  return bytes > 0
    ? [...parts, { kind: 'free', bytes, width: bytes / total, allocation: null, lease: null }]
    : parts;
}

/** The sums over all devices. */
export interface ITotals {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** Return the sums over all devices; free is what can be granted. */
export function totalsOf(devices: ReadonlyArray<DeviceView>): ITotals {
  return {
    totalBytes: devices.reduce((sum, { memory }) => sum + memory.total_bytes, 0),
    freeBytes: devices
      .filter(isGranting)
      .reduce((sum, { memory }) => sum + memory.free_bytes, 0)
  };
}

/** Return the rows of the file: a heading, and a row for each part of each device. */
export function dashboardRows(state: IPoolState): ReadonlyArray<ReadonlyArray<string | number | null>> {
  const leases = byId(state.leases);
  const heading = [
    'device_index', 'device_id', 'model', 'health', 'drained', 'utilization_percent', 'memory_used_bytes',
    'memory_total_bytes', 'holder', 'lease_id', 'notebook', 'size', 'state', 'leased_bytes', 'cost_micro', 'currency'
  ];
  const rows = state.devices.flatMap(device =>
    deviceParts(device, leases).map(({ kind, bytes, allocation, lease }) => [
      device.index,
      device.id,
      device.model,
      device.health.state,
      String(device.drained),
      device.usage.utilization_percent,
      device.memory.used_bytes,
      device.memory.total_bytes,
      kind === 'mine' ? 'yours' : kind === 'other' ? 'others' : 'free',
      allocation?.lease_id ?? null,
      allocation?.notebook ?? null,
      lease?.request.size ?? null,
      allocation?.state ?? null,
      bytes,
      lease?.money.cost_micro ?? null,
      lease?.money.currency ?? null
    ])
  );
  return [heading, ...rows];
}
