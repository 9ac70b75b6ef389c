/**
 * (state, message) -> state: how the page's picture of the pool follows the event stream.
 *
 * Pure. Answers with the same object when nothing has changed, so that views need not be drawn again.
 * Never trusts the order of what comes: an older version of a lease does not replace a newer one.
 */

import type {
  IChanged,
  IDevice,
  IDeviceUsage,
  ILease,
  ILeaseUsage,
  IPoolState,
  ISnapshot,
  IUsage,
  Message
} from './lease';
import { isOpen } from './lease';

/** Two minutes at one sample a second. */
export const HISTORY_MAX = 120;

/** Ended leases kept for the list of those that ended lately. */
export const ENDED_MAX = 100;

export const EMPTY_STATE: IPoolState = {
  seq: -1,
  pool: null,
  devices: [],
  leases: [],
  queue: [],
  history: {}
};

export function reduce(state: IPoolState, message: Message): IPoolState {
  switch (message.type) {
    case 'snapshot':
      return applySnapshot(state, message);
    case 'changed':
      return applyChanged(state, message);
    case 'usage':
      return applyUsage(state, message);
    case 'keepalive':
    case 'unreachable':
      return state;
  }
}

function applySnapshot(state: IPoolState, snapshot: ISnapshot): IPoolState {
  const leases = arrange(snapshot.leases);
  return {
    seq: snapshot.seq,
    pool: snapshot.pool,
    devices: byIndex(snapshot.devices),
    leases,
    queue: byPlace(snapshot.queue),
    // A reconnection keeps the charts of the leases that are still there.
    history: keepOpen(state.history, leases)
  };
}

function applyChanged(state: IPoolState, changed: IChanged): IPoolState {
  // Before a snapshot there is nothing to change; and a message is applied once.
  if (state.pool === null || changed.seq <= state.seq) {
    return state;
  }
  const leases = new Map(state.leases.map(lease => [lease.id, lease]));
  for (const lease of changed.leases) {
    const known = leases.get(lease.id);
    if (known === undefined || lease.version >= known.version) {
      leases.set(lease.id, lease);
    }
  }
  const devices = new Map(state.devices.map(device => [device.id, device]));
  for (const device of changed.devices) {
    devices.set(device.id, device);
  }
  const arranged = arrange([...leases.values()]);
  return {
    seq: changed.seq,
    pool: changed.pool ?? state.pool,
    devices: byIndex([...devices.values()]),
    leases: arranged,
    queue: byPlace(changed.queue),
    history: keepOpen(state.history, arranged)
  };
}

function applyUsage(state: IPoolState, usage: IUsage): IPoolState {
  const ofDevice = new Map(usage.devices.map(sample => [sample.id, sample]));
  const ofLease = new Map(usage.leases.map(sample => [sample.id, sample]));
  const history: Record<string, ReadonlyArray<number | null>> = { ...state.history };
  let touched = false;

  const leases = state.leases.map(lease => {
    const sample = ofLease.get(lease.id);
    if (sample === undefined || !isOpen(lease)) {
      return lease;
    }
    touched = true;
    const ring = history[lease.id] ?? [];
    history[lease.id] = [...ring, sample.utilization_percent].slice(-HISTORY_MAX);
    return withLeaseUsage(lease, sample);
  });
  const devices = state.devices.map(device => {
    const sample = ofDevice.get(device.id);
    if (sample === undefined) {
      return device;
    }
    touched = true;
    return withDeviceUsage(device, sample);
  });
  return touched ? { ...state, leases, devices, history } : state;
}

function withDeviceUsage(device: IDevice, sample: IDeviceUsage): IDevice {
  return {
    ...device,
    utilization_percent: sample.utilization_percent,
    memory_used_bytes: sample.memory_used_bytes
  };
}

function withLeaseUsage(lease: ILease, sample: ILeaseUsage): ILease {
  return {
    ...lease,
    utilization_percent: sample.utilization_percent,
    memory_used_bytes: sample.memory_used_bytes,
    // A meter only moves forward: a sample that was taken before a change came may arrive after it.
    active_ms: Math.max(lease.active_ms, sample.active_ms),
    cost_micro: Math.max(lease.cost_micro, sample.cost_micro)
  };
}

/** In the order of the request, with no more than `ENDED_MAX` ended ones. */
function arrange(leases: ReadonlyArray<ILease>): ReadonlyArray<ILease> {
  const ended = leases
    .filter(lease => !isOpen(lease))
    .sort((a, b) => (b.ended_at ?? 0) - (a.ended_at ?? 0))
    .slice(0, ENDED_MAX);
  return [...leases.filter(isOpen), ...ended].sort(
    (a, b) => a.requested_at - b.requested_at || (a.id < b.id ? -1 : 1)
  );
}

function byIndex(devices: ReadonlyArray<IDevice>): ReadonlyArray<IDevice> {
  return [...devices].sort((a, b) => a.index - b.index || (a.id < b.id ? -1 : 1));
}

function byPlace<T extends { readonly place: number }>(
  queue: ReadonlyArray<T>
): ReadonlyArray<T> {
  return [...queue].sort((a, b) => a.place - b.place);
}

function keepOpen(
  history: IPoolState['history'],
  leases: ReadonlyArray<ILease>
): IPoolState['history'] {
  const kept: Record<string, ReadonlyArray<number | null>> = {};
  for (const lease of leases) {
    const ring = history[lease.id];
    if (ring !== undefined && isOpen(lease)) {
      kept[lease.id] = ring;
    }
  }
  return kept;
}
