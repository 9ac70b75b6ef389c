/**
 * Validation of JSON from the server against the generated schemas.
 *
 * A value that passes has the type of its schema; otherwise an `InvalidMessage` names the field. Unknown fields and
 * message types are dropped, and a missing field that may be null becomes null, so that the page works with a server of
 * another version. This is the only module that handles untyped data.
 */

import type {
  AdviceView,
  HistoryView,
  IntentView,
  JobDetailsView,
  JobExplanation,
  JobLog,
  JobsUsage,
  JobView,
  KeptKernelList,
  LeaseView,
  PruneReport,
  QuotaView,
  RequestedView,
  SizeOptions,
  SpendingView
} from '../generated/api';
import { SCHEMAS } from '../generated/schemas';
import { SERIES } from './history';
import type { StreamMessage } from './lease';

/** The part of JSON Schema that the interface uses; `optional` lists the fields that may be missing. */
export interface ISchema {
  readonly $ref?: string;
  readonly anyOf?: ReadonlyArray<ISchema>;
  readonly enum?: ReadonlyArray<unknown>;
  readonly type?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly items?: ISchema;
  readonly additionalProperties?: ISchema;
  readonly properties?: Readonly<Record<string, ISchema>>;
  readonly optional?: ReadonlyArray<string>;
}

/** A longer list is treated as an error of the server. */
const LIST_MAX = 20_000;

/** A longer text is truncated, unless its schema allows more; texts are only displayed. */
const TEXT_MAX = 4096;

/** The server sent a value that does not match the schema. */
export class InvalidMessage extends Error {
  constructor(
    private readonly _expected: string,
    private _field = ''
  ) {
    super(`${_field} is not ${_expected}`);
    this.name = 'InvalidMessage';
  }

  /** Name the part of a value that has this one: fields are named only where one is wrong, which is rare. */
  within(part: string): this {
    this._field = part + this._field;
    this.message = `${this._field} is not ${this._expected}`;
    return this;
  }
}

function isObject(value: any): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns a value with just the fields of its schema, as it is or a copy; throws an `InvalidMessage` if it has not. */
type Reader = (value: any) => any;

/** Return a validated copy of a value that is named `field` in errors. */
function read(schema: ISchema, value: unknown, field: string): any {
  try {
    return readerOf(schema)(value);
  } catch (reason) {
    throw reason instanceof InvalidMessage ? reason.within(field) : reason;
  }
}

const READERS = new Map<ISchema, Reader>();

/** Return the reader of a schema, which is made once: messages have thousands of values each second. */
function readerOf(schema: ISchema): Reader {
  const known = READERS.get(schema);
  if (known !== undefined) {
    return known;
  }
  // Schemas refer to each other in circles, so that another one's reader is made when it is needed.
  const { $ref } = schema;
  const made: Reader = $ref === undefined ? readerOfType(schema) : value => readerOf(SCHEMAS[$ref])(value);
  READERS.set(schema, made);
  return made;
}

function readerOfType(schema: ISchema): Reader {
  if (schema.anyOf !== undefined) {
    return readerOfAny(schema.anyOf);
  }
  if (schema.enum !== undefined) {
    return readerOfEnum(schema.enum);
  }
  switch (schema.type) {
    case 'string':
      return readerOfString(schema.maxLength ?? TEXT_MAX);
    case 'boolean':
      return readBoolean;
    case 'integer':
      return readerOfInteger(schema);
    case 'number':
      return readNumber;
    case 'array':
      return readerOfArray(schema.items ?? {});
    case 'object':
      return readerOfObject(schema);
    default:
      return () => {
        throw new InvalidMessage('of a supported type');
      };
  }
}

function readerOfString(lengthMax: number): Reader {
  return value => {
    if (typeof value !== 'string') {
      throw new InvalidMessage('a text');
    }
    return value.length > lengthMax ? value.slice(0, lengthMax) : value;
  };
}

function readBoolean(value: any): boolean {
  if (typeof value !== 'boolean') {
    throw new InvalidMessage('true or false');
  }
  return value;
}

function readNumber(value: any): number {
  if (typeof value !== 'number') {
    throw new InvalidMessage('a number');
  }
  return value;
}

function readerOfEnum(values: ReadonlyArray<unknown>): Reader {
  const allowed = new Set(values);
  return value => {
    if (!allowed.has(value)) {
      throw new InvalidMessage(`one of ${values.join(', ')}`);
    }
    return value;
  };
}

function readerOfInteger(schema: ISchema): Reader {
  const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = schema;
  return value => {
    if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
      throw new InvalidMessage(`an integer from ${minimum} to ${maximum}`);
    }
    return value;
  };
}

function readerOfArray(items: ISchema): Reader {
  const readItem = readerOf(items);
  return value => {
    if (!Array.isArray(value) || value.length > LIST_MAX) {
      throw new InvalidMessage(`a list of at most ${LIST_MAX}`);
    }
    let index = 0;
    let result: any[] = value;
    try {
      for (; index < value.length; index++) {
        const item = readItem(value[index]);
        if (item !== value[index]) {
          result = result === value ? [...value] : result;
          result[index] = item;
        }
      }
      return result;
    } catch (reason) {
      throw reason instanceof InvalidMessage ? reason.within(`[${index}]`) : reason;
    }
  };
}

/** Return a reader of the alternatives in order; a missing value becomes null if null is one of them. */
function readerOfAny(alternatives: ReadonlyArray<ISchema>): Reader {
  const others = alternatives.filter(({ type }) => type !== 'null');
  const isNullable = others.length < alternatives.length;
  const readers = others.map(other => ({ type: other.type, read: readerOf(other) }));
  const last = readers[readers.length - 1].read;
  return value => {
    if (isNullable && (value === null || value === undefined)) {
      return null;
    }
    // An error costs much more than a comparison of types, and parameters of messages have many alternatives.
    let possible: Reader | null = null;
    for (const { type, read: readOne } of readers) {
      if (!hasType(value, type)) {
        continue;
      }
      if (possible !== null) {
        try {
          return possible(value);
        } catch {
          // The error of the last alternative is reported.
        }
      }
      possible = readOne;
    }
    return (possible ?? last)(value);
  };
}

/** Return whether a value may have a type of JSON Schema; true if that says nothing. */
function hasType(value: any, type: string | undefined): boolean {
  switch (type) {
    case 'string':
    case 'boolean':
      return typeof value === type;
    case 'integer':
    case 'number':
      return typeof value === 'number';
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    default:
      return true;
  }
}

function readerOfObject(schema: ISchema): Reader {
  const { additionalProperties, properties = {}, optional = [] } = schema;
  const readOther = additionalProperties === undefined ? null : readerOf(additionalProperties);
  const fields = Object.keys(properties).map(name => ({
    name,
    read: readerOf(properties[name]),
    isOptional: optional.includes(name)
  }));
  const names = new Set(Object.keys(properties));
  return value => {
    if (!isObject(value)) {
      throw new InvalidMessage('an object');
    }
    let field = '';
    try {
      if (readOther !== null) {
        let same = true;
        for (const name in value) {
          field = name;
          same = readOther(value[name]) === value[name] && same;
        }
        return same
          ? value
          : Object.fromEntries(Object.entries(value).map(([name, other]) => [name, readOther(other)]));
      }
      // A copy only where it differs: most of what the server sends has just the fields of its schema.
      let result: any = null;
      for (let index = 0; index < fields.length; index++) {
        const { name, read: readField, isOptional } = fields[index];
        const given = value[name];
        if (given === undefined && isOptional) {
          continue;
        }
        field = name;
        const known = readField(given);
        if (result !== null) {
          result[name] = known;
        } else if (known !== given) {
          result = beginning(value, fields, index);
          result[name] = known;
        }
      }
      return result ?? (hasOnly(value, names) ? value : beginning(value, fields, fields.length));
    } catch (reason) {
      throw reason instanceof InvalidMessage ? reason.within(`.${field}`) : reason;
    }
  };
}

function hasOnly(value: any, names: ReadonlySet<string>): boolean {
  for (const name in value) {
    if (!names.has(name)) {
      return false;
    }
  }
  return true;
}

/** Return a copy of the first fields of a value that it has. */
function beginning(value: any, fields: ReadonlyArray<{ readonly name: string }>, count: number): any {
  const result: any = {};
  for (let index = 0; index < count; index++) {
    const { name } = fields[index];
    if (value[name] !== undefined) {
      result[name] = value[name];
    }
  }
  return result;
}

/** Return a validated lease. */
export function readLease(value: unknown): LeaseView {
  return read(SCHEMAS.LeaseView, value, 'lease');
}

/** Return a validated job. */
export function readJob(value: unknown): JobView {
  return read(SCHEMAS.JobView, value, 'job');
}

/** Return a validated part of a log. */
export function readJobLog(value: unknown): JobLog {
  return read(SCHEMAS.JobLog, value, 'log');
}

/** Return the validated reasons for which a job was, or was not, computed. */
export function readJobExplanation(value: unknown): JobExplanation {
  return read(SCHEMAS.JobExplanation, value, 'explanation');
}

/** Return a validated result of a job. */
export function readJobDetails(value: unknown): JobDetailsView {
  return read(SCHEMAS.JobDetailsView, value, 'result');
}

/** Return how much disk jobs take, validated. */
export function readJobsUsage(value: unknown): JobsUsage {
  return read(SCHEMAS.JobsUsage, value, 'usage');
}

/** Return what was removed, validated. */
export function readPruneReport(value: unknown): PruneReport {
  return read(SCHEMAS.PruneReport, value, 'report');
}

/** Return the validated answer to an intent. */
export function readIntent(value: unknown): IntentView {
  return read(SCHEMAS.IntentView, value, 'intent');
}

/** Return the validated lease of a kernel that starts later. */
export function readRequested(value: unknown): RequestedView {
  return read(SCHEMAS.RequestedView, value, 'request');
}

/** Return a validated quota. */
export function readQuota(value: unknown): QuotaView {
  return read(SCHEMAS.QuotaView, value, 'quota');
}

/** Return a validated advice. */
export function readAdvice(value: unknown): AdviceView {
  return read(SCHEMAS.AdviceView, value, 'advice');
}

/** Return validated sizes. */
export function readSizes(value: unknown): SizeOptions {
  return read(SCHEMAS.SizeOptions, value, 'sizes');
}

/** Return whether an answer of the server's `api/me` allows an action; true if it does not say. */
export function readPermission(value: any, resource: string, action: string): boolean {
  const allowed = isObject(value) && isObject(value.permissions) ? value.permissions[resource] : null;
  return Array.isArray(allowed) ? allowed.includes(action) : true;
}

/** Return the validated amounts of what the user has spent. */
export function readSpending(value: unknown): SpendingView {
  return read(SCHEMAS.SpendingView, value, 'spending');
}

/** Return a validated list of kernels without a server. */
export function readKeptKernels(value: unknown): KeptKernelList {
  return read(SCHEMAS.KeptKernelList, value, 'kept kernels');
}

/** Return a validated history, whose series must have the same length. */
export function readHistory(value: unknown): HistoryView {
  const history: HistoryView = read(SCHEMAS.HistoryView, value, 'history');
  const { length } = history.utilization_percent;
  for (const name of SERIES) {
    if (history[name].length !== length) {
      throw new InvalidMessage(`a list of ${length}`, `history.${name}`);
    }
  }
  return history;
}

/** The schema of each message of the event stream, by its type. */
const MESSAGE_SCHEMAS: Readonly<Record<string, ISchema>> = {
  snapshot: SCHEMAS.SnapshotMessage,
  changed: SCHEMAS.ChangedMessage,
  usage: SCHEMAS.UsageMessage,
  keepalive: SCHEMAS.KeepaliveMessage,
  unreachable: SCHEMAS.UnreachableMessage,
  jobs: SCHEMAS.JobsMessage,
  jobs_unreachable: SCHEMAS.JobsUnreachableMessage
};

/** Return a validated message of the event stream; null if its type is unknown. */
export function readMessage(value: any): StreamMessage | null {
  if (!isObject(value) || typeof value.type !== 'string') {
    throw new InvalidMessage('a text', 'message.type');
  }
  const schema = MESSAGE_SCHEMAS[value.type];
  return schema === undefined ? null : read(schema, value, value.type);
}

/** Return the sentence of an error answer; null if it has none. */
export function readErrorMessage(value: any): string | null {
  const candidates = isObject(value) ? [value.message, value.detail] : [];
  const message = candidates.find(text => typeof text === 'string' && text.trim() !== '');
  return message === undefined ? null : message.trim().slice(0, TEXT_MAX);
}
