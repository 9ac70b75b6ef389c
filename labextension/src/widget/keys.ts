/** The keys of the widget inside a notebook, whose shortcuts are for the selected cell. */

/**
 * Keep plain keys in the widget: arrows move its slider, not the selection, and `D D` does not delete the cell.
 *
 * Keys with a modifier stay shortcuts of the notebook, so that Shift+Enter runs the cell.
 */
export function keepKeys(node: HTMLElement): void {
  node.addEventListener('keydown', event => {
    if (!(event.shiftKey || event.ctrlKey || event.altKey || event.metaKey)) {
      event.stopPropagation();
    }
  });
}
