/**
 * The popover of the toolbar item: the controls of the notebook's lease.
 *
 * The focus enters it when it opens and returns to the button when it closes: by Escape, its close button, or a click
 * outside. It has no modal state: the page behind can be used.
 */

import { HoverBox, ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import type { IControlsProps } from '../controls/leasecontrols';
import { LeaseControls } from '../controls/leasecontrols';
import { FocusRestorer } from './focus';

/** In pixels; a lower window scrolls inside. */
const HEIGHT_MAX = 720;
const HEIGHT_MIN = 80;

const FOCUSABLE = 'button:enabled, input:enabled, summary, [href]';

export class GPUPopover extends ReactWidget {
  constructor(options: GPUPopover.IOptions) {
    super();
    this._options = options;
    this.addClass('fg-Popover');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'dialog');
    this.node.setAttribute('aria-labelledby', TITLE_ID);
    this._focus = new FocusRestorer(this.node);
  }

  /** Show the popover below its button and move the focus into it. */
  open(): void {
    Widget.attach(this, document.body);
    void this.renderPromise?.then(() => this._place());
    this._place();
    this.node.focus({ preventScroll: true });
  }

  /** Close the popover; `returnsFocus` unless the user has focused something else. */
  dismiss(): void {
    const returnsFocus =
      this.node.contains(document.activeElement) || document.activeElement === document.body;
    this.dispose();
    if (returnsFocus) {
      this._options.anchor()?.focus();
    }
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._focus.dispose();
    super.dispose();
    this._options.onClosed();
  }

  protected override render(): React.JSX.Element {
    return <LeaseControls {...this._options.controls} titleId={TITLE_ID} onClose={() => this.dismiss()} />;
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this.node.addEventListener('keydown', this._onKeyDown);
    document.addEventListener('pointerdown', this._onPointerDown, true);
    window.addEventListener('resize', this._place);
    this._observer.observe(this.node);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._observer.disconnect();
    this.node.removeEventListener('keydown', this._onKeyDown);
    document.removeEventListener('pointerdown', this._onPointerDown, true);
    window.removeEventListener('resize', this._place);
    super.onBeforeDetach(msg);
  }

  private readonly _place = (): void => {
    const anchor = this._options.anchor();
    if (anchor === null || !anchor.isConnected) {
      this.dismiss();
      return;
    }
    HoverBox.setGeometry({
      anchor: anchor.getBoundingClientRect(),
      host: this._options.host,
      maxHeight: HEIGHT_MAX,
      minHeight: HEIGHT_MIN,
      node: this.node,
      privilege: 'below',
      outOfViewDisplay: { top: 'stick-inside', bottom: 'stick-inside', left: 'stick-inside', right: 'stick-inside' }
    });
  };

  private readonly _onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      this.dismiss();
    } else if (event.key === 'Tab') {
      this._keepFocus(event);
    }
  };

  /** Move from the last element to the first and back, as in a dialog: beyond them is the end of the page. */
  private _keepFocus(event: KeyboardEvent): void {
    const elements = [...this.node.querySelectorAll<HTMLElement>(FOCUSABLE)].filter(
      element => element.offsetParent !== null
    );
    const [first, last] = [elements[0], elements[elements.length - 1]];
    const active = document.activeElement;
    if (event.shiftKey && (active === first || active === this.node)) {
      event.preventDefault();
      last?.focus();
    } else if (!event.shiftKey && active === last) {
      event.preventDefault();
      first?.focus();
    }
  }

  private readonly _onPointerDown = ({ target }: PointerEvent): void => {
    if (
      target instanceof Node &&
      !this.node.contains(target) &&
      !(this._options.anchor()?.contains(target) ?? false)
    ) {
      this.dispose();
    }
  };

  private readonly _options: GPUPopover.IOptions;
  private readonly _focus: FocusRestorer;
  /** The content grows when data arrives; the popover must stay inside the window. */
  private readonly _observer = new ResizeObserver(() => this._place());
}

const TITLE_ID = 'fastgpu-popover-title';

export namespace GPUPopover {
  export interface IOptions {
    readonly controls: IControlsProps;
    /** Return the button that the popover belongs to; null if it has gone. */
    readonly anchor: () => HTMLElement | null;
    /** The element inside which the popover stays. */
    readonly host: HTMLElement;
    readonly onClosed: () => void;
  }
}
