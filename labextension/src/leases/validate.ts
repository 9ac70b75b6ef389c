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
  LeaseView,
  QuotaView,
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
  readonly items?: ISchema;
  readonly additionalProperties?: ISchema;
  readonly properties?: Readonly<Record<string, ISchema>>;
  readonly optional?: ReadonlyArray<string>;
}

/** A longer list is treated as an error of the server. */
const LIST_MAX = 20_000;

/** A longer text is truncated; texts are only displayed. */
const TEXT_MAX = 4096;

/** The server sent a value that does not match the schema. */
export class InvalidMessage extends Error {
  constructor(field: string, expected: string) {
    super(`${field} is not ${expected}`);
    this.name = 'InvalidMessage';
  }
}

function isObject(value: any): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Return a copy of `value` with the fields of the schema; throws an `InvalidMessage` if it does not match. */
function validate(schema: ISchema, value: any, field: string): any {
  if (schema.$ref !== undefined) {
    return validate(SCHEMAS[schema.$ref], value, field);
  }
  if (schema.anyOf !== undefined) {
    return validateAny(schema.anyOf, value, field);
  }
  if (schema.enum !== undefined) {
    if (!schema.enum.includes(value)) {
      throw new InvalidMessage(field, `one of ${schema.enum.join(', ')}`);
    }
    return value;
  }
  switch (schema.type) {
    case 'string':
      if (typeof value !== 'string') {
        throw new InvalidMessage(field, 'a text');
      }
      return value.slice(0, TEXT_MAX);
    case 'boolean':
      if (typeof value !== 'boolean') {
        throw new InvalidMessage(field, 'true or false');
      }
      return value;
    case 'integer':
      return validateInteger(schema, value, field);
    case 'number':
      if (typeof value !== 'number') {
        throw new InvalidMessage(field, 'a number');
      }
      return value;
    case 'array':
      if (!Array.isArray(value) || value.length > LIST_MAX) {
        throw new InvalidMessage(field, `a list of at most ${LIST_MAX}`);
      }
      return value.map((item, index) => validate(schema.items ?? {}, item, `${field}[${index}]`));
    case 'object':
      return validateObject(schema, value, field);
    default:
      throw new InvalidMessage(field, 'of a supported type');
  }
}

function validateInteger(schema: ISchema, value: any, field: string): number {
  const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = schema;
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
    throw new InvalidMessage(field, `an integer from ${minimum} to ${maximum}`);
  }
  return value;
}

/** Validate against the alternatives in order; a missing value becomes null if null is one of them. */
function validateAny(alternatives: ReadonlyArray<ISchema>, value: any, field: string): any {
  const others = alternatives.filter(({ type }) => type !== 'null');
  if ((value === null || value === undefined) && others.length < alternatives.length) {
    return null;
  }
  for (const alternative of others.slice(0, -1)) {
    try {
      return validate(alternative, value, field);
    } catch {
      // The error of the last alternative is reported.
    }
  }
  return validate(others[others.length - 1], value, field);
}

function validateObject(schema: ISchema, value: any, field: string): any {
  if (!isObject(value)) {
    throw new InvalidMessage(field, 'an object');
  }
  const { additionalProperties, properties = {}, optional = [] } = schema;
  const result: any = {};
  if (additionalProperties !== undefined) {
    for (const [name, item] of Object.entries(value)) {
      result[name] = validate(additionalProperties, item, `${field}.${name}`);
    }
  }
  for (const [name, property] of Object.entries(properties)) {
    if (value[name] !== undefined || !optional.includes(name)) {
      result[name] = validate(property, value[name], `${field}.${name}`);
    }
  }
  return result;
}

/** Return a validated lease. */
export function readLease(value: unknown): LeaseView {
  return validate(SCHEMAS.LeaseView, value, 'lease');
}

/** Return the validated answer to an intent. */
export function readIntent(value: unknown): IntentView {
  return validate(SCHEMAS.IntentView, value, 'intent');
}

/** Return a validated quota. */
export function readQuota(value: unknown): QuotaView {
  return validate(SCHEMAS.QuotaView, value, 'quota');
}

/** Return a validated advice. */
export function readAdvice(value: unknown): AdviceView {
  return validate(SCHEMAS.AdviceView, value, 'advice');
}

/** Return validated sizes. */
export function readSizes(value: unknown): SizeOptions {
  return validate(SCHEMAS.SizeOptions, value, 'sizes');
}

/** Return whether an answer of the server's `api/me` allows an action; true if it does not say. */
export function readPermission(value: any, resource: string, action: string): boolean {
  const allowed = isObject(value) && isObject(value.permissions) ? value.permissions[resource] : null;
  return Array.isArray(allowed) ? allowed.includes(action) : true;
}

/** Return the validated amounts of what the user has spent. */
export function readSpending(value: unknown): SpendingView {
  return validate(SCHEMAS.SpendingView, value, 'spending');
}

/** Return a validated history, whose series must have the same length. */
export function readHistory(value: unknown): HistoryView {
  const history: HistoryView = validate(SCHEMAS.HistoryView, value, 'history');
  const { length } = history.utilization_percent;
  for (const name of SERIES) {
    if (history[name].length !== length) {
      throw new InvalidMessage(`history.${name}`, `a list of ${length}`);
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
  unreachable: SCHEMAS.UnreachableMessage
};

/** Return a validated message of the event stream; null if its type is unknown. */
export function readMessage(value: any): StreamMessage | null {
  if (!isObject(value) || typeof value.type !== 'string') {
    throw new InvalidMessage('message.type', 'a text');
  }
  const schema = MESSAGE_SCHEMAS[value.type];
  return schema === undefined ? null : validate(schema, value, value.type);
}

/** Return the sentence of an error answer; null if it has none. */
export function readErrorMessage(value: any): string | null {
  const candidates = isObject(value) ? [value.message, value.detail] : [];
  const message = candidates.find(text => typeof text === 'string' && text.trim() !== '');
  return message === undefined ? null : message.trim().slice(0, TEXT_MAX);
}
