/** The keys of the widget inside a notebook, whose shortcuts are for the selected cell. */

/** JupyterLab has no shortcuts for the keys of an element with this attribute. */
const SUPPRESS = 'data-lm-suppress-shortcuts';

/**
 * Keep plain keys in the widget: arrows move its slider, not the selection, and `D D` does not delete the cell.
 *
 * Keys with a modifier stay shortcuts of the notebook, so that Shift+Enter runs the cell. Returns the function that
 * ends this.
 */
export function keepKeys(node: HTMLElement): () => void {
  const onKey = ({ target, shiftKey, ctrlKey, altKey, metaKey }: KeyboardEvent) => {
    if (target instanceof Element && node.contains(target)) {
      // The element itself must have it: the shortcuts of a notebook are for whatever has the focus there.
      target.toggleAttribute(SUPPRESS, !(shiftKey || ctrlKey || altKey || metaKey));
    }
  };
  // The window gets the event before the document, where Notebook 7 listens in the capturing phase.
  window.addEventListener('keydown', onKey, true);
  return () => window.removeEventListener('keydown', onKey, true);
}
