/** The output of a cell that waits for its lease, drawn in place: the kernel updates its text, the page its buttons. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ILeaseSource } from '../controls/source';
import { notifyChoice } from '../controls/notifybutton';
import type { ITextContext } from '../controls/textcontext';
import type { IWaitingText } from '../controls/waitingcell';
import { WaitingCell } from '../controls/waitingcell';
import type { LeaseView } from '../generated/api';
import type { IGrantNotifier } from '../tokens';
import { FocusRestorer } from './focus';

/** The type of the output; `kernel/wait_display.py` sends it beside the same text as plain text and HTML. */
export const WAITING_MIME = 'application/vnd.fastgpu.waiting+json';

export class WaitingOutput extends ReactWidget implements IRenderMime.IRenderer {
  constructor(options: WaitingOutput.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-Controls');
    this.addClass('fg-WaitingOutput');
    this._focus = new FocusRestorer(this.node);
    options.notifier?.changed.connect(this.update, this);
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._text = readText(model.data[WAITING_MIME]);
    if (this._source === null || this._text.leaseId !== this._leaseId) {
      this._leaseId = this._text.leaseId;
      this._source = this._options.sourceOf(this._leaseId);
    }
    this.update();
    return this.renderPromise ?? Promise.resolve();
  }

  override dispose(): void {
    this._options.notifier?.changed.disconnect(this.update, this);
    this._focus.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element | null {
    const { notifier, trans, language, onOpenLease } = this._options;
    const leaseId = this._leaseId;
    if (this._source === null || this._text === null) {
      return null;
    }
    return (
      <WaitingCell
        source={this._source}
        text={this._text}
        notify={notifyChoice(notifier, leaseId)}
        onOpenLease={onOpenLease}
        trans={trans}
        language={language}
      />
    );
  }

  private readonly _options: WaitingOutput.IOptions;
  private readonly _focus: FocusRestorer;
  private _source: ILeaseSource | null = null;
  private _leaseId: string | null = null;
  private _text: IWaitingText | null = null;
}

export namespace WaitingOutput {
  export interface IOptions extends ITextContext {
    readonly sourceOf: (leaseId: string | null) => ILeaseSource;
    readonly notifier: IGrantNotifier | null;
    readonly onOpenLease: (lease: LeaseView) => void;
  }
}

/** Return the texts of an output, which a saved notebook may have changed; what is no text is empty. */
export function readText(value: unknown): IWaitingText {
  const data = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const text = (name: string) => (typeof data[name] === 'string' ? (data[name] as string).slice(0, 4096) : '');
  return {
    leaseId: text('lease_id') || null,
    head: text('head'),
    passing: text('passing'),
    hint: text('hint')
  };
}
