/**
 * The widget of the side panel: renders the view when the model changes, and once a second to update durations.
 *
 * It does not render while it is hidden, and keeps no state except settings.
 */

import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { QuotaModel } from '../leases/quota';
import type { ICurrentLease, ILeaseManager } from '../tokens';
import type { ITextContext } from '../controls/textcontext';
import { FocusRestorer } from './focus';
import type { IPanelProps } from './panelview';
import { PanelView } from './panelview';

const TICK_MS = 1000;

export class FastGPUPanel extends ReactWidget {
  constructor(options: FastGPUPanel.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-Panel');
    this.node.tabIndex = -1;
    this._focus = new FocusRestorer(this.node);
    options.manager.changed.connect(this._render, this);
    options.current?.changed.connect(this._render, this);
    options.quota?.changed.connect(this._render, this);
  }

  /** Set whether leases that ended in the last hour are listed. */
  set showEnded(value: boolean) {
    this._showEnded = value;
    this._render();
  }

  /** Set whether histories are first shown as tables. */
  set asTable(value: boolean) {
    this._asTable = value;
    this._render();
  }

  override dispose(): void {
    this._stopTicking();
    this._focus.dispose();
    super.dispose();
  }

  protected override render(): React.JSX.Element {
    const { manager, current, quota } = this._options;
    return (
      <PanelView
        {...this._options}
        state={manager.state}
        connection={manager.connection}
        updatedAt={manager.updatedAt}
        pendingReleases={manager.pendingReleases}
        pendingActions={manager.pendingActions}
        unanswered={manager.unanswered}
        entitlements={quota?.entitlements ?? []}
        now={manager.now()}
        browserNow={Date.now()}
        currentLeaseId={current?.lease?.id ?? null}
        showEnded={this._showEnded}
        asTable={this._asTable}
      />
    );
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.update();
    this._startTicking();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    if (this.isVisible) {
      this._startTicking();
    }
  }

  protected override onBeforeHide(msg: Message): void {
    this._stopTicking();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._stopTicking();
    super.onBeforeDetach(msg);
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    // Focus the panel and not a button in it: Tab continues from here, and a click on the side bar shows no focus ring.
    this.node.focus();
  }

  private _render(): void {
    if (!this.isDisposed && this.isVisible) {
      this.update();
    }
  }

  private _startTicking(): void {
    this._stopTicking();
    this._ticker = window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        this._render();
      }
    }, TICK_MS);
  }

  private _stopTicking(): void {
    window.clearInterval(this._ticker);
    this._ticker = undefined;
  }

  private readonly _options: FastGPUPanel.IOptions;
  private readonly _focus: FocusRestorer;
  private _showEnded = true;
  private _asTable = false;
  private _ticker: number | undefined;
}

export namespace FastGPUPanel {
  export interface IOptions
    extends ITextContext,
      Pick<
        IPanelProps,
        'onRelease' | 'onAction' | 'onOpenNotebook' | 'onOpenLauncher' | 'onLoadHistory' | 'onRefresh'
      > {
    readonly manager: ILeaseManager;
    readonly current: ICurrentLease | null;
    readonly quota?: QuotaModel;
  }
}
