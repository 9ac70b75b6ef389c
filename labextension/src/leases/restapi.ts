/**
 * The HTTP of the FastGPU server extension, and nothing else: no state, no retries.
 *
 * Requests go through `ServerConnection` with the settings of the application, so that base URL, token and cookies are
 * those of every other request. Every failure leaves as a `FastGPUError` with a sentence the user can act on.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IHistory, ISubject, Resolution } from './history';
import type { Change, FailureReason, ILease, Message } from './lease';
import type { IEntitlement, IQuotaAPI } from './quota';
import { EventStreamParser } from './stream';
import { readErrorMessage, readHistory, readLease, readMessage, readQuota } from './validate';

/** Something the server or the network refused. */
export class FastGPUError extends Error {
  constructor(
    readonly reason: FailureReason,
    message: string
  ) {
    super(message);
    this.name = 'FastGPUError';
  }
}

/** What the manager needs of the server; tests put a fake in its place. */
export interface ILeaseAPI {
  /**
   * Open the event stream.
   *
   * Ends when the server closes it; raises a `FastGPUError` when it cannot be opened or breaks. `onOpen` is told the
   * server's time as soon as the server has answered.
   */
  events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncIterable<Message>;

  /** Give a lease back. */
  release(leaseId: string): Promise<ILease>;

  /** Move it off a GPU that is not well, park it, want it back, hold it, or let it be parked. */
  change(leaseId: string, change: Change): Promise<ILease>;
}

/** How the server is asked for a change. */
const REQUESTS: Readonly<Record<Change, { readonly verb: string; readonly body: object }>> = {
  move: { verb: 'move', body: {} },
  park: { verb: 'park', body: {} },
  resume: { verb: 'resume', body: {} },
  pin: { verb: 'pin', body: { pinned: true } },
  unpin: { verb: 'pin', body: { pinned: false } }
};

export class LeaseAPI implements ILeaseAPI, IQuotaAPI {
  constructor(options: LeaseAPI.IOptions = {}) {
    this._settings = options.serverSettings ?? ServerConnection.makeSettings();
  }

  async *events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<Message> {
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
          throw new FastGPUError('network', `The connection broke (${sentence(reason)}).`);
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
        // Comments and half events say nothing, except that the connection lives.
        yield { type: 'keepalive' };
      }
    } finally {
      // Also reached when the consumer stops early: without it the browser would keep the connection.
      await reader.cancel().catch(() => undefined);
    }
  }

  release(leaseId: string): Promise<ILease> {
    return this._lease(`leases/${encodeURIComponent(leaseId)}`, { method: 'DELETE' });
  }

  change(leaseId: string, change: Change): Promise<ILease> {
    const { verb, body } = REQUESTS[change];
    return this._lease(`leases/${encodeURIComponent(leaseId)}/${verb}`, {
      method: 'POST',
      body: JSON.stringify(body)
    });
  }

  /** What a lease or a device used, from `since` on, by the server's clock. */
  history(of: ISubject, resolution: Resolution, since: number): Promise<IHistory> {
    const query = URLExt.objectToQueryString({ resolution, since });
    return this._read(
      `${of.kind}/${encodeURIComponent(of.id)}/history${query}`,
      { method: 'GET', cache: 'no-store' },
      body => readHistory(body, 'history')
    );
  }

  quota(): Promise<ReadonlyArray<IEntitlement>> {
    return this._read('quota', { method: 'GET', cache: 'no-store' }, body =>
      readQuota(body, 'quota')
    );
  }

  /** A request that the server answers with a lease. */
  private _lease(path: string, init: RequestInit): Promise<ILease> {
    return this._read(path, init, body => readLease(body, 'lease'));
  }

  private async _read<T>(
    path: string,
    init: RequestInit,
    read: (body: unknown) => T
  ): Promise<T> {
    const response = await this._request(path, init);
    const body: unknown = await response.json().catch(() => null);
    try {
      return read(body);
    } catch (reason) {
      throw new FastGPUError('protocol', sentence(reason));
    }
  }

  private async _request(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this._settings.baseUrl, 'fastgpu', 'api', path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (reason) {
      throw new FastGPUError('network', sentence(reason));
    }
    if (!response.ok) {
      throw await refusal(response);
    }
    return response;
  }

  private readonly _settings: ServerConnection.ISettings;
}

export namespace LeaseAPI {
  export interface IOptions {
    readonly serverSettings?: ServerConnection.ISettings;
  }
}

function decode(data: string): Message | null {
  try {
    return readMessage(JSON.parse(data));
  } catch (reason) {
    throw new FastGPUError('protocol', sentence(reason));
  }
}

/** The server's own sentence where it has one; a status line where not. */
async function refusal(response: Response): Promise<FastGPUError> {
  const body: unknown = await response.json().catch(() => null);
  const message =
    readErrorMessage(body) ?? `HTTP ${response.status} ${response.statusText}`.trim();
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

function serverTime(response: Response): number | null {
  const date = Date.parse(response.headers.get('Date') ?? '');
  return Number.isNaN(date) ? null : date;
}

function sentence(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
