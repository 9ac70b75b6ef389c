/** The context menu of an item, opened from its button. */

import type * as React from 'react';

/** Open the context menu of what is below a button. */
export function openContextMenu({ currentTarget }: React.MouseEvent<HTMLElement>): void {
  const { left, bottom } = currentTarget.getBoundingClientRect();
  const place = { clientX: left, clientY: bottom, bubbles: true, cancelable: true, view: window };
  currentTarget.dispatchEvent(new MouseEvent('contextmenu', place));
}
