/**
 * The source of a lease where the page has no model of the pool: the kernel itself.
 *
 * It sends one message for each action of the user, and none by itself. Between two actions it knows what the last
 * answer said, so its clock stands still at that time.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type {
  ILeaseSource,
  ISourceActions,
  SourceAction
} from '../controls/source';
import type { HistoryView, LeaseView, MessageView, PoolView, SizeOptions } from '../generated/api';
import type { IHistorySubject, Resolution } from '../leases/history';
import type { Connection } from '../leases/lease';
import { messageText } from '../texts/message';
import type { Translations } from './texts';

/** The kind of the messages of the kernel's protocol. */
const KIND = 'fastgpu';

/** The kernel answers within this time, unless its process is stopped or gone. */
export const ANSWER_TIMEOUT_MS = 30_000;

/** What is known of the lease; `null` where nothing is. The kernel sends it with each of its messages. */
export interface ILiveState {
  readonly lease: LeaseView | null;
  /** Why the pool manager cannot be asked. */
  readonly problem: string | null;
  /** The kernel's time of the state. */
  readonly now: number;
  readonly pool: PoolView | null;
  readonly sizes: SizeOptions | null;
  /** The usage of the last minutes. */
  readonly history: HistoryView | null;
}

/** What the widget begins with. */
export interface IInitialState extends ILiveState {
  readonly kernel_id: string | null;
  readonly gated: boolean;
  /** The language of the kernel's user, as in `zh-CN`; null for that of the page. */
  readonly language: string | null;
  readonly translations: Translations;
}

interface IAnswer extends Partial<ILiveState> {
  readonly kind: string;
  /** The id of the request; null if the message tells of another widget's request. */
  readonly id: string | null;
  readonly error?: { readonly message: MessageView } | null;
}

/** The part of a widget's model that the source needs. */
export interface IModel {
  get(name: '_initial'): IInitialState;
  send(content: object): void;
  on(event: string, listener: (content: unknown) => void): void;
  off(event: string, listener: (content: unknown) => void): void;
}

interface IRequest {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** The lease as the kernel's messages tell. */
export class CommSource implements ILeaseSource {
  constructor(model: IModel, trans: TranslationBundle, language: string) {
    this._model = model;
    this._trans = trans;
    this._language = language;
    const initial = model.get('_initial');
    this.isGated = initial.gated;
    this._state = initial;
    model.on('msg:custom', this._onMessage);
    model.on('comm:close', this._onClose);
    model.on('comm_live_update', this._onClose);
  }

  readonly isGated: boolean;
  readonly canAct = true;
  readonly samples: ReadonlyArray<number | null> = [];
  readonly leases: ReadonlyArray<LeaseView> = [];
  readonly queueLength = null;

  get lease(): LeaseView | null {
    return this._state.lease;
  }

  get pool(): PoolView | null {
    return this._state.pool;
  }

  get connection(): Connection {
    const { problem } = this._state;
    return problem === null
      ? { kind: 'connected' }
      : { kind: 'unreachable', reason: 'pool', message: problem, retryAt: null, since: this.updatedAt };
  }

  get updatedAt(): number {
    return this._state.now;
  }

  get isPending(): boolean {
    return this._requests.size > 0;
  }

  /** Whether the kernel's end of the comm is gone. */
  get isEnded(): boolean {
    return this._isEnded;
  }

  now(): number {
    return this._state.now;
  }

  readonly changed = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => {
      this._listeners.delete(listener);
    };
  };

  act<A extends SourceAction>(action: A, args: ISourceActions[A]): Promise<void> {
    return this._request(action, args ?? {});
  }

  async sizes(): Promise<SizeOptions> {
    const { sizes } = this._state;
    if (sizes === null) {
      throw new Error(this._trans.__('The sizes are unknown.'));
    }
    return sizes;
  }

  readonly loadHistory = async (
    _subject: IHistorySubject,
    resolution: Resolution
  ): Promise<HistoryView> => {
    const { history } = this._state;
    if (history === null || resolution !== '1s') {
      throw new Error(this._trans.__('Only the last minutes are known here.'));
    }
    return history;
  };

  refresh(): void {
    void this._request('refresh', {}).catch(() => undefined);
  }

  dispose(): void {
    this._model.off('msg:custom', this._onMessage);
    this._model.off('comm:close', this._onClose);
    this._model.off('comm_live_update', this._onClose);
    this._listeners.clear();
  }

  private _request(action: string, args: object): Promise<void> {
    this._count += 1;
    const id = `${this._prefix}-${this._count}`;
    const sent = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => this._settle(id, new Error(this._trans.__('The kernel does not answer. It may have been stopped.'))),
        ANSWER_TIMEOUT_MS
      );
      this._requests.set(id, { resolve, reject, timer });
    });
    this._emit();
    try {
      this._model.send({ kind: KIND, id, action, args });
    } catch (reason) {
      this._settle(id, reason instanceof Error ? reason : new Error(String(reason)));
    }
    return sent;
  }

  private readonly _onMessage = (content: unknown): void => {
    const answer = content as IAnswer;
    if (answer.kind !== KIND) {
      return;
    }
    const { lease, problem, now, pool, sizes, history } = { ...this._state, ...answer };
    this._state = { lease, problem, now, pool, sizes, history };
    const { id, error } = answer;
    if (id !== null) {
      const failed = error ? new Error(messageText(error.message, this._trans, this._language)) : null;
      this._settle(id, failed);
    }
    this._emit();
  };

  private readonly _onClose = (): void => {
    this._isEnded = true;
    for (const id of [...this._requests.keys()]) {
      this._settle(id, new Error(this._trans.__('The kernel has ended.')));
    }
    this._emit();
  };

  private _settle(id: string, failure: Error | null): void {
    const request = this._requests.get(id);
    if (request === undefined) {
      return;
    }
    this._requests.delete(id);
    clearTimeout(request.timer);
    if (failure === null) {
      request.resolve();
    } else {
      request.reject(failure);
    }
    this._emit();
  }

  private _emit(): void {
    for (const listener of [...this._listeners]) {
      listener();
    }
  }

  private readonly _model: IModel;
  private readonly _trans: TranslationBundle;
  private readonly _language: string;
  private readonly _listeners = new Set<() => void>();
  private readonly _requests = new Map<string, IRequest>();
  // Several views of one widget get each other's answers.
  private readonly _prefix = Math.random().toString(36).slice(2, 10);
  private _count = 0;
  private _state: ILiveState;
  private _isEnded = false;
}
