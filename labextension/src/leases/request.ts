/**
 * Requests to the FastGPU server extension, without state or retries.
 *
 * Requests go through `ServerConnection` with the settings of the application, so that base URL, token and cookies are
 * those of every other request. Each failure is thrown as a `FastGPUError` with a message for the user.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { HEADER, INTERFACE, UNSTATED, VERSION } from '../generated/version';
import type { FailureReason } from './lease';
import { readErrorMessage, readPermission } from './validate';

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

/** The base class of the clients of a part of the interface. */
export class ServerAPI {
  constructor(options: ServerAPI.IOptions = {}) {
    this._settings = options.serverSettings ?? ServerConnection.makeSettings();
  }

  /** Return whether the user may change what a resource of the server's authorizer names, as far as the server says. */
  async mayWrite(resource: string): Promise<boolean> {
    const query = URLExt.objectToQueryString({
      permissions: JSON.stringify({ [resource]: ['write'] })
    });
    const { baseUrl } = this._settings;
    try {
      const url = URLExt.join(baseUrl, 'api', 'me') + query;
      const response = await ServerConnection.makeRequest(url, { method: 'GET' }, this._settings);
      return readPermission(await response.json(), resource, 'write');
    } catch {
      return true; // A server that cannot say so refuses the change itself.
    }
  }

  protected async requestJSON<T>(
    path: string,
    init: RequestInit,
    read: (body: unknown) => T
  ): Promise<T> {
    const response = await this.request(path, init);
    const body: unknown = await response.json().catch(() => null);
    try {
      return read(body);
    } catch (reason) {
      throw new FastGPUError('protocol', errorMessage(reason));
    }
  }

  protected async request(path: string, init: RequestInit): Promise<Response> {
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

export namespace ServerAPI {
  export interface IOptions {
    readonly serverSettings?: ServerConnection.ISettings;
  }
}

/** Return a request that changes something once, however often it is sent. */
export function post(body: object, key: string): RequestInit {
  return { method: 'POST', headers: { 'Idempotency-Key': key }, body: JSON.stringify(body) };
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

export function errorMessage(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
