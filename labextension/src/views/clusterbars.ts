/** The bars of the open notebooks: what each says of its request, and what its buttons do. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Panel, Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import { notifyChoice } from '../controls/notifybutton';
import type { LeaseView } from '../generated/api';
import { OVER } from '../generated/lifecycle';
import { isFastGPU, plainKernel } from '../launch/choice';
import type { ClusterRequests, IClusterRequest } from '../launch/clusterrequests';
import { isByUser } from '../launch/clusterrequests';
import type { NotebookDocument } from '../launch/document';
import { isOnCluster, leaseOfKernel } from '../leases/lease';
import { clusterNotes } from '../texts/cluster';
import { lossTexts, requestTexts } from '../texts/clusterrequest';
import type { IGrantNotifier, IKernelStart, ILeaseManager } from '../tokens';
import type { IBarAction, IBarContent } from './clusterbar';
import { ClusterBar } from './clusterbar';

/** A notebook, with the header above its content. */
type DocumentWidget = Widget & { readonly contentHeader?: Panel };

export interface IClusterBarsOptions {
  readonly app: JupyterFrontEnd;
  readonly manager: ILeaseManager;
  readonly start: IKernelStart;
  readonly requests: ClusterRequests;
  readonly notifier: IGrantNotifier | null;
  readonly trans: TranslationBundle;
  readonly language: string;
}

export class ClusterBars {
  constructor(private readonly _options: IClusterBarsOptions) {
    const { manager, requests, notifier } = _options;
    manager.changed.connect(this._update, this);
    requests.changed.connect(this._update, this);
    notifier?.changed.connect(this._update, this);
    _options.app.shell.currentChanged?.connect(this._update, this);
    this._update();
  }

  private _update(): void {
    for (const document of this._options.start.documents) {
      const { widget } = document;
      const header = (widget as DocumentWidget).contentHeader;
      const isShown = this._content(document) !== null;
      const bar = this._bars.get(document);
      if (isShown && bar === undefined && header !== undefined) {
        const made = new ClusterBar(() => this._content(document), this._options.trans);
        this._bars.set(document, made);
        made.disposed.connect(() => this._bars.delete(document));
        header.addWidget(made);
      } else if (isShown) {
        bar?.update();
      } else if (bar !== undefined) {
        const hadFocus = bar.node.contains(window.document.activeElement);
        bar.dispose();
        if (hadFocus) {
          widget.activate();
        }
      }
    }
  }

  /** Return what the bar of a notebook shows; null if there is nothing to show. */
  private _content(document: NotebookDocument): IBarContent | null {
    const { requests, manager } = this._options;
    const kernelId = document.session?.kernel?.id;
    if (kernelId !== undefined) {
      this._kernels.set(document, kernelId);
    }
    const isLive = manager.connection.kind === 'connected' && manager.canAct;
    const request = requests.of(document);
    if (request !== null) {
      return { ...this._requestContent(document, request), isLive };
    }
    const lease = leaseOfKernel(manager.state.leases, this._kernels.get(document) ?? null);
    return lease !== null && this._isLoss(document, lease) ? { ...this._lossContent(document, lease), isLive } : null;
  }

  private _isLoss(document: NotebookDocument, lease: LeaseView): boolean {
    const current = document.session?.kernel ?? null;
    const isOther = current !== null && current.id !== lease.holder.kernel_id;
    return (
      isOnCluster(lease) &&
      OVER.has(lease.state) &&
      lease.end_reason !== null &&
      !isByUser(lease) &&
      !isOther &&
      !this._read.has(lease.id)
    );
  }

  private _requestContent(document: NotebookDocument, request: IClusterRequest): Omit<IBarContent, 'isLive'> {
    const { app, manager, notifier, trans, language } = this._options;
    const { phase, lease } = request;
    const kernel = document.session?.kernel ?? null;
    const specs = app.serviceManager.kernelspecs.specs;
    const localKernel = kernel === null ? null : (specs?.kernelspecs[kernel.name]?.display_name ?? kernel.name);
    const actions: IBarAction[] = [];
    const release = {
      id: 'release',
      run: () => app.commands.execute(CommandIDs.releaseLease, { leaseId: lease?.id ?? '' })
    };
    if (phase === 'waiting' && lease !== null) {
      actions.push({ ...release, label: trans.__('Cancel request…') });
      const plain = plainKernel(specs);
      if (kernel === null && plain !== null) {
        actions.push({
          id: 'cpu',
          label: trans.__("Run on this machine's CPU meanwhile"),
          title: trans.__(
            'Start %1 here. The request keeps its place; when the GPU is granted you choose when to move to it.',
            plain.display_name
          ),
          run: () => document.changeKernel(plain.name)
        });
      }
    } else if (phase === 'offered') {
      actions.push({
        id: 'move',
        label: trans.__('Move to the GPU'),
        isPrimary: true,
        run: () => document.changeKernel(request.kernel)
      });
      actions.push({ ...release, label: trans.__('Release…') });
    } else if (phase === 'over') {
      actions.push(...this._afterEnd(document, () => this._options.requests.dismiss(document)));
    }
    return {
      ...requestTexts(request, localKernel, manager.now(), trans, language),
      shape: phase === 'over' ? 'fault' : phase === 'offered' || phase === 'starting' ? 'ring' : 'square',
      kind: phase === 'over' ? 'error' : phase === 'offered' ? 'offer' : 'waiting',
      warnings: lease === null ? [] : clusterNotes(lease, manager.state.pool, trans, language),
      actions,
      notify: phase === 'waiting' && lease !== null ? notifyChoice(notifier, lease.id) : undefined
    };
  }

  private _lossContent(document: NotebookDocument, lease: LeaseView): Omit<IBarContent, 'isLive'> {
    const { trans, language } = this._options;
    const dismiss = () => {
      this._read.add(lease.id);
      this._update();
    };
    return {
      ...lossTexts(lease, trans, language),
      shape: 'fault',
      kind: 'error',
      warnings: [],
      actions: this._afterEnd(document, dismiss),
      notify: undefined
    };
  }

  /** The buttons of a request or a lease that is over. */
  private _afterEnd(document: NotebookDocument, dismiss: () => void): IBarAction[] {
    const { app, requests, start, trans } = this._options;
    const plan = requests.planOf(document);
    const specs = app.serviceManager.kernelspecs.specs?.kernelspecs ?? {};
    const kernel = plan?.kernel ?? Object.values(specs).find(spec => isFastGPU(spec))?.name ?? null;
    const again = async (name: string) => {
      dismiss();
      await document.stopKernel().catch(() => undefined); // it is dead
      if (plan !== null) {
        start.starter.chooseNext(document.path, name, plan.choice);
      }
      await document.changeKernel(name).catch(() => undefined); // JupyterLab shows why
    };
    return [
      ...(kernel === null ? [] : [{ id: 'again', label: trans.__('Request again'), run: () => again(kernel) }]),
      ...(app.commands.hasCommand(CommandIDs.chooseSize)
        ? [
            {
              id: 'choose',
              label: trans.__('Choose size…'),
              run: () => app.commands.execute(CommandIDs.chooseSize, { path: document.path })
            }
          ]
        : []),
      { id: 'dismiss', label: trans.__('Dismiss'), run: () => Promise.resolve(dismiss()) }
    ];
  }

  private readonly _bars = new Map<NotebookDocument, ClusterBar>();
  /** The kernel that each notebook had last. */
  private readonly _kernels = new WeakMap<NotebookDocument, string>();
  /** The lost leases that the user has read. */
  private readonly _read = new Set<string>();
}
