/** Objects as the server sends them, for all tests. */

import type { IHistory } from '../src/leases/history';
import type { IDevice, ILease, IPool, ISnapshotMessage, IQueueEntry } from '../src/leases/lease';

export const GIB = 1024 ** 3;

export const pool: IPool = {
  version: '0.1.0',
  scope: 'user',
  simulated: true,
  currency: 'USD',
  started_at: 1_000,
  message: null,
  accepting: true,
  counters_silent_since: null
};

export function device(changes: Partial<IDevice> = {}): IDevice {
  return {
    id: 'GPU-1',
    index: 0,
    model: 'NVIDIA A100-SXM4-80GB',
    memory_bytes: 80 * GIB,
    memory_free_bytes: 40 * GIB,
    simulated: true,
    health: 'healthy',
    health_reason: null,
    drained: false,
    mechanisms: ['simulated'],
    rate_micro_per_hour: 2_000_000,
    utilization_percent: 12,
    memory_used_bytes: 3 * GIB,
    holdings: [
      {
        lease_id: 'l1',
        tenant: 'ada',
        notebook: '/home/ada/train.ipynb',
        state: 'active',
        memory_bytes: 40 * GIB,
        mine: true
      }
    ],
    foreign: [],
    ...changes
  };
}

export function lease(changes: Partial<ILease> = {}): ILease {
  return {
    id: 'l1',
    version: 3,
    state: 'active',
    end_reason: null,
    kernel_id: 'k1',
    notebook: '/home/ada/train.ipynb',
    device_id: 'GPU-1',
    device_ids: ['GPU-1'],
    device_model: 'NVIDIA A100-SXM4-80GB',
    simulated: true,
    tenant: 'ada',
    profile: 'half',
    retention: 'yield',
    busy: false,
    used_at: 60_000,
    parkable: true,
    park_reason: null,
    budget_message: null,
    fault_message: null,
    parked_bytes: 0,
    memory_bytes: 40 * GIB,
    mechanism: 'simulated',
    mechanism_reason: null,
    partition: null,
    enforcement: 'none',
    limit_message: null,
    size_message: null,
    move: null,
    device_nodes_closed: null,
    device_nodes_message: null,
    requested_at: 10_000,
    granted_at: 11_000,
    ended_at: null,
    scrub: null,
    scrub_bytes: null,
    scrub_detail: null,
    active_ms: 5_000,
    rate_micro_per_hour: 1_000_000,
    cost_micro: 1_388,
    currency: 'USD',
    utilization_percent: 50,
    memory_used_bytes: 2 * GIB,
    place: null,
    pending_reason: null,
    pending_detail: null,
    ...changes
  };
}

export function queueEntry(changes: Partial<IQueueEntry> = {}): IQueueEntry {
  return {
    lease_id: 'l2',
    place: 1,
    reason: 'capacity',
    detail: 'Waits for 80 GiB.',
    profile: 'full',
    memory_bytes: 80 * GIB,
    notebook: '/home/ada/wait.ipynb',
    tenant: 'ada',
    since: 12_000,
    mine: true,
    ...changes
  };
}

export function snapshot(changes: Partial<ISnapshotMessage> = {}): ISnapshotMessage {
  return {
    type: 'snapshot',
    seq: 7,
    pool,
    devices: [device()],
    leases: [lease()],
    queue: [],
    ...changes
  };
}

/** A history by seconds with the same numbers as percent and GiB; power and temperature are unknown. */
export function leaseHistory(started_at: number, ...percents: (number | null)[]): IHistory {
  const memory = percents.map(percent => (percent === null ? null : percent * GIB));
  return {
    resolution_ms: 1000,
    started_at,
    utilization_percent: percents,
    memory_used_bytes: memory,
    memory_used_bytes_max: memory,
    power_milliwatt: percents.map(() => null),
    temperature_celsius: percents.map(() => null)
  };
}

/** The history of a device, which has power and temperature as well. */
export function deviceHistory(started_at: number, ...percents: (number | null)[]): IHistory {
  return {
    ...leaseHistory(started_at, ...percents),
    power_milliwatt: percents.map(percent => (percent === null ? null : 1000 * percent)),
    temperature_celsius: percents.map(percent => (percent === null ? null : 30 + percent))
  };
}
