/** Objects as the server sends them, for all tests. */

import type {
  DeviceView,
  HistoryView,
  LeaseView,
  MessageView,
  PoolView,
  QueueEntryView,
  SnapshotMessage
} from '../src/generated/api';

export const GIB = 1024 ** 3;

const ADA = { key: 'uid:1001', name: 'ada' };

/** Changes of an object's fields; of a group, only the fields that differ. */
export type Changes<T> = {
  readonly [Name in keyof T]?: T[Name] extends ReadonlyArray<unknown>
    ? T[Name]
    : T[Name] extends object | null
      ? Partial<NonNullable<T[Name]>> | Extract<T[Name], null>
      : T[Name];
};

/** Return an object with changed fields; a group has the fields of both. */
function withChanges<T extends object>(base: T, changes: Changes<T>): T {
  const isGroup = (value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  return Object.fromEntries(
    Object.entries({ ...base, ...changes }).map(([name, value]) => {
      const old = (base as Record<string, unknown>)[name];
      return [name, isGroup(old) && isGroup(value) ? { ...(old as object), ...(value as object) } : value];
    })
  ) as T;
}

/** A message that the catalogue does not have, so that its text is shown. */
export function message(
  text: string,
  code = 'test.message',
  params: MessageView['params'] = {}
): MessageView {
  return { code, params, text };
}

export const pool: PoolView = {
  id: 'a-pool',
  version: '0.1.0',
  scope: 'user',
  simulated: true,
  currency: 'USD',
  started_at: 1_000,
  message: null,
  accepting: true,
  counters_silent_since: null,
  carried_over: null,
  cluster: null
};

export function device(changes: Changes<DeviceView> = {}): DeviceView {
  return withChanges<DeviceView>(
    {
      id: 'GPU-1',
      index: 0,
      model: 'NVIDIA A100-SXM4-80GB',
      simulated: true,
      drained: false,
      rate_micro_per_hour: 2_000_000,
      health: { state: 'healthy', message: null, missing_since: null },
      memory: { total_bytes: 80 * GIB, free_bytes: 40 * GIB, used_bytes: 3 * GIB },
      usage: { utilization_percent: 12 },
      capabilities: { mechanisms: ['simulated'], partitions: [], parkable: true },
      allocations: [
        {
          lease_id: 'l1',
          tenant: ADA,
          notebook: '/home/ada/train.ipynb',
          job: null,
          state: 'active',
          memory_bytes: 40 * GIB,
          mine: true
        }
      ],
      processes_message: null,
      unleased_processes: []
    },
    changes
  );
}

export function lease(changes: Changes<LeaseView> = {}): LeaseView {
  return withChanges<LeaseView>(
    {
      id: 'l1',
      version: 3,
      state: 'active',
      tenant: ADA,
      end_reason: null,
      notes: [],
      environment: {},
      hidden_environment: {},
      holder: { kernel_id: 'k1', notebook: '/home/ada/train.ipynb', job: null, pid: 4711, orphaned_at: null },
      request: {
        size: 'half',
        priority: 'normal',
        isolation: 'none',
        cpu_milli: 0,
        host_memory_bytes: 0
      },
      size: { requested: null, applied: null, message: null },
      gpu: {
        device_ids: ['GPU-1'],
        model: 'NVIDIA A100-SXM4-80GB',
        simulated: true,
        mechanism: 'simulated',
        mechanism_reason: null,
        partition: null
      },
      memory: { limit_bytes: 40 * GIB, used_bytes: 2 * GIB },
      usage: { utilization_percent: 50, active_ms: 5_000, busy: false, last_used_at: 60_000 },
      money: {
        currency: 'USD',
        rate_micro_per_hour: 1_000_000,
        billed_micro_per_hour: 1_000_000,
        covered_milli: 0,
        cost_micro: 1_388,
        cost_at: 16_000,
        budget_micro: null,
        budget_percent: null,
        message: null
      },
      queue: null,
      cpu_meanwhile: false,
      enforcement: { memory_limit: 'none', scope: null, message: null },
      device_access: { nodes: [], restricted: false, message: null },
      parking: { retention: 'yield', parkable: true, obstacle: null, reason: null, parked_bytes: 0 },
      scrub: null,
      health: { migration: null, message: null, missing_since: null },
      idle: {
        cells_idle_since: 60_000,
        gpu_idle_since: null,
        next: null,
        steps: [],
        taken: null,
        snoozed_until: null,
        message: null
      },
      cluster: null,
      times: { requested_at: 10_000, granted_at: 11_000, ended_at: null }
    },
    changes
  );
}

/** The queue of a waiting lease. */
export function queuePosition(position: number): NonNullable<LeaseView['queue']> {
  return {
    position,
    reason: message('Waits for 80 GiB.'),
    holder: null,
    estimate_ms: null,
    estimate_basis: message('unknown')
  };
}

/** The reason for which a lease was parked. */
export function parkedFor(reason: string): Partial<LeaseView['parking']> {
  return { reason: message(`Parked: ${reason}.`, `park.${reason}`) };
}

export function queueEntry(changes: Changes<QueueEntryView> = {}): QueueEntryView {
  return withChanges<QueueEntryView>(
    {
      lease_id: 'l2',
      position: 1,
      reason: message('Waits for 80 GiB.'),
      holder: null,
      estimate_ms: null,
      estimate_basis: message('unknown'),
      size: 'full',
      priority: 'normal',
      memory_bytes: 80 * GIB,
      notebook: '/home/ada/wait.ipynb',
      job: null,
      tenant: ADA,
      waiting_since: 12_000,
      mine: true
    },
    changes
  );
}

export function snapshot(changes: Partial<SnapshotMessage> = {}): SnapshotMessage {
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
export function leaseHistory(started_at: number, ...percents: (number | null)[]): HistoryView {
  const memory = percents.map(percent => (percent === null ? null : percent * GIB));
  return {
    resolution_ms: 1000,
    started_at,
    utilization_percent: percents,
    memory_used_bytes: memory,
    memory_used_bytes_max: memory,
    power_milliwatt: percents.map(() => null),
    temperature_celsius: percents.map(() => null),
    energy_millijoule: null
  };
}

/** The history of a device, which has power and temperature as well. */
export function deviceHistory(started_at: number, ...percents: (number | null)[]): HistoryView {
  return {
    ...leaseHistory(started_at, ...percents),
    power_milliwatt: percents.map(percent => (percent === null ? null : 1000 * percent)),
    temperature_celsius: percents.map(percent => (percent === null ? null : 30 + percent))
  };
}

/** A lease that a cluster grants; it waits, and the cluster has said nothing about it. */
export function onCluster(changes: Changes<LeaseView>): LeaseView {
  const { cluster, ...others } = changes;
  return lease({
    id: 'c1',
    state: 'waiting',
    gpu: null,
    queue: null,
    ...others,
    request: { size: 'h100', ...others.request },
    cluster: {
      engine: 'slurm',
      job_id: null,
      job_name: 'fgpu-0-c1-1',
      host: null,
      partition: '',
      account: '',
      qos: '',
      constraint: '',
      time_limit_ms: null,
      ends_at: null,
      state: 'queued',
      reason: null,
      position: null,
      starts_at: null,
      message: null,
      kernel: null,
      launcher: null,
      ...cluster
    }
  });
}
