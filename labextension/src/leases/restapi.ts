/**
 * The HTTP client of the FastGPU server extension, without state or retries.
 *
 * Requests go through `ServerConnection` with the settings of the application, so that base URL, token and cookies are
 * those of every other request. Each failure is thrown as a `FastGPUError` with a message for the user.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { ISizesQuery } from '../controls/source';
import type {
  AdviceView,
  HistoryView,
  IntentBody,
  IntentView,
  LeaseView,
  QuotaView,
  SizeOptions,
  SpendingView
} from '../generated/api';
import { HEADER, INTERFACE, UNSTATED, VERSION } from '../generated/version';
import type { LeaseAction } from './actions';
import { LEASE_ACTIONS } from './actions';
import type { IHistorySubject, Resolution } from './history';
import type { FailureReason, StreamMessage } from './lease';
import type { IQuotaAPI } from './quota';
import type { ISpendingAPI } from './spending';
import { EventStreamParser } from './stream';
import {
  readAdvice,
  readErrorMessage,
  readHistory,
  readIntent,
  readLease,
  readMessage,
  readPermission,
  readQuota,
  readSizes,
  readSpending
} from './validate';

/** The name of leases in the rules of the server's authorizer. */
const LEASES_RESOURCE = 'fastgpu:leases';

/** A request that the server refused, or that failed on the network. */
export class FastGPUError extends Error {
  constructor(
    readonly reason: FailureReason,
    message: string
  ) {
    super(message);
    this.name = 'FastGPUError';
  }
}

/** The requests that the manager needs; tests provide a fake. */
export interface ILeaseAPI {
  /**
   * Open the event stream and yield its messages until the server closes it.
   *
   * Throws a `FastGPUError` if the stream cannot be opened or breaks. `onOpen` is called with the server's time when
   * the server has answered.
   */
  events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncIterable<StreamMessage>;

  /** Release a lease; `key` makes a repeated request do nothing twice. */
  release(leaseId: string, key: string): Promise<LeaseView>;

  /** Request an action on a lease; `key` makes a repeated request do nothing twice. */
  requestAction(leaseId: string, action: LeaseAction, key: string): Promise<LeaseView>;

  /** Post a body to a path of a lease; `key` makes a repeated request do nothing twice. */
  change(leaseId: string, path: string, body: object, key: string): Promise<LeaseView>;

  /** Request a lease for a running kernel that has none; `key` makes a repeated request do nothing twice. */
  requestLease(kernelId: string, body: object, key: string): Promise<LeaseView>;

  /** Return whether the user may change leases, as far as the server says. */
  mayChange(): Promise<boolean>;
}

/** The client that sends real requests. */
export class LeaseAPI implements ILeaseAPI, IQuotaAPI, ISpendingAPI {
  constructor(options: LeaseAPI.IOptions = {}) {
    this._settings = options.serverSettings ?? ServerConnection.makeSettings();
  }

  async *events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<StreamMessage> {
    const response = await this._request('events', {
      method: 'GET',
      headers: { Accept: 'text/event-stream' },
      cache: 'no-store',
      signal
    });
    if (response.body === null) {
      throw new FastGPUError('network', 'The server answered without a stream.');
    }
    onOpen(serverTime(response));
    const parser = new EventStreamParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((reason: unknown) => {
          throw new FastGPUError('network', `The connection was lost (${errorMessage(reason)}).`);
        });
        if (done) {
          return;
        }
        for (const data of parser.push(decoder.decode(value, { stream: true }))) {
          const message = decode(data);
          if (message !== null) {
            yield message;
          }
        }
        // Comments and incomplete events have no data, but they show that the connection is alive.
        yield { type: 'keepalive' };
      }
    } finally {
      // Also reached when the consumer stops early; otherwise the browser would leave the connection open.
      await reader.cancel().catch(() => undefined);
    }
  }

  release(leaseId: string, key: string): Promise<LeaseView> {
    return this._requestLease(`leases/${encodeURIComponent(leaseId)}`, {
      method: 'DELETE',
      headers: { 'Idempotency-Key': key }
    });
  }

  requestAction(leaseId: string, action: LeaseAction, key: string): Promise<LeaseView> {
    const { path, body } = LEASE_ACTIONS[action];
    return this.change(leaseId, path, body, key);
  }

  change(leaseId: string, path: string, body: object, key: string): Promise<LeaseView> {
    return this._requestLease(`leases/${encodeURIComponent(leaseId)}/${path}`, post(body, key));
  }

  requestLease(kernelId: string, body: object, key: string): Promise<LeaseView> {
    return this._requestLease(`kernels/${encodeURIComponent(kernelId)}/lease`, post(body, key));
  }

  /** Return the sizes that a lease, or a new request, can have. */
  sizes(query: ISizesQuery): Promise<SizeOptions> {
    const search = URLExt.objectToQueryString({ ...query });
    return this._requestJSON(`sizes${search}`, { method: 'GET', cache: 'no-store' }, readSizes);
  }

  /** Return the advice on the size of a lease, or the reason for which there is none. */
  advice(leaseId: string): Promise<AdviceView> {
    const path = `leases/${encodeURIComponent(leaseId)}/advice`;
    return this._requestJSON(path, { method: 'GET', cache: 'no-store' }, readAdvice);
  }

  /** Give no advice for the notebook of a lease, or give it again. A repeated request changes nothing. */
  silenceAdvice(leaseId: string, silenced: boolean): Promise<AdviceView> {
    const path = `leases/${encodeURIComponent(leaseId)}/advice/silence`;
    return this._requestJSON(path, { method: 'POST', body: JSON.stringify({ silenced }) }, readAdvice);
  }

  async mayChange(): Promise<boolean> {
    const query = URLExt.objectToQueryString({
      permissions: JSON.stringify({ [LEASES_RESOURCE]: ['write'] })
    });
    const { baseUrl } = this._settings;
    try {
      const url = URLExt.join(baseUrl, 'api', 'me') + query;
      const response = await ServerConnection.makeRequest(url, { method: 'GET' }, this._settings);
      return readPermission(await response.json(), LEASES_RESOURCE, 'write');
    } catch {
      return true; // A server that cannot say so refuses the change itself.
    }
  }

  /** Return the usage of a lease or device since a time of the server's clock. */
  history(subject: IHistorySubject, resolution: Resolution, since: number): Promise<HistoryView> {
    const query = URLExt.objectToQueryString({ resolution, since });
    return this._requestJSON(
      `${subject.kind}/${encodeURIComponent(subject.id)}/history${query}`,
      { method: 'GET', cache: 'no-store' },
      readHistory
    );
  }

  /** Return the entitlements that the user may see. */
  quota(): Promise<QuotaView> {
    return this._requestJSON('quota', { method: 'GET', cache: 'no-store' }, readQuota);
  }

  /** Register what the user chose for the kernel that is started next under an id. */
  registerIntent(kernelId: string, parameters: IntentBody): Promise<IntentView> {
    return this._requestJSON(
      `intents/${encodeURIComponent(kernelId)}`,
      { method: 'PUT', body: JSON.stringify(parameters) },
      readIntent
    );
  }

  /** Return what the user has spent this month, and since a time of the server's clock. */
  spending(since: number): Promise<SpendingView> {
    const query = URLExt.objectToQueryString({ since });
    return this._requestJSON(`spending${query}`, { method: 'GET', cache: 'no-store' }, readSpending);
  }

  /** Return the user's statement of a month as CSV. */
  async statement(month: string): Promise<Blob> {
    return (await this._request(`statements/${encodeURIComponent(month)}.csv`, { method: 'GET' })).blob();
  }

  /** Send a request that the server answers with a lease. */
  private _requestLease(path: string, init: RequestInit): Promise<LeaseView> {
    return this._requestJSON(path, init, readLease);
  }

  private async _requestJSON<T>(
    path: string,
    init: RequestInit,
    read: (body: unknown) => T
  ): Promise<T> {
    const response = await this._request(path, init);
    const body: unknown = await response.json().catch(() => null);
    try {
      return read(body);
    } catch (reason) {
      throw new FastGPUError('protocol', errorMessage(reason));
    }
  }

  private async _request(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this._settings.baseUrl, 'fastgpu', 'api', path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (reason) {
      throw new FastGPUError('network', errorMessage(reason));
    }
    if (!response.ok) {
      throw await errorOf(response);
    }
    requireSameInterface(response);
    return response;
  }

  private readonly _settings: ServerConnection.ISettings;
}

export namespace LeaseAPI {
  export interface IOptions {
    readonly serverSettings?: ServerConnection.ISettings;
  }
}

/** Return a request that changes something once, however often it is sent. */
function post(body: object, key: string): RequestInit {
  return { method: 'POST', headers: { 'Idempotency-Key': key }, body: JSON.stringify(body) };
}

function decode(data: string): StreamMessage | null {
  try {
    return readMessage(JSON.parse(data));
  } catch (reason) {
    throw new FastGPUError('protocol', errorMessage(reason));
  }
}

/** Return the error for a response, with the server's message or else the status line. */
async function errorOf(response: Response): Promise<FastGPUError> {
  const body: unknown = await response.json().catch(() => null);
  const message =
    readErrorMessage(body) ?? `HTTP ${response.status} ${response.statusText}`.trim();
  if ((body as { readonly code?: unknown } | null)?.code === 'outcome_unknown') {
    return new FastGPUError('unanswered', message);
  }
  switch (response.status) {
    case 401:
    case 403:
      return new FastGPUError('forbidden', message);
    case 404:
      return new FastGPUError('missing', message);
    case 502:
    case 503:
    case 504:
      return new FastGPUError('pool', message);
    default:
      return new FastGPUError('refused', message);
  }
}

/** Throw a `FastGPUError` if the page would not understand the answer, because the server is of another version. */
function requireSameInterface(response: Response): void {
  const stated = /^([\w.+!-]{1,64}); interface=(\d{1,6})$/.exec(response.headers.get(HEADER) ?? '');
  const theirs = stated === null ? UNSTATED : Number(stated[2]);
  if (theirs !== INTERFACE) {
    const server = `FastGPU ${stated === null ? '(older than 0.1.0)' : stated[1]} (interface ${theirs})`;
    throw new FastGPUError(
      'version',
      `This page is FastGPU ${VERSION} (interface ${INTERFACE}), and the Jupyter server is ${server}.`
    );
  }
}

function serverTime(response: Response): number | null {
  const date = Date.parse(response.headers.get('Date') ?? '');
  return Number.isNaN(date) ? null : date;
}

function errorMessage(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
