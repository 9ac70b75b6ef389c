/** The dialog of the form for a size: its button says what it does, and only Ctrl+Enter starts from within the form. */

import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { StartKind } from '../launch/form';
import type { ChooseSizeBody, IChosen } from './choosesize';

export class ChooseSizeDialog extends Dialog<IChosen> {
  constructor(body: ChooseSizeBody, trans: TranslationBundle) {
    const renderer = new LabelRenderer();
    const start = Dialog.okButton({ label: trans.__('Start') });
    super({
      title: trans.__('Choose size'),
      body,
      buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), start],
      defaultButton: 1,
      focusNodeSelector: 'select',
      renderer
    });
    this.addClass('fg-ChooseSizeDialog');
    body.startChanged.connect((_, kind) => {
      this._kind = kind;
      renderer.update(
        start,
        kind === 'wait' ? trans.__('Start and wait') : trans.__('Start'),
        kind !== 'impossible'
      );
    });
    body.accepted.connect(() => super.resolve(1));
  }

  /** Start, unless the chosen size cannot be had or an input is not valid. */
  override resolve(index?: number): void {
    const starts = (index ?? 1) === 1;
    if (!starts || (this._kind !== 'impossible' && this.node.querySelector(':invalid') === null)) {
      super.resolve(index);
    }
  }

  override handleEvent(event: Event): void {
    if (event instanceof KeyboardEvent && event.type === 'keydown' && event.key === 'Enter') {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        event.stopPropagation();
        this.resolve(1);
        return;
      }
      if (event.target instanceof Element && event.target.closest('.jp-Dialog-body') !== null) {
        return; // the element's own: a button, or the fold
      }
    }
    super.handleEvent(event);
  }

  private _kind: StartKind = 'impossible';
}

/** A renderer that can change the label of a button. */
class LabelRenderer extends Dialog.Renderer {
  override createButtonNode(button: Dialog.IButton): HTMLButtonElement {
    const node = super.createButtonNode(button) as HTMLButtonElement;
    this._nodes.set(button.label, node);
    return node;
  }

  update(button: Dialog.IButton, label: string, isEnabled: boolean): void {
    const node = this._nodes.get(button.label);
    const text = node?.querySelector('.jp-Dialog-buttonLabel') ?? null;
    if (node !== undefined && text !== null) {
      text.textContent = label;
      node.setAttribute('aria-label', label);
      node.disabled = !isEnabled;
    }
  }

  private readonly _nodes = new Map<string, HTMLButtonElement>();
}
