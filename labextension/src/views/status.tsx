/**
 * The status bar's item: the current notebook's lease in one line, and more of it in the tooltip.
 */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { failure, kept } from '../texts/connection';
import { formatDuration, formatMemory, shortModel } from '../texts/format';
import type { ILease } from '../leases/lease';
import { isAway, isOpen } from '../leases/lease';
import {
  awayNote,
  endReason,
  notebookName,
  oneLine,
  stateMeaning,
  activityNotes
} from '../texts/lease';
import type { ICurrentLease, ILeaseManager } from '../tokens';
import type { IWriting } from './textcontext';

export class StatusItem extends ReactWidget {
  constructor(options: StatusItem.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-StatusItem');
    options.current.changed.connect(this._onChanged, this);
    options.manager.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  /** Whether kernels without a lease are told so; else the item hides. */
  set showWithoutLease(value: boolean) {
    this._showWithoutLease = value;
    this._onChanged();
  }

  /** False where there is nothing to say: no kernel, or no pool. */
  get isWanted(): boolean {
    return this._isWanted;
  }

  get wantedChanged(): ISignal<this, void> {
    return this._wantedChanged;
  }

  protected override render(): React.JSX.Element | null {
    if (!this._isWanted) {
      return null;
    }
    const { current, manager, trans, language } = this._options;
    const { connection } = manager;
    const away = connection.kind === 'unreachable' ? connection.reason : null;
    const text = away !== null
      ? trans.__('GPU: not connected')
      : oneLine(current.lease, trans, language);
    const details = away !== null
      ? `${failure(away, trans).title}.\n${kept(away, trans)}`
      : tooltip(current.lease, manager.now(), this._options);
    return (
      <button
        type="button"
        className="fg-StatusItem-button"
        data-state={away !== null ? 'away' : (current.lease?.state ?? 'none')}
        title={details}
        aria-label={`${text}. ${trans.__('Show GPU leases')}`}
        onClick={this._options.onClick}
      >
        {text}
      </button>
    );
  }

  private _onChanged(): void {
    const { current, manager } = this._options;
    const lease = current.lease;
    const wanted =
      manager.state.pool !== null &&
      current.kernelId !== null &&
      (this._showWithoutLease || (lease !== null && isOpen(lease)));
    if (wanted !== this._isWanted) {
      this._isWanted = wanted;
      this._wantedChanged.emit();
    }
    this.update();
  }

  private readonly _options: StatusItem.IOptions;
  private readonly _wantedChanged = new Signal<this, void>(this);
  private _showWithoutLease = true;
  private _isWanted = false;
}

export namespace StatusItem {
  export interface IOptions extends IWriting {
    readonly manager: ILeaseManager;
    readonly current: ICurrentLease;
    readonly onClick: () => void;
  }
}

function tooltip(lease: ILease | null, now: number, { trans, language }: IWriting): string {
  if (lease === null) {
    return trans.__('This kernel has asked for no GPU. Choose a FastGPU kernel to get one.');
  }
  if (!isOpen(lease)) {
    return trans.__(
      'The GPU lease of this kernel has ended: %1.',
      endReason(lease.end_reason, trans)
    );
  }
  const lines = [
    notebookName(lease, trans),
    [
      lease.device_model === null ? null : shortModel(lease.device_model),
      lease.profile,
      lease.memory_bytes === null ? null : formatMemory(lease.memory_bytes, language)
    ]
      .filter(part => part !== null)
      .join(' · '),
    stateMeaning(lease.state, trans)
  ];
  if (isAway(lease)) {
    lines.push(awayNote(lease, trans));
  }
  if (lease.pending_detail !== null) {
    lines.push(lease.pending_detail);
  }
  const use = activityNotes(lease, formatDuration(now - lease.used_at), trans);
  if (use.length > 0) {
    lines.push(use.join(' · '));
  }
  if (lease.active_ms > 0) {
    lines.push(trans.__('Yours for %1', formatDuration(lease.active_ms)));
  }
  if (lease.simulated) {
    lines.push(trans.__('Simulated: there is no real GPU behind this.'));
  }
  return lines.join('\n');
}
