/**
 * The data model: the state of the page and functions that query it. The types of the server's objects are generated.
 *
 * Pure: nothing here uses a clock, the network or the document.
 * Times are wall-clock milliseconds, memory is in bytes, money in millionths of the currency's unit.
 */

import type {
  ChangedMessage,
  DeviceView,
  JobsMessage,
  JobsUnreachableMessage,
  KeepaliveMessage,
  LeaseView,
  PoolView,
  QueueEntryView,
  SnapshotMessage,
  UnreachableMessage,
  UsageMessage
} from '../generated/api';
import type { IJobsState } from '../jobs/job';
import { OVER, PARKED_OR_PARKING, RETURNING } from '../generated/lifecycle';
import type { UtilizationSamples } from './samples';

/** A message of the event stream. */
export type StreamMessage =
  | SnapshotMessage
  | ChangedMessage
  | UsageMessage
  | UnreachableMessage
  | JobsMessage
  | JobsUnreachableMessage
  | KeepaliveMessage;

/** The state of the page; each message that changes something produces a new object. */
export interface IPoolState {
  /** The number of the last applied message; -1 before the first snapshot. */
  readonly seq: number;
  /** Null before the first snapshot. */
  readonly pool: PoolView | null;
  /** In order of their index. */
  readonly devices: ReadonlyArray<DeviceView>;
  /** Open leases and those that ended recently, in order of request. */
  readonly leases: ReadonlyArray<LeaseView>;
  /** In order of position. */
  readonly queue: ReadonlyArray<QueueEntryView>;
  /** The last utilization samples of each open lease. */
  readonly samples: UtilizationSamples;
  readonly jobs: IJobsState;
}

/** Why a request failed or the page has no connection; `unanswered`: a change may have been done. */
export type FailureReason =
  | 'unanswered'
  | 'missing'
  | 'forbidden'
  | 'refused'
  | 'pool'
  | 'network'
  | 'protocol'
  | 'version';

/** The state of the connection to the event stream. */
export type Connection =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  /** Closed because the page is hidden. */
  | { readonly kind: 'paused' }
  | {
      readonly kind: 'unreachable';
      readonly reason: FailureReason;
      readonly message: string;
      /** The browser's time of the next attempt; null if the server reconnects and not the page. */
      readonly retryAt: number | null;
      /** The browser's time of the last message; null if there was none. */
      readonly since: number | null;
    };

/** Return whether new leases can be granted on a device. */
export function isGranting(device: Pick<DeviceView, 'health' | 'drained'>): boolean {
  return device.health.state === 'healthy' && !device.drained;
}

/** Return whether a lease has not ended. */
export function isOpen(lease: LeaseView): boolean {
  return lease.state !== 'ended';
}

/** Return whether the release of a lease can be requested. */
export function isReleasable(lease: LeaseView): boolean {
  return !OVER.has(lease.state);
}

/** A lease that a cluster grants: it can be neither parked, resized nor moved. */
export type ClusterLease = LeaseView & { readonly cluster: NonNullable<LeaseView['cluster']> };

/** Return whether a cluster grants the lease. */
export function isOnCluster(lease: LeaseView): lease is ClusterLease {
  return (lease.cluster ?? null) !== null;
}

/** Return the position of a waiting lease; null if it does not wait, or where a cluster does not say it. */
export function positionOf(lease: LeaseView): number | null {
  return isOnCluster(lease) ? lease.cluster.position : (lease.queue?.position ?? null);
}

/** Return whether a lease was parked and is not yet back on a GPU. */
export function isParkedOrReturning(lease: LeaseView): boolean {
  return (
    PARKED_OR_PARKING.has(lease.state) ||
    (RETURNING.has(lease.state) && lease.parking.reason !== null)
  );
}

/** Return whether a lease keeps its GPU while no cell runs. */
export function isPinned(lease: LeaseView): boolean {
  return lease.parking.retention === 'hold';
}

/** Return whether a lease has the name of a notebook; the server writes its path from the root of the file system. */
export function isOfNotebook(name: string | null, path: string): boolean {
  return name === path || (name !== null && name.endsWith(`/${path}`));
}

/**
 * Return the lease to show for a notebook: that of its kernel, or the request that waits on a cluster for its next
 * kernel while the one that it has runs without a GPU.
 */
export function leaseOfNotebook(
  leases: ReadonlyArray<LeaseView>,
  kernelId: string | null,
  path: string
): LeaseView | null {
  const own = leaseOfKernel(leases, kernelId);
  const isRequest = ({ cluster, holder, state }: LeaseView) =>
    (cluster ?? null) !== null && state === 'waiting' && isOfNotebook(holder.notebook, path);
  return own !== null && isOpen(own) ? own : (leases.find(isRequest) ?? own);
}

/** Return the open lease of a kernel, or else the one requested last; null if it has none. */
export function leaseOfKernel(
  leases: ReadonlyArray<LeaseView>,
  kernelId: string | null
): LeaseView | null {
  if (kernelId === null) {
    return null;
  }
  const own = leases.filter(lease => lease.holder.kernel_id === kernelId);
  const open = own.filter(isOpen);
  const candidates = open.length > 0 ? open : own;
  return candidates.reduce<LeaseView | null>(
    (latest, lease) =>
      latest === null || lease.times.requested_at >= latest.times.requested_at ? lease : latest,
    null
  );
}

/** Return the items by their ids. */
export function byId<T extends { readonly id: string }>(items: ReadonlyArray<T>): Map<string, T> {
  const found = new Map<string, T>();
  for (const item of items) {
    found.set(item.id, item);
  }
  return found;
}

/** Return whether two lists have the same leases in the same order, as far as `isSame` compares them. */
export function sameLeases(
  before: ReadonlyArray<LeaseView>,
  after: ReadonlyArray<LeaseView>,
  isSame: (before: LeaseView, after: LeaseView) => boolean
): boolean {
  return (
    before.length === after.length &&
    after.every((lease, index) => {
      const old = before[index];
      return lease === old || (lease.id === old.id && isSame(old, lease));
    })
  );
}
