/** The requests about leases, devices and the pool, and the event stream. */

import { URLExt } from '@jupyterlab/coreutils';

import type { ISizesQuery } from '../controls/source';
import type {
  AdviceView,
  HistoryView,
  IntentBody,
  IntentView,
  KeptKernelList,
  LeaseView,
  QuotaView,
  RequestedView,
  SizeOptions,
  SpendingView
} from '../generated/api';
import type { LeaseAction } from './actions';
import { LEASE_ACTIONS } from './actions';
import type { IHistorySubject, Resolution } from './history';
import type { StreamMessage } from './lease';
import type { IQuotaAPI } from './quota';
import { errorMessage, FastGPUError, post, ServerAPI } from './request';
import type { ISpendingAPI } from './spending';
import { EventStreamParser } from './stream';
import {
  readAdvice,
  readHistory,
  readIntent,
  readKeptKernels,
  readLease,
  readMessage,
  readQuota,
  readRequested,
  readSizes,
  readSpending
} from './validate';

/** The name of leases in the rules of the server's authorizer. */
const LEASES_RESOURCE = 'fastgpu:leases';

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

/** After an event of more characters the page does something else before the next, which may have come with it. */
const LARGE_EVENT_CHARS = 50_000;

/** Resolves in a task of its own. A timer would wait for a second in a page that is hidden. */
function nextTask(): Promise<void> {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** The client that sends real requests. */
export class LeaseAPI extends ServerAPI implements ILeaseAPI, IQuotaAPI, ISpendingAPI {
  async *events(
    signal: AbortSignal,
    onOpen: (serverTime: number | null) => void
  ): AsyncGenerator<StreamMessage> {
    const response = await this.request('events', {
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
          if (data.length > LARGE_EVENT_CHARS) {
            await nextTask();
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

  /** Return the kernels that run on without a server and that this one has not adopted. */
  keptKernels(): Promise<KeptKernelList> {
    return this.requestJSON('kept_kernels', { method: 'GET', cache: 'no-store' }, readKeptKernels);
  }

  /** End such a kernel, and return those that are left. */
  endKept(kernelId: string): Promise<KeptKernelList> {
    return this.requestJSON(`kept_kernels/${encodeURIComponent(kernelId)}`, { method: 'DELETE' }, readKeptKernels);
  }

  /** Return the sizes that a lease, or a new request, can have. */
  sizes(query: ISizesQuery): Promise<SizeOptions> {
    const search = URLExt.objectToQueryString({ ...query });
    return this.requestJSON(`sizes${search}`, { method: 'GET', cache: 'no-store' }, readSizes);
  }

  /** Return the advice on the size of a lease, or the reason for which there is none. */
  advice(leaseId: string): Promise<AdviceView> {
    const path = `leases/${encodeURIComponent(leaseId)}/advice`;
    return this.requestJSON(path, { method: 'GET', cache: 'no-store' }, readAdvice);
  }

  /** Give no advice for the notebook of a lease, or give it again. A repeated request changes nothing. */
  silenceAdvice(leaseId: string, silenced: boolean): Promise<AdviceView> {
    const path = `leases/${encodeURIComponent(leaseId)}/advice/silence`;
    return this.requestJSON(path, { method: 'POST', body: JSON.stringify({ silenced }) }, readAdvice);
  }

  mayChange(): Promise<boolean> {
    return this.mayWrite(LEASES_RESOURCE);
  }

  /** Return the usage of a lease or device since a time of the server's clock. */
  history(subject: IHistorySubject, resolution: Resolution, since: number): Promise<HistoryView> {
    const query = URLExt.objectToQueryString({ resolution, since });
    return this.requestJSON(
      `${subject.kind}/${encodeURIComponent(subject.id)}/history${query}`,
      { method: 'GET', cache: 'no-store' },
      readHistory
    );
  }

  /** Return the entitlements that the user may see. */
  quota(): Promise<QuotaView> {
    return this.requestJSON('quota', { method: 'GET', cache: 'no-store' }, readQuota);
  }

  /** Register what the user chose for the kernel that is started next under an id. */
  registerIntent(kernelId: string, parameters: IntentBody): Promise<IntentView> {
    return this.requestJSON(
      `intents/${encodeURIComponent(kernelId)}`,
      { method: 'PUT', body: JSON.stringify(parameters) },
      readIntent
    );
  }

  /** Request the lease of a kernel that starts when it is granted; a repeated request returns the same one. */
  requestForKernel(
    kernelId: string,
    body: { readonly kernel: string; readonly notebook: string; readonly parameters: IntentBody }
  ): Promise<RequestedView> {
    const path = `requests/${encodeURIComponent(kernelId)}`;
    return this.requestJSON(path, { method: 'POST', body: JSON.stringify(body) }, readRequested);
  }

  /** Return what the user has spent this month, and since a time of the server's clock. */
  spending(since: number): Promise<SpendingView> {
    const query = URLExt.objectToQueryString({ since });
    return this.requestJSON(`spending${query}`, { method: 'GET', cache: 'no-store' }, readSpending);
  }

  /** Return the user's statement of a month as CSV. */
  async statement(month: string): Promise<Blob> {
    return (await this.request(`statements/${encodeURIComponent(month)}.csv`, { method: 'GET' })).blob();
  }

  /** Send a request that the server answers with a lease. */
  private _requestLease(path: string, init: RequestInit): Promise<LeaseView> {
    return this.requestJSON(path, init, readLease);
  }
}

function decode(data: string): StreamMessage | null {
  try {
    return readMessage(JSON.parse(data));
  } catch (reason) {
    throw new FastGPUError('protocol', errorMessage(reason));
  }
}

function serverTime(response: Response): number | null {
  const date = Date.parse(response.headers.get('Date') ?? '');
  return Number.isNaN(date) ? null : date;
}

