/** What the widget's bundle has in place of React: preact, with ids that differ between the widgets of a page. */

import { useState } from 'preact/hooks';

export * from 'preact/compat';
export { default } from 'preact/compat';

let count = 0;
const page = Math.random().toString(36).slice(2, 8);

/** Return an id that no other component of the page has; that of preact is unique in its root only. */
export function useId() {
  const [id] = useState(() => {
    count += 1;
    return `fg-${page}-${count}`;
  });
  return id;
}
