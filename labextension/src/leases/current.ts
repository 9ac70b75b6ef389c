/**
 * Tracks the kernel of the current widget and its lease.
 *
 * Works with every widget that has a session context (notebooks, consoles, those of other extensions) without
 * importing any of them.
 */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISessionContext } from '@jupyterlab/apputils';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import type { LeaseView } from '../generated/api';
import { leaseOfKernel } from './lease';
import type { ICurrentLease, ILeaseManager } from '../tokens';

/** The lease of the kernel of the current widget. */
export class CurrentLease implements ICurrentLease {
  constructor(options: CurrentLease.IOptions) {
    this._manager = options.manager;
    this._manager.changed.connect(this._refresh, this);
    const { shell } = options;
    shell.currentChanged?.connect(() => this._setWidget(shell.currentWidget));
    this._setWidget(shell.currentWidget);
  }

  get kernelId(): string | null {
    return this._kernelId;
  }

  get lease(): LeaseView | null {
    return this._lease;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  private _setWidget(widget: Widget | null): void {
    const session = sessionOf(widget);
    if (session !== this._session) {
      this._session?.kernelChanged.disconnect(this._refresh, this);
      this._session?.disposed.disconnect(this._onSessionDisposed, this);
      this._session = session;
      session?.kernelChanged.connect(this._refresh, this);
      session?.disposed.connect(this._onSessionDisposed, this);
    }
    this._refresh();
  }

  private _onSessionDisposed(): void {
    this._session = null;
    this._refresh();
  }

  private _refresh(): void {
    const kernelId = this._session?.session?.kernel?.id ?? null;
    const lease = leaseOfKernel(this._manager.state.leases, kernelId);
    if (kernelId !== this._kernelId || lease !== this._lease) {
      this._kernelId = kernelId;
      this._lease = lease;
      this._changed.emit();
    }
  }

  private readonly _manager: ILeaseManager;
  private readonly _changed = new Signal<this, void>(this);
  private _session: ISessionContext | null = null;
  private _kernelId: string | null = null;
  private _lease: LeaseView | null = null;
}

export namespace CurrentLease {
  export interface IOptions {
    readonly shell: JupyterFrontEnd.IShell;
    readonly manager: ILeaseManager;
  }
}

/** Return whether a document of the kernel is the current one, or beside it in view. */
export function isShown(shell: JupyterFrontEnd.IShell, kernelId: string | null): boolean {
  if (kernelId === null) {
    return false;
  }
  const isOfKernel = (widget: Widget | null) =>
    sessionOf(widget)?.session?.kernel?.id === kernelId;
  return (
    isOfKernel(shell.currentWidget) ||
    [...shell.widgets('main')].some(widget => widget.isVisible && isOfKernel(widget))
  );
}

function sessionOf(widget: Widget | null): ISessionContext | null {
  const candidate = (widget as { readonly sessionContext?: Partial<ISessionContext> } | null)
    ?.sessionContext;
  return candidate?.kernelChanged !== undefined && candidate.disposed !== undefined
    ? (candidate as ISessionContext)
    : null;
}
