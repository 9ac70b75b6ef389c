/**
 * Keeps the keyboard near what it was on: a button that goes away, or is disabled while the server is asked, would
 * leave its user at the top of the page.
 */

import type { IDisposable } from '@lumino/disposable';

interface IKept {
  readonly element: HTMLElement;
  /** What it is in, which may outlive it, the nearest first. */
  readonly around: ReadonlyArray<HTMLElement>;
}

export class FocusKeeper implements IDisposable {
  /** Of what is in `node`; what is around a button and can be focused has a `tabindex`. */
  constructor(node: HTMLElement) {
    this._node = node;
    document.addEventListener('focusin', this._onFocusIn);
    document.addEventListener('pointerdown', this._forget, true);
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
    document.removeEventListener('pointerdown', this._forget, true);
  }

  private readonly _onFocusIn = ({ target }: FocusEvent): void => {
    this._kept = null;
    if (target instanceof HTMLElement && target !== this._node && this._node.contains(target)) {
      const around: HTMLElement[] = [];
      for (let one = target.parentElement; one !== null && one !== this._node; one = one.parentElement) {
        if (one.hasAttribute('tabindex')) {
          around.push(one);
        }
      }
      this._kept = { element: target, around: [...around, this._node] };
    }
  };

  /** A click says where one wants to be, also where it focuses nothing. */
  private readonly _forget = (): void => {
    this._kept = null;
  };

  private readonly _onChanged = (): void => {
    const kept = this._kept;
    if (kept === null || document.activeElement !== document.body) {
      return;
    }
    if (!kept.element.isConnected) {
      kept.around.find(one => one.isConnected)?.focus({ preventScroll: true });
    } else if (!kept.element.matches(':disabled')) {
      kept.element.focus({ preventScroll: true });
    }
  };

  private readonly _node: HTMLElement;
  private readonly _observer = new MutationObserver(() => this._onChanged());
  private _kept: IKept | null = null;
  private _isDisposed = false;
}
