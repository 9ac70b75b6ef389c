/**
 * Restores the keyboard focus after a redraw.
 *
 * A button that is removed, or disabled during a request, would otherwise move the focus to the top of the page.
 */

import type { IDisposable } from '@lumino/disposable';

interface IFocusedElement {
  readonly element: HTMLElement;
  /** Focusable elements that contain it, the innermost first; they may remain when it is removed. */
  readonly ancestors: ReadonlyArray<HTMLElement>;
}

export class FocusRestorer implements IDisposable {
  /** @param node - Focus is restored inside this element. Containers that can take the focus have a `tabindex`. */
  constructor(node: HTMLElement) {
    this._node = node;
    document.addEventListener('focusin', this._onFocusIn);
    document.addEventListener('pointerdown', this._clear, true);
    this._observer.observe(node, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ['disabled']
    });
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._observer.disconnect();
    document.removeEventListener('focusin', this._onFocusIn);
    document.removeEventListener('pointerdown', this._clear, true);
  }

  private readonly _onFocusIn = ({ target }: FocusEvent): void => {
    this._focused = null;
    if (target instanceof HTMLElement && target !== this._node && this._node.contains(target)) {
      const ancestors: HTMLElement[] = [];
      let parent = target.parentElement;
      while (parent !== null && parent !== this._node) {
        if (parent.hasAttribute('tabindex')) {
          ancestors.push(parent);
        }
        parent = parent.parentElement;
      }
      this._focused = { element: target, ancestors: [...ancestors, this._node] };
    }
  };

  /** A click moves the user's attention, even if it focuses nothing. */
  private readonly _clear = (): void => {
    this._focused = null;
  };

  private readonly _onChanged = (): void => {
    const focused = this._focused;
    if (focused === null || document.activeElement !== document.body) {
      return;
    }
    if (!focused.element.isConnected) {
      focused.ancestors.find(ancestor => ancestor.isConnected)?.focus({ preventScroll: true });
    } else if (!focused.element.matches(':disabled')) {
      focused.element.focus({ preventScroll: true });
    }
  };

  private readonly _node: HTMLElement;
  private readonly _observer = new MutationObserver(() => this._onChanged());
  private _focused: IFocusedElement | null = null;
  private _isDisposed = false;
}
