/**
 * The status bar item: the lease of the current notebook in one line, with details in the tooltip.
 */

import { clusterFacts, clusterPlace, clusterReason } from '../texts/cluster';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { failureTexts, kernelsNote } from '../texts/connection';
import { formatDuration, formatMemory, shortModel } from '../texts/format';
import type { LeaseView } from '../generated/api';
import { isOnCluster, isOpen, isParkedOrReturning } from '../leases/lease';
import {
  parkedNote,
  endReason,
  estimateText,
  leaseNotes,
  notebookName,
  statusBarText,
  stateDescription,
  activityNotes
} from '../texts/lease';
import { withoutMarkup } from '../texts/message';
import type { ICurrentLease, ILeaseManager } from '../tokens';
import type { ITextContext } from '../controls/textcontext';

/** The status bar item, which hides itself while it has nothing to show. */
export class StatusItem extends ReactWidget {
  constructor(options: StatusItem.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-StatusItem');
    options.current.changed.connect(this._onChanged, this);
    options.manager.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  /** Set whether the item is shown for kernels without a lease. */
  set showWithoutLease(value: boolean) {
    this._showWithoutLease = value;
    this._onChanged();
  }

  /** Whether the item has something to show, which needs a kernel and a pool. */
  get isActive(): boolean {
    return this._isActive;
  }

  get activeStateChanged(): ISignal<this, void> {
    return this._activeStateChanged;
  }

  protected override render(): React.JSX.Element | null {
    if (!this._isActive) {
      return null;
    }
    const { current, manager, trans, language } = this._options;
    const { connection } = manager;
    const failure = connection.kind === 'unreachable' ? connection.reason : null;
    const text = failure !== null
      ? trans.__('GPU: not connected')
      : statusBarText(current.lease, trans, language);
    const hasLease = current.lease !== null && isOpen(current.lease);
    const getsGPU = failure === null && !hasLease && this._options.canGetGPU();
    const details = failure !== null
      ? `${failureTexts(failure, trans).title}.\n${kernelsNote(failure, trans)}`
      : tooltip(current.lease, manager.now(), this._options);
    return (
      <button
        type="button"
        className="fg-StatusItem-button"
        data-state={failure !== null ? 'disconnected' : (current.lease?.state ?? 'none')}
        title={details}
        aria-label={`${text}. ${getsGPU ? trans.__('Get a GPU…') : trans.__('Show GPU leases')}`}
        onClick={() => this._options.onClick(getsGPU)}
      >
        {text}
      </button>
    );
  }

  private _onChanged(): void {
    const { current, manager } = this._options;
    const lease = current.lease;
    const isActive =
      manager.state.pool !== null &&
      current.kernelId !== null &&
      (this._showWithoutLease || (lease !== null && isOpen(lease)));
    if (isActive !== this._isActive) {
      this._isActive = isActive;
      this._activeStateChanged.emit();
    }
    this.update();
  }

  private readonly _options: StatusItem.IOptions;
  private readonly _activeStateChanged = new Signal<this, void>(this);
  private _showWithoutLease = true;
  private _isActive = false;
}

export namespace StatusItem {
  export interface IOptions extends ITextContext {
    readonly manager: ILeaseManager;
    readonly current: ICurrentLease;
    /** Return whether a GPU can be requested for the current kernel. */
    readonly canGetGPU: () => boolean;
    /** Called with whether a GPU is requested; otherwise the leases are shown. */
    readonly onClick: (getsGPU: boolean) => void;
  }
}

/** Return the text of the tooltip, with one fact on each line. */
function tooltip(lease: LeaseView | null, now: number, { trans, language }: ITextContext): string {
  if (lease === null) {
    return trans.__('This kernel has no GPU lease. Choose a FastGPU kernel to request one.');
  }
  if (!isOpen(lease)) {
    return trans.__(
      'The GPU lease of this kernel has ended. %1',
      endReason(lease, trans, language)
    );
  }
  const lines = [
    notebookName(lease.holder, trans),
    [
      lease.gpu === null || lease.gpu.model === null ? null : shortModel(lease.gpu.model),
      lease.request.size,
      lease.memory.limit_bytes === null ? null : formatMemory(lease.memory.limit_bytes, language)
    ]
      .filter(part => part !== null)
      .join(' · '),
    ...(isOnCluster(lease) && lease.state === 'waiting'
      ? [clusterReason(lease, trans, language), ...clusterPlace(lease, now, trans)]
      : [stateDescription(lease.state, trans), ...clusterFacts(lease, now, trans)])
  ];
  if (isParkedOrReturning(lease)) {
    lines.push(parkedNote(lease, trans, language));
  }
  if (!isOnCluster(lease)) {
    lines.push(...leaseNotes(lease, trans, language));
  }
  if (lease.queue !== null && !isOnCluster(lease)) {
    lines.push(estimateText(lease.queue, trans, language));
  }
  const activity = activityNotes(lease, formatDuration(now - lease.usage.last_used_at), trans);
  if (activity.length > 0) {
    lines.push(activity.join(' · '));
  }
  if (lease.usage.active_ms > 0) {
    lines.push(trans.__('Active for %1', formatDuration(lease.usage.active_ms)));
  }
  if (lease.gpu?.simulated) {
    lines.push(trans.__('Simulated: this is not a real GPU.'));
  }
  return withoutMarkup(lines.join('\n'));
}
