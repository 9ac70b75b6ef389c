/**
 * The reducer of the page's state: (state, message) -> state.
 *
 * Pure. Returns the same object if nothing has changed, so that views need not render. It does not rely on the order
 * of messages: an older version of a lease does not replace a newer one.
 */

import type {
  ChangedMessage,
  DeviceReading,
  DeviceView,
  JobsMessage,
  JobsUnreachableMessage,
  LeaseQueueView,
  LeaseReading,
  LeaseView,
  QueueEntryView,
  SnapshotMessage,
  UsageMessage
} from '../generated/api';
import { NO_JOBS, reduceJobs } from '../jobs/job';
import type { IPoolState, StreamMessage } from './lease';
import { byId, isOpen } from './lease';
import { UtilizationSamples } from './samples';

/** The number of ended leases in the state. */
export const ENDED_LEASES_MAX = 100;

export const EMPTY_STATE: IPoolState = {
  seq: -1,
  pool: null,
  devices: [],
  leases: [],
  queue: [],
  samples: UtilizationSamples.EMPTY,
  jobs: NO_JOBS
};

/** Return the state after a message. */
export function reduce(state: IPoolState, message: StreamMessage): IPoolState {
  switch (message.type) {
    case 'snapshot':
      return applySnapshot(state, message);
    case 'changed':
      return applyChanged(state, message);
    case 'usage':
      return applyUsage(state, message);
    case 'jobs':
    case 'jobs_unreachable':
      return withJobs(state, message);
    case 'keepalive':
    case 'unreachable':
      return state;
  }
}

function withJobs(state: IPoolState, message: JobsMessage | JobsUnreachableMessage): IPoolState {
  const jobs = reduceJobs(state.jobs, message);
  return jobs === state.jobs ? state : { ...state, jobs };
}

function applySnapshot(state: IPoolState, snapshot: SnapshotMessage): IPoolState {
  const leases = sortLeases(snapshot.leases);
  const open = new Set(leases.filter(isOpen).map(({ id }) => id));
  return {
    seq: snapshot.seq,
    pool: snapshot.pool,
    devices: sortDevices(snapshot.devices),
    leases,
    queue: sortQueue(snapshot.queue),
    // A reconnection preserves the samples of leases that still exist.
    samples: state.samples.keep(id => open.has(id)),
    jobs: state.jobs
  };
}

function applyChanged(state: IPoolState, changed: ChangedMessage): IPoolState {
  // Changes before the first snapshot and repeated messages are ignored.
  if (state.pool === null || changed.seq <= state.seq) {
    return state;
  }
  const leases = byId(state.leases);
  for (const lease of changed.leases) {
    const known = leases.get(lease.id);
    if (known === undefined || lease.version >= known.version) {
      leases.set(lease.id, lease);
    }
  }
  // A waiting lease whose position alone has changed is not sent again.
  for (const entry of changed.queue) {
    const lease = entry.lease_id === null ? undefined : leases.get(entry.lease_id);
    if (lease !== undefined && lease.queue !== null) {
      leases.set(lease.id, { ...lease, queue: position(entry) });
    }
  }
  const devices = byId(state.devices);
  for (const device of changed.devices) {
    devices.set(device.id, device);
  }
  const isKept = (id: string) => {
    const lease = leases.get(id);
    return lease !== undefined && isOpen(lease);
  };
  return {
    seq: changed.seq,
    pool: changed.pool ?? state.pool,
    devices: sortDevices([...devices.values()]),
    leases: sortLeases([...leases.values()]),
    queue: sortQueue(changed.queue),
    samples: state.samples.keep(isKept),
    jobs: state.jobs
  };
}

function position(entry: QueueEntryView): LeaseQueueView {
  const { position, reason, holder, estimate_ms, estimate_basis } = entry;
  return { position, reason, holder, estimate_ms, estimate_basis };
}

function applyUsage(state: IPoolState, usage: UsageMessage): IPoolState {
  const deviceReadings = byId(usage.devices);
  const leaseReadings = byId(usage.leases);
  const utilization = new Map<string, number | null>();
  let changed = false;

  const leases = state.leases.map(lease => {
    const reading = leaseReadings.get(lease.id);
    if (reading === undefined || !isOpen(lease)) {
      return lease;
    }
    changed = true;
    utilization.set(lease.id, reading.usage.utilization_percent);
    return withLeaseReading(lease, reading);
  });
  const devices = state.devices.map(device => {
    const reading = deviceReadings.get(device.id);
    if (reading === undefined) {
      return device;
    }
    changed = true;
    return withDeviceReading(device, reading);
  });
  return changed ? { ...state, leases, devices, samples: state.samples.with(utilization) } : state;
}

function withDeviceReading(device: DeviceView, reading: DeviceReading): DeviceView {
  return {
    ...device,
    memory: { ...device.memory, ...reading.memory },
    usage: { ...device.usage, ...reading.usage }
  };
}

function withLeaseReading(lease: LeaseView, reading: LeaseReading): LeaseView {
  const { memory, usage, money } = lease;
  return {
    ...lease,
    memory: { ...memory, ...reading.memory },
    // Meters never decrease: a reading that was taken before a change may arrive after it.
    usage: {
      ...usage,
      ...reading.usage,
      active_ms: Math.max(usage.active_ms, reading.usage.active_ms)
    },
    money: {
      ...money,
      ...reading.money,
      cost_micro: Math.max(money.cost_micro, reading.money.cost_micro)
    }
  };
}

/** Return the leases in order of request, with at most `ENDED_LEASES_MAX` ended ones. */
function sortLeases(leases: ReadonlyArray<LeaseView>): ReadonlyArray<LeaseView> {
  const ended = leases
    .filter(lease => !isOpen(lease))
    .sort((a, b) => (b.times.ended_at ?? 0) - (a.times.ended_at ?? 0))
    .slice(0, ENDED_LEASES_MAX);
  return [...leases.filter(isOpen), ...ended].sort(
    (a, b) => a.times.requested_at - b.times.requested_at || (a.id < b.id ? -1 : 1)
  );
}

function sortDevices(devices: ReadonlyArray<DeviceView>): ReadonlyArray<DeviceView> {
  return [...devices].sort((a, b) => a.index - b.index || (a.id < b.id ? -1 : 1));
}

function sortQueue<T extends { readonly position: number }>(
  queue: ReadonlyArray<T>
): ReadonlyArray<T> {
  return [...queue].sort((a, b) => a.position - b.position);
}
