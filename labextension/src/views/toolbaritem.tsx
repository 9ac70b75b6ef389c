/**
 * The toolbar item of a notebook: size, state, this kernel's sparkline and cost, and the button of the popover.
 *
 * It renders only when one of its texts changes. As the toolbar narrows, the sparkline goes first, then the cost, then
 * the word; shape and size, or position, stay.
 */

import type { ISessionContext } from '@jupyterlab/apputils';
import { caretDownEmptyIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { Sparkline } from '../controls/components';
import { StateShape } from '../controls/statemark';
import type { ITextContext } from '../controls/textcontext';
import { isOpen, leaseOfNotebook } from '../leases/lease';
import { toolbarTexts } from '../texts/toolbar';
import type { ILeaseManager } from '../tokens';

/** The narrowest toolbars, in pixels, that have room for the word, for the cost and for the sparkline. */
const WIDTHS = { word: 700, cost: 800, sparkline: 900 };

type Width = 'narrow' | keyof typeof WIDTHS;

export class ToolbarItem extends ReactWidget {
  constructor(options: ToolbarItem.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-Toolbar');
    options.manager.changed.connect(this._onChanged, this);
    options.sessionContext.kernelChanged.connect(this._onChanged, this);
    this._onChanged();
  }

  /** Set whether the item is shown for kernels without a lease. */
  set showWithoutLease(value: boolean) {
    this._showWithoutLease = value;
    this._onChanged();
  }

  /** Set whether the popover of the item is open. */
  set isExpanded(value: boolean) {
    if (value !== this._isExpanded) {
      this._isExpanded = value;
      this.update();
    }
  }

  /** The id of the notebook's kernel; null if it has none. */
  get kernelId(): string | null {
    return this._options.sessionContext.session?.kernel?.id ?? null;
  }

  /** The button; null before it was rendered. */
  get button(): HTMLButtonElement | null {
    return this.node.querySelector('button');
  }

  override dispose(): void {
    this._observer.disconnect();
    super.dispose();
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._observer.disconnect();
    const toolbar = this.node.closest('.jp-NotebookPanel-toolbar, .jp-Toolbar');
    if (toolbar !== null) {
      this._observer.observe(toolbar);
    }
  }

  protected override render(): React.JSX.Element | null {
    const { manager, sessionContext, trans, language } = this._options;
    if (this.isHidden) {
      return null;
    }
    const lease = leaseOfNotebook(manager.state.leases, this.kernelId, sessionContext.path);
    const texts = toolbarTexts(lease, manager.connection.kind, manager.now(), trans, language);
    const isActive = lease !== null && lease.state === 'active';
    const samples = lease === null ? [] : (manager.state.samples.of(lease.id));
    const isKnown = texts.shape !== 'diamond';
    const hasSparkline = this._width === 'sparkline' && isActive && isKnown && !texts.isUrgent;
    const hasWord = this._width !== 'narrow';
    const hasCost = hasWord && this._width !== 'word';
    const parts = hasWord
      ? [texts.size || (texts.short !== '?' && lease !== null && isOpen(lease) ? texts.short : '')]
      : [texts.short];
    const name = [texts.size, texts.short, texts.status, texts.word, texts.cost];
    return (
      <>
        <button
          type="button"
          className="fg-Toolbar-button"
          aria-haspopup="dialog"
          aria-expanded={this._isExpanded}
          aria-label={trans.__('GPU: %1', [...new Set(name.filter(Boolean))].join(', '))}
          title={trans.__('GPU of this notebook: %1', texts.status)}
          data-state={texts.shape}
          onClick={this._options.onClick}
        >
          <StateShape shape={texts.shape} />
          {parts.filter(Boolean).map(part => (
            <span key={part}>{part}</span>
          ))}
          {hasSparkline && <Sparkline samples={samples} label={null} />}
          {hasWord && texts.word !== '' && (
            <span className="fg-Toolbar-word" data-urgent={texts.isUrgent}>
              {texts.word}
            </span>
          )}
          {hasCost && texts.cost !== '' && <span>{texts.cost}</span>}
          <caretDownEmptyIcon.react tag="span" className="fg-Toolbar-caret" />
        </button>
        <span className="fg-ScreenReaderOnly" role="status">
          {texts.status}
        </span>
      </>
    );
  }

  private _onChanged(): void {
    const { manager, sessionContext, trans, language } = this._options;
    const lease = leaseOfNotebook(manager.state.leases, this.kernelId, sessionContext.path);
    // Without a pool, which a server without FastGPU never has, there is nothing to show.
    const isUseful =
      this.kernelId !== null &&
      (manager.state.pool !== null ||
        (manager.connection.kind === 'unreachable' && manager.connection.reason === 'pool')) &&
      (this._showWithoutLease || (lease !== null && isOpen(lease)));
    this.setHidden(!isUseful);
    const texts = toolbarTexts(lease, manager.connection.kind, manager.now(), trans, language);
    const samples = lease === null ? undefined : manager.state.samples.of(lease.id);
    const shown = JSON.stringify([isUseful, texts, this._width === 'sparkline' ? samples : null]);
    if (shown !== this._shown) {
      this._shown = shown;
      this.update();
    }
  }

  private _setWidth(pixels: number): void {
    const { word, cost, sparkline } = WIDTHS;
    const width: Width =
      pixels >= sparkline ? 'sparkline' : pixels >= cost ? 'cost' : pixels >= word ? 'word' : 'narrow';
    if (width !== this._width) {
      this._width = width;
      this.update();
    }
  }

  private readonly _options: ToolbarItem.IOptions;
  private readonly _observer = new ResizeObserver(([entry]) => {
    if (entry.contentRect.width > 0) {
      this._setWidth(entry.contentRect.width);
    }
  });
  private _showWithoutLease = true;
  private _isExpanded = false;
  private _width: Width = 'narrow';
  /** What the item showed last. */
  private _shown = '';
}

export namespace ToolbarItem {
  export interface IOptions extends ITextContext {
    readonly manager: ILeaseManager;
    readonly sessionContext: ISessionContext;
    readonly onClick: () => void;
  }
}
