/**
 * The data model: the objects that the server sends, the state of the page, and functions that query them.
 *
 * Pure: nothing here uses a clock, the network or the document.
 * Times are wall-clock milliseconds, memory is in bytes, money in millionths of the currency's unit.
 */

export const LEASE_STATES = [
  'waiting',
  'preparing',
  'active',
  'parking',
  'parked',
  'resuming',
  'draining',
  'ended'
] as const;

export type LeaseState = (typeof LEASE_STATES)[number];

export const HEALTH = ['healthy', 'suspect', 'faulty'] as const;

export type Health = (typeof HEALTH)[number];

export interface IPool {
  readonly version: string;
  readonly scope: string;
  readonly simulated: boolean;
  readonly currency: string;
  readonly started_at: number;
  /** What an operator or a user should know, as a sentence; null when all is well. */
  readonly message: string | null;
  readonly accepting: boolean;
  /** Since when no use of any GPU is known, as their driver does not answer; null while it does. */
  readonly counters_silent_since: number | null;
}

export interface IHolding {
  /** Null where this user may not know it. */
  readonly lease_id: string | null;
  readonly tenant: string | null;
  readonly notebook: string | null;
  readonly state: string;
  readonly memory_bytes: number;
  readonly mine: boolean;
}

/** A process that has memory on a device and no lease of it. */
export interface IForeignProcess {
  readonly pid: number;
  readonly user: string;
  readonly memory_bytes: number | null;
  /** The lease that it has of another device, where that is one's own. */
  readonly lease_id: string | null;
}

export interface IDevice {
  readonly id: string;
  readonly index: number;
  readonly model: string;
  readonly memory_bytes: number;
  /** What can still be promised, which is not what is unused right now. */
  readonly memory_free_bytes: number;
  readonly simulated: boolean;
  readonly health: Health;
  readonly health_reason: string | null;
  readonly drained: boolean;
  readonly mechanisms: ReadonlyArray<string>;
  readonly rate_micro_per_hour: number;
  readonly utilization_percent: number | null;
  readonly memory_used_bytes: number | null;
  readonly holdings: ReadonlyArray<IHolding>;
  readonly foreign: ReadonlyArray<IForeignProcess>;
}

export const RETENTIONS = ['yield', 'hold'] as const;

export type Retention = (typeof RETENTIONS)[number];

export interface ILease {
  readonly id: string;
  /** Grows with each change of this lease. */
  readonly version: number;
  readonly state: LeaseState;
  readonly end_reason: string | null;
  readonly kernel_id: string | null;
  readonly notebook: string | null;
  readonly device_id: string | null;
  /** All of its devices, where it has several of one host. */
  readonly device_ids: ReadonlyArray<string>;
  readonly device_model: string | null;
  readonly simulated: boolean;
  readonly tenant: string;
  readonly profile: string;
  /** Whether it may be parked for others while idle; `hold` is shown as pinned. */
  readonly retention: Retention;
  /** A cell runs. */
  readonly busy: boolean;
  /** When a cell last began or ended, or the GPU last became ready. */
  readonly used_at: number;
  /** Whether it could be parked now, if its user let it. */
  readonly parkable: boolean;
  /** Why it was parked, the last time; null where it never was. */
  readonly park_reason: string | null;
  readonly parked_bytes: number;
  /** What its user is to be told about money, from half of a budget on; the pool's own sentence. */
  readonly budget_message: string | null;
  /** What its user is to be told of a fault of its code on the GPU, or of the GPU; the pool's own sentence. */
  readonly fault_message: string | null;
  readonly memory_bytes: number | null;
  readonly mechanism: string | null;
  /** Why it is served by that mechanism; the pool's own sentence. */
  readonly mechanism_reason: string | null;
  /** The profile of its partition where the hardware divides its device. */
  readonly partition: string | null;
  readonly enforcement: string | null;
  /** What its user is to be told of its memory limit; the pool's own sentence. */
  readonly limit_message: string | null;
  /** What came of the last change of its size, where there is something to say; the pool's own sentence. */
  readonly size_message: string | null;
  /** How it can leave a GPU that is not well: `live`, by a `restart` of its kernel, or so and `accepted`. */
  readonly move: string | null;
  /** Whether the device files of other GPUs are closed to its kernel; null where an older pool does not say. */
  readonly device_nodes_closed: boolean | null;
  /** Why they are not, where the pool was told to; the pool's own sentence. */
  readonly device_nodes_message: string | null;
  readonly requested_at: number;
  readonly granted_at: number | null;
  readonly ended_at: number | null;
  /** What is known of its device memory since it ended or was parked. */
  readonly scrub: string | null;
  readonly scrub_bytes: number | null;
  /** What else is to be known of that; the pool's own sentence. */
  readonly scrub_detail: string | null;
  readonly active_ms: number;
  readonly rate_micro_per_hour: number | null;
  readonly cost_micro: number;
  readonly currency: string;
  readonly utilization_percent: number | null;
  readonly memory_used_bytes: number | null;
  readonly place: number | null;
  readonly pending_reason: string | null;
  readonly pending_detail: string | null;
}

export interface IQueueEntry {
  readonly lease_id: string | null;
  /** 1 is next. */
  readonly place: number;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly profile: string;
  readonly memory_bytes: number | null;
  readonly notebook: string | null;
  readonly tenant: string | null;
  readonly since: number;
  readonly mine: boolean;
}

export interface IDeviceUsage {
  readonly id: string;
  readonly utilization_percent: number | null;
  readonly memory_used_bytes: number | null;
}

export interface ILeaseUsage extends IDeviceUsage {
  readonly active_ms: number;
  readonly cost_micro: number;
}

export interface ISnapshotMessage {
  readonly type: 'snapshot';
  readonly seq: number;
  readonly pool: IPool;
  readonly devices: ReadonlyArray<IDevice>;
  readonly leases: ReadonlyArray<ILease>;
  readonly queue: ReadonlyArray<IQueueEntry>;
}

export interface IChangedMessage {
  readonly type: 'changed';
  readonly seq: number;
  /** Only when the pool itself has changed. */
  readonly pool?: IPool;
  /** Only those that have changed. */
  readonly devices: ReadonlyArray<IDevice>;
  /** Only those that have changed. */
  readonly leases: ReadonlyArray<ILease>;
  /** The whole queue. */
  readonly queue: ReadonlyArray<IQueueEntry>;
}

export interface IUsageMessage {
  readonly type: 'usage';
  readonly devices: ReadonlyArray<IDeviceUsage>;
  readonly leases: ReadonlyArray<ILeaseUsage>;
}

export interface IKeepaliveMessage {
  readonly type: 'keepalive';
}

/** The server lives, but its pool manager does not answer it; the next snapshot says that it does again. */
export interface IUnreachableMessage {
  readonly type: 'unreachable';
  readonly message: string;
}

export type StreamMessage =
  | ISnapshotMessage
  | IChangedMessage
  | IUsageMessage
  | IKeepaliveMessage
  | IUnreachableMessage;

/** The state of the page; each message that changes something produces a new object. */
export interface IPoolState {
  /** The number of the last applied message; -1 before the first snapshot. */
  readonly seq: number;
  /** Null before the first snapshot. */
  readonly pool: IPool | null;
  /** In order of their index. */
  readonly devices: ReadonlyArray<IDevice>;
  /** Open leases and those that ended recently, in order of request. */
  readonly leases: ReadonlyArray<ILease>;
  /** In order of position. */
  readonly queue: ReadonlyArray<IQueueEntry>;
  /** The last utilization samples of each open lease, the newest at the end; null if unknown. */
  readonly samples: Readonly<Record<string, ReadonlyArray<number | null>>>;
}

/** Why the page has no connection. */
export type FailureReason = 'missing' | 'forbidden' | 'refused' | 'pool' | 'network' | 'protocol';

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
    };

/** Return whether new leases can be granted on a device. */
export function isGranting(device: Pick<IDevice, 'health' | 'drained'>): boolean {
  return device.health === 'healthy' && !device.drained;
}

/** Return whether a lease has not ended. */
export function isOpen(lease: ILease): boolean {
  return lease.state !== 'ended';
}

/** Return whether the release of a lease can be requested. */
export function isReleasable(lease: ILease): boolean {
  return lease.state !== 'ended' && lease.state !== 'draining';
}

/** Return whether a lease was parked and is not yet back on a GPU. */
export function isParkedOrReturning(lease: ILease): boolean {
  return (
    lease.state === 'parking' ||
    lease.state === 'parked' ||
    ((lease.state === 'waiting' || lease.state === 'resuming') && lease.park_reason !== null)
  );
}

/** Return whether a lease keeps its GPU while no cell runs. */
export function isPinned(lease: ILease): boolean {
  return lease.retention === 'hold';
}

/** The actions that a user can request, in addition to the release. */
export const LEASE_ACTIONS = ['move', 'park', 'resume', 'pin', 'unpin'] as const;

export type LeaseAction = (typeof LEASE_ACTIONS)[number];

/** Return whether an action is available in the lease's state. */
export function isActionAvailable(lease: ILease, action: LeaseAction): boolean {
  switch (action) {
    case 'move':
      return lease.state === 'active' && (lease.move === 'live' || lease.move === 'restart');
    case 'park':
      return lease.state === 'active' && lease.parkable;
    case 'resume':
      return lease.state === 'parked';
    case 'pin':
      // A lease that cannot be parked is never parked while idle, so pinning it would have no effect.
      return (
        !isPinned(lease) && isReleasable(lease) && (lease.parkable || isParkedOrReturning(lease))
      );
    case 'unpin':
      return isPinned(lease) && isReleasable(lease);
  }
}

/** Return the open lease of a kernel, or else the one requested last; null if it has none. */
export function leaseOfKernel(
  leases: ReadonlyArray<ILease>,
  kernelId: string | null
): ILease | null {
  if (kernelId === null) {
    return null;
  }
  const own = leases.filter(lease => lease.kernel_id === kernelId);
  const open = own.filter(isOpen);
  const candidates = open.length > 0 ? open : own;
  return candidates.reduce<ILease | null>(
    (latest, lease) =>
      latest === null || lease.requested_at >= latest.requested_at ? lease : latest,
    null
  );
}
