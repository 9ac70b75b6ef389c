/**
 * The border between JSON from the server and typed data in the page.
 *
 * Promises: what passes has the type it claims; what does not pass raises an `InvalidMessage` that names the field.
 * Fields and message types that this version does not know are dropped, so that a newer server does not break the page.
 * This is the one module that may look at untyped data.
 */

import type {
  IChangedMessage,
  IDevice,
  IDeviceUsage,
  IForeignProcess,
  IHolding,
  ILease,
  ILeaseUsage,
  IPool,
  ISnapshotMessage,
  IQueueEntry,
  IUsageMessage,
  StreamMessage
} from './lease';
import { HEALTH, LEASE_STATES, RETENTIONS } from './lease';
import type { IHistory } from './history';
import { SERIES } from './history';
import type { IEntitlement } from './quota';

/** More entries than this in one list is not a pool, it is a fault. */
const LIST_MAX = 20000;

/** Names are shown as plain text; longer ones would only cost time. */
const TEXT_MAX = 4096;

/** The server sent something that does not fit the contract. */
export class InvalidMessage extends Error {
  constructor(field: string, wanted: string) {
    super(`${field} is not ${wanted}`);
    this.name = 'InvalidMessage';
  }
}

type Reader<T> = (value: any, field: string) => T;

function object(value: any, field: string): any {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidMessage(field, 'an object');
  }
  return value;
}

const text: Reader<string> = (value, field) => {
  if (typeof value !== 'string') {
    throw new InvalidMessage(field, 'a text');
  }
  return value.length > TEXT_MAX ? value.slice(0, TEXT_MAX) : value;
};

const flag: Reader<boolean> = (value, field) => {
  if (typeof value !== 'boolean') {
    throw new InvalidMessage(field, 'true or false');
  }
  return value;
};

const integer: Reader<number> = (value, field) => {
  if (!Number.isSafeInteger(value)) {
    throw new InvalidMessage(field, 'a whole number');
  }
  return value;
};

const count: Reader<number> = (value, field) => {
  if (integer(value, field) < 0) {
    throw new InvalidMessage(field, 'zero or more');
  }
  return value;
};

const positive: Reader<number> = (value, field) => {
  if (integer(value, field) <= 0) {
    throw new InvalidMessage(field, 'more than zero');
  }
  return value;
};

const percent: Reader<number> = (value, field) => {
  if (typeof value !== 'number' || !(value >= 0 && value <= 100)) {
    throw new InvalidMessage(field, 'a number from 0 to 100');
  }
  return value;
};

function orNull<T>(reader: Reader<T>): Reader<T | null> {
  return (value, field) =>
    value === null || value === undefined ? null : reader(value, field);
}

function oneOf<T extends string>(choices: ReadonlyArray<T>): Reader<T> {
  return (value, field) => {
    if (!choices.includes(value)) {
      throw new InvalidMessage(field, `one of ${choices.join(', ')}`);
    }
    return value;
  };
}

function listOf<T>(reader: Reader<T>): Reader<ReadonlyArray<T>> {
  return (value, field) => {
    if (!Array.isArray(value)) {
      throw new InvalidMessage(field, 'a list');
    }
    if (value.length > LIST_MAX) {
      throw new InvalidMessage(field, `a list of at most ${LIST_MAX}`);
    }
    return value.map((item, index) => reader(item, `${field}[${index}]`));
  };
}

/** A list that an older server does not send. */
function orEmpty<T>(reader: Reader<T>): Reader<ReadonlyArray<T>> {
  return (value, field) =>
    value === null || value === undefined ? [] : listOf(reader)(value, field);
}

/** Builds a reader from one reader for each field; fields not named here are dropped. */
function record<T>(fields: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, field) => {
    const source = object(value, field);
    const result = {} as T;
    for (const name of names) {
      result[name] = fields[name](source[name], `${field}.${name}`);
    }
    return result;
  };
}

export const readPool: Reader<IPool> = record<IPool>({
  version: text,
  scope: text,
  simulated: flag,
  currency: text,
  started_at: count,
  message: orNull(text),
  accepting: flag,
  counters_silent_since: orNull(count)
});

const readReadings = record<IHistory>({
  resolution_ms: positive,
  started_at: integer,
  utilization_percent: listOf(orNull(percent)),
  memory_used_bytes: listOf(orNull(count)),
  memory_used_bytes_max: listOf(orNull(count)),
  power_milliwatt: listOf(orNull(count)),
  temperature_celsius: listOf(orNull(integer))
});

export const readHistory: Reader<IHistory> = (value, field) => {
  const source = object(value, field);
  const steps = Array.isArray(source.utilization_percent) ? source.utilization_percent.length : 0;
  // An older server has no temperatures.
  const temperature_celsius = source.temperature_celsius ?? Array(Math.min(steps, LIST_MAX)).fill(null);
  const history = readReadings({ ...source, temperature_celsius }, field);
  for (const name of SERIES) {
    if (history[name].length !== steps) {
      throw new InvalidMessage(`${field}.${name}`, `a list of ${steps}`);
    }
  }
  return history;
};

const readHolding = record<IHolding>({
  lease_id: orNull(text),
  tenant: orNull(text),
  notebook: orNull(text),
  state: text,
  memory_bytes: count,
  mine: flag
});

const readForeign = record<IForeignProcess>({
  pid: count,
  user: text,
  memory_bytes: orNull(count),
  lease_id: orNull(text)
});

export const readDevice: Reader<IDevice> = record<IDevice>({
  id: text,
  index: count,
  model: text,
  memory_bytes: count,
  memory_free_bytes: count,
  simulated: flag,
  health: oneOf(HEALTH),
  health_reason: orNull(text),
  drained: flag,
  mechanisms: listOf(text),
  rate_micro_per_hour: count,
  utilization_percent: orNull(percent),
  memory_used_bytes: orNull(count),
  holdings: listOf(readHolding),
  foreign: listOf(readForeign)
});

export const readLease: Reader<ILease> = record<ILease>({
  id: text,
  version: count,
  state: oneOf(LEASE_STATES),
  end_reason: orNull(text),
  kernel_id: orNull(text),
  notebook: orNull(text),
  device_id: orNull(text),
  device_ids: orEmpty(text),
  device_model: orNull(text),
  simulated: flag,
  tenant: text,
  profile: text,
  retention: oneOf(RETENTIONS),
  busy: flag,
  used_at: count,
  parkable: flag,
  park_reason: orNull(text),
  parked_bytes: count,
  budget_message: orNull(text),
  fault_message: orNull(text),
  memory_bytes: orNull(count),
  mechanism: orNull(text),
  mechanism_reason: orNull(text),
  partition: orNull(text),
  enforcement: orNull(text),
  limit_message: orNull(text),
  size_message: orNull(text),
  move: orNull(text),
  device_nodes_closed: orNull(flag),
  device_nodes_message: orNull(text),
  requested_at: count,
  granted_at: orNull(count),
  ended_at: orNull(count),
  scrub: orNull(text),
  scrub_bytes: orNull(count),
  scrub_detail: orNull(text),
  active_ms: count,
  rate_micro_per_hour: orNull(count),
  cost_micro: count,
  currency: text,
  utilization_percent: orNull(percent),
  memory_used_bytes: orNull(count),
  place: orNull(count),
  pending_reason: orNull(text),
  pending_detail: orNull(text)
});

export const readTicket: Reader<IQueueEntry> = record<IQueueEntry>({
  lease_id: orNull(text),
  place: count,
  reason: orNull(text),
  detail: orNull(text),
  profile: text,
  memory_bytes: orNull(count),
  notebook: orNull(text),
  tenant: orNull(text),
  since: count,
  mine: flag
});

const readDeviceUsage = record<IDeviceUsage>({
  id: text,
  utilization_percent: orNull(percent),
  memory_used_bytes: orNull(count)
});

const readLeaseUsage = record<ILeaseUsage>({
  id: text,
  utilization_percent: orNull(percent),
  memory_used_bytes: orNull(count),
  active_ms: count,
  cost_micro: count
});

const readAmounts = record<Omit<IEntitlement, 'name' | 'isGroup'>>({
  guaranteed_milli: count,
  limit_milli: orNull(count),
  held_milli: count
});

const readSnapshot: Reader<ISnapshotMessage> = (value, field) => ({
  type: 'snapshot',
  seq: count(value.seq, `${field}.seq`),
  pool: readPool(value.pool, `${field}.pool`),
  devices: listOf(readDevice)(value.devices, `${field}.devices`),
  leases: listOf(readLease)(value.leases, `${field}.leases`),
  queue: listOf(readTicket)(value.queue, `${field}.queue`)
});

const readChanged: Reader<IChangedMessage> = (value, field) => {
  const changed: IChangedMessage = {
    type: 'changed',
    seq: count(value.seq, `${field}.seq`),
    devices: listOf(readDevice)(value.devices, `${field}.devices`),
    leases: listOf(readLease)(value.leases, `${field}.leases`),
    queue: listOf(readTicket)(value.queue, `${field}.queue`)
  };
  const pool = orNull(readPool)(value.pool, `${field}.pool`);
  return pool === null ? changed : { ...changed, pool };
};

const readUsage: Reader<IUsageMessage> = (value, field) => ({
  type: 'usage',
  devices: listOf(readDeviceUsage)(value.devices, `${field}.devices`),
  leases: listOf(readLeaseUsage)(value.leases, `${field}.leases`)
});

/**
 * Read one message of the event stream.
 *
 * @returns The message, or null for a type that this version does not know.
 */
export function readMessage(value: unknown): StreamMessage | null {
  const message = object(value, 'message');
  switch (text(message.type, 'message.type')) {
    case 'snapshot':
      return readSnapshot(message, 'snapshot');
    case 'changed':
      return readChanged(message, 'changed');
    case 'usage':
      return readUsage(message, 'usage');
    case 'keepalive':
      return { type: 'keepalive' };
    case 'unreachable':
      return { type: 'unreachable', message: text(message.message, 'unreachable.message') };
    default:
      return null;
  }
}

/** Read what the server answers about quotas: the user's, then the group's. */
export const readQuota: Reader<ReadonlyArray<IEntitlement>> = (value, field) => {
  const source = object(value, field);
  const read = (named: 'tenant' | 'group'): Reader<IEntitlement> => (one, at) => ({
    ...readAmounts(one, at),
    name: text(one[named], `${at}.${named}`),
    isGroup: named === 'group'
  });
  return [
    ...listOf(read('tenant'))(source.tenants, `${field}.tenants`),
    ...listOf(read('group'))(source.groups, `${field}.groups`)
  ];
};

/** The sentence in an error answer of the server, or null when it has none. */
export function readErrorMessage(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) {
    return null;
  }
  const { message, detail } = value as any;
  for (const candidate of [message, detail]) {
    if (typeof candidate === 'string' && candidate.trim() !== '') {
      return text(candidate, 'error').trim();
    }
  }
  return null;
}
