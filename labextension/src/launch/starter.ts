/**
 * Starts the kernels of notebooks with the size that the user chose, or that the notebook remembers.
 *
 * JupyterLab has no event before the start of a kernel. The two public methods through which a notebook gets a kernel,
 * `startNew` of the session manager and `changeKernel` of a session, are wrapped on their objects: another session
 * manager in their place would exclude one that another extension provides. All other calls pass through unchanged.
 *
 * - Without a session, `POST /api/sessions` takes the id of the kernel (jupyter_server 2.21). An older server would
 *   ignore it: there the kernel is started first, and the session gets it by its id.
 * - A session with a kernel takes another one only by the id of a kernel that runs. It is started first, and ended if
 *   the session does not take it.
 */

import { PathExt } from '@jupyterlab/coreutils';
import type { Kernel, KernelSpec, Session } from '@jupyterlab/services';
import { UUID } from '@lumino/coreutils';

import type { ISizesQuery } from '../controls/source';
import type { IntentBody, IntentView, SizeOptions } from '../generated/api';
import type { IChoice, Raised } from './choice';
import { bounded, defaultsOf, isFastGPU, parametersOf, raisedBy, readRemembered } from './choice';
import type { ICluster } from './cluster';
import { mayCostMore } from './rates';

/** A document with a kernel, such as a notebook. */
export interface INotebook {
  /** The path of the document, without a drive. */
  readonly path: string;
  /** The name and the path under which the document starts sessions. */
  readonly sessionName: string;
  readonly sessionPath: string;
  /** The part of the document's metadata that FastGPU wrote; undefined if there is none. */
  readonly remembered: unknown;
  /** Fulfilled when the document has had a session. */
  readonly ready: Promise<void>;
  /** The session of the document; null if it has none. */
  readonly session: Session.ISessionConnection | null;
  /** Give the document a kernel of a kernelspec, as the user does in the dialog of kernels. */
  changeKernel(name: string): Promise<unknown>;
  /** Show the kernel that the document has as its kernel, after another one was chosen and has not started. */
  keepKernel(): Promise<void>;
  /** Leave the document without a kernel, also while one starts. */
  stopKernel(): Promise<void>;
}

/** The requests of a start; tests provide a fake. */
export interface IStartAPI {
  registerIntent(kernelId: string, parameters: IntentBody): Promise<IntentView>;
  /** Return the sizes that a new request can have. */
  sizes(query: ISizesQuery): Promise<SizeOptions>;
  /** Start a kernel under an id, in the folder of a path. */
  startKernel(kernelId: string, name: string, path: string): Promise<void>;
  shutdownKernel(kernelId: string): Promise<void>;
}

/** Why a kernel has not started as its notebook asks. */
export type StartNotice =
  | { readonly kind: 'newer' | 'invalid'; readonly used: IChoice }
  | {
      readonly kind: 'raised';
      readonly raised: ReadonlyArray<Raised>;
      readonly asked: IChoice;
      readonly used: IChoice;
    }
  | { readonly kind: 'refused'; readonly asked: IChoice; readonly used: IChoice; readonly reason: unknown };

/** A choice for one start; the user has just made it, or the notebook remembers it. */
export interface IPlan {
  readonly kernel: string;
  readonly choice: IChoice;
  readonly defaults: IChoice;
  readonly isExplicit: boolean;
  readonly notebook: INotebook;
  /** Whether the kernel runs on a cluster, so that its lease is granted before it starts. */
  readonly isRemote: boolean;
}

/** What a notebook gets that shall have no session after all: JupyterLab ends a session that it did not ask for. */
const NO_SESSION = {
  path: '/no-session',
  shutdown: () => Promise.resolve(),
  dispose: () => undefined
} as unknown as Session.ISessionConnection;

export class KernelStarter {
  constructor(options: KernelStarter.IOptions) {
    this._options = options;
    const { sessions } = options;
    const startNew = sessions.startNew.bind(sessions);
    sessions.startNew = (create, connect) => this._startNew(startNew, create, connect);
  }

  /** Use the choices of a notebook until the returned function is called. */
  track(notebook: INotebook): () => void {
    this._notebooks.add(notebook);
    return () => this._notebooks.delete(notebook);
  }

  /** Use the choices of a notebook also where its session gets another kernel. */
  wrap(session: Session.ISessionConnection, notebook: INotebook): void {
    if (this._wrapped.has(session)) {
      return;
    }
    this._wrapped.add(session);
    const changeKernel = session.changeKernel.bind(session);
    session.changeKernel = options => this._changeKernel(changeKernel, options, notebook);
  }

  /** Start the next kernel of the document at `path` with a choice, if it is one of kernelspec `kernel`. */
  chooseNext(path: string, kernel: string, choice: IChoice): void {
    this._next.set(path, { kernel, choice });
  }

  private async _startNew(
    startNew: Session.IManager['startNew'],
    create: Session.ISessionOptions,
    connect: Parameters<Session.IManager['startNew']>[1]
  ): Promise<Session.ISessionConnection> {
    const notebook = this._notebookOf(create);
    const plan = notebook === null ? null : await this._plan(notebook, create.kernel ?? {});
    if (notebook !== null && plan?.isRemote !== true) {
      this._options.cluster.endWait(notebook);
    }
    if (notebook === null || plan === null) {
      return startNew(create, connect);
    }
    const start = (id: string, how: IntentView['start']) => {
      const kernel: Partial<Kernel.IModel> = { ...create.kernel, id };
      const post = () => startNew({ ...create, kernel }, connect);
      return how === 'sessions' ? post() : this._withKernel(id, plan, post);
    };
    if (!plan.isRemote) {
      return this._start(plan, start, () => startNew(create, connect));
    }
    const session = await this._startRemote(plan, start);
    if (session === null) {
      // Until then JupyterLab would take the document for ready without a session: ipywidgets gives up on such a one.
      await notebook.ready;
    }
    return session ?? NO_SESSION;
  }

  private async _changeKernel(
    changeKernel: Session.ISessionConnection['changeKernel'],
    options: Partial<Kernel.IModel>,
    notebook: INotebook
  ): Promise<Kernel.IKernelConnection | null> {
    const plan = await this._plan(notebook, options);
    if (plan === null) {
      return changeKernel(options);
    }
    const start = (id: string) => this._withKernel(id, plan, () => changeKernel({ ...options, id }));
    if (!plan.isRemote) {
      return this._start(plan, start, () => changeKernel(options));
    }
    const started = await this._startRemote(plan, start);
    if (started !== null) {
      return started;
    }
    // Until the lease is granted the notebook keeps the kernel that it has; JupyterLab shows the chosen one already.
    setTimeout(() => void notebook.keepKernel().catch(() => undefined));
    return notebook.session?.kernel ?? null;
  }

  /** Start a kernel on a lease that was granted to it; null if the notebook gets none now. */
  private async _startRemote<T>(
    plan: IPlan,
    start: (id: string, how: IntentView['start']) => Promise<T>
  ): Promise<T | null> {
    const { api, cluster } = this._options;
    return cluster.start(plan, async (kernelId, leaseId) => {
      const intent = await api.registerIntent(kernelId, { ...parametersOf(plan.choice), lease_id: leaseId });
      return start(kernelId, intent.start);
    });
  }

  /** Start a kernel without a session, and end it if `take` fails: no document would show it, and it has a GPU. */
  private async _withKernel<T>(id: string, plan: IPlan, take: () => Promise<T>): Promise<T> {
    const { api } = this._options;
    await api.startKernel(id, plan.kernel, PathExt.dirname(plan.notebook.sessionPath));
    try {
      return await take();
    } catch (reason) {
      await api.shutdownKernel(id).catch(() => undefined);
      throw reason;
    }
  }

  /**
   * Start a kernel with a plan.
   *
   * A choice that the user has just made fails with the reason. One that the notebook remembers may be of another place:
   * the kernel starts with its defaults, and the user is notified.
   */
  private async _start<T>(
    plan: IPlan,
    withChoice: (id: string, start: IntentView['start']) => Promise<T>,
    withDefaults: () => Promise<T>
  ): Promise<T> {
    const { api, onNotice } = this._options;
    try {
      const id = UUID.uuid4();
      const { start } = await api.registerIntent(id, parametersOf(plan.choice));
      return await withChoice(id, start);
    } catch (reason) {
      if (plan.isExplicit) {
        throw reason;
      }
      const started = await withDefaults();
      onNotice({ kind: 'refused', asked: plan.choice, used: plan.defaults, reason }, plan.notebook);
      return started;
    }
  }

  /** Return what to start with; null to start as if this extension were not there. */
  private async _plan(notebook: INotebook, model: Partial<Kernel.IModel>): Promise<IPlan | null> {
    const { api, cluster, specs, consent, onNotice } = this._options;
    const { name, id } = model;
    if (name === undefined || name === '' || id) {
      return null; // a kernel that runs, or the server's default
    }
    await specs.ready;
    const spec = specs.specs?.kernelspecs[name];
    if (!isFastGPU(spec)) {
      return null;
    }
    const defaults = defaultsOf(spec);
    const isRemote = await cluster.isUsed();
    const plan = (choice: IChoice, isExplicit = false): IPlan => ({
      kernel: name,
      choice,
      defaults,
      isExplicit,
      notebook,
      isRemote
    });
    const withDefaults = () => (isRemote ? plan(defaults) : null);
    const next = this._next.get(notebook.path);
    this._next.delete(notebook.path);
    if (next?.kernel === name) {
      return plan(next.choice, true);
    }
    const remembered = readRemembered(notebook.remembered);
    if (remembered.kind !== 'choice') {
      if (remembered.kind !== 'nothing') {
        onNotice({ kind: remembered.kind, used: defaults }, notebook);
      }
      return withDefaults();
    }
    if (remembered.kernel !== name) {
      return withDefaults(); // the user chose another kernel, whose own size the user expects
    }
    const asked: IChoice = { ...defaults, ...remembered.values };
    if (await consent.has(notebook.path, name, asked)) {
      return plan(asked);
    }
    const raised = raisedBy(asked, defaults, await mayCostMore(asked, defaults, query => api.sizes(query)));
    if (raised.length === 0) {
      return plan(asked);
    }
    const used = bounded(asked, defaults, raised);
    onNotice({ kind: 'raised', raised, asked, used }, notebook);
    return plan(used);
  }

  /** Return the notebook that starts a session: JupyterLab posts a placeholder beside its path, with its name. */
  private _notebookOf({ path, name, type }: Session.ISessionOptions): INotebook | null {
    if (type !== 'notebook') {
      return null;
    }
    const folder = PathExt.dirname(path);
    const isOf = (notebook: INotebook) =>
      notebook.sessionName === name && PathExt.dirname(notebook.sessionPath) === folder;
    return [...this._notebooks].find(isOf) ?? null;
  }

  private readonly _options: KernelStarter.IOptions;
  private readonly _notebooks = new Set<INotebook>();
  private readonly _wrapped = new WeakSet<Session.ISessionConnection>();
  private readonly _next = new Map<string, { readonly kernel: string; readonly choice: IChoice }>();
}

export namespace KernelStarter {
  export interface IOptions {
    readonly sessions: Session.IManager;
    readonly specs: Pick<KernelSpec.IManager, 'ready' | 'specs'>;
    readonly api: IStartAPI;
    readonly cluster: ICluster;
    /** What the user has agreed to before. */
    readonly consent: { has(path: string, kernel: string, choice: IChoice): Promise<boolean> };
    /** Called when a kernel does not start as its notebook asks. */
    readonly onNotice: (notice: StartNotice, notebook: INotebook) => void;
  }
}
