/**
 * What the browser knows of the pool: the views that the server sends, and the state that the page keeps.
 *
 * Pure data and pure questions about it. Nothing here asks a clock, the network or the document.
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
export interface IForeign {
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
  readonly foreign: ReadonlyArray<IForeign>;
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

export interface ITicket {
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

export interface ISnapshot {
  readonly type: 'snapshot';
  readonly seq: number;
  readonly pool: IPool;
  readonly devices: ReadonlyArray<IDevice>;
  readonly leases: ReadonlyArray<ILease>;
  readonly queue: ReadonlyArray<ITicket>;
}

export interface IChanged {
  readonly type: 'changed';
  readonly seq: number;
  /** Only when the pool itself has changed. */
  readonly pool?: IPool;
  /** Only those that have changed. */
  readonly devices: ReadonlyArray<IDevice>;
  /** Only those that have changed. */
  readonly leases: ReadonlyArray<ILease>;
  /** The whole queue. */
  readonly queue: ReadonlyArray<ITicket>;
}

export interface IUsage {
  readonly type: 'usage';
  readonly devices: ReadonlyArray<IDeviceUsage>;
  readonly leases: ReadonlyArray<ILeaseUsage>;
}

export interface IKeepalive {
  readonly type: 'keepalive';
}

/** The server lives, but its pool manager does not answer it; the next snapshot says that it does again. */
export interface IUnreachable {
  readonly type: 'unreachable';
  readonly message: string;
}

export type Message = ISnapshot | IChanged | IUsage | IKeepalive | IUnreachable;

/** Everything the page knows. A new object with each message that changes something. */
export interface IPoolState {
  /** The number of the last message applied; -1 before the first snapshot. */
  readonly seq: number;
  /** Null before the first snapshot. */
  readonly pool: IPool | null;
  /** In the order of their index. */
  readonly devices: ReadonlyArray<IDevice>;
  /** Open ones and those that ended lately, in the order of their request. */
  readonly leases: ReadonlyArray<ILease>;
  /** In the order of their place. */
  readonly queue: ReadonlyArray<ITicket>;
  /** The last utilization samples of each open lease, the newest at the end; null where it was not known. */
  readonly history: Readonly<Record<string, ReadonlyArray<number | null>>>;
}

/** Why the page has no live connection. */
export type FailureReason = 'missing' | 'forbidden' | 'refused' | 'pool' | 'network' | 'protocol';

export type Connection =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  /** Closed on purpose, because nobody can see the page. */
  | { readonly kind: 'paused' }
  | {
      readonly kind: 'unreachable';
      readonly reason: FailureReason;
      readonly message: string;
      /** When the next attempt is due, by this browser's clock; null where the server is the one that tries. */
      readonly retryAt: number | null;
    };

/** Whether new leases can be put on a device. */
export function isGranting(device: Pick<IDevice, 'health' | 'drained'>): boolean {
  return device.health === 'healthy' && !device.drained;
}

/** True until the lease has ended. */
export function isOpen(lease: ILease): boolean {
  return lease.state !== 'ended';
}

/** True for a lease whose release can still be asked for. */
export function isReleasable(lease: ILease): boolean {
  return lease.state !== 'ended' && lease.state !== 'draining';
}

/** True for a lease that was parked and is not back on a GPU yet. */
export function isAway(lease: ILease): boolean {
  return (
    lease.state === 'parking' ||
    lease.state === 'parked' ||
    ((lease.state === 'waiting' || lease.state === 'resuming') && lease.park_reason !== null)
  );
}

/** True for a lease that keeps its GPU although no cell runs. */
export function isPinned(lease: ILease): boolean {
  return lease.retention === 'hold';
}

/** What can be asked of a lease beside its release. */
export const CHANGES = ['move', 'park', 'resume', 'pin', 'unpin'] as const;

export type Change = (typeof CHANGES)[number];

/** Whether a change makes sense for a lease as it is. */
export function canChange(lease: ILease, change: Change): boolean {
  switch (change) {
    case 'move':
      return lease.state === 'active' && (lease.move === 'live' || lease.move === 'restart');
    case 'park':
      return lease.state === 'active' && lease.parkable;
    case 'resume':
      return lease.state === 'parked';
    case 'pin':
      // What cannot be parked stays anyway: to pin it would only promise something.
      return !isPinned(lease) && isReleasable(lease) && (lease.parkable || isAway(lease));
    case 'unpin':
      return isPinned(lease) && isReleasable(lease);
  }
}

/** The lease of a kernel: the open one, else the one that ended last, else null. */
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
