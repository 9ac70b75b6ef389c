/** Components whose part of the page is loaded when they are first shown. */

import * as React from 'react';

import { loadRepeatedly } from './hooks';

/** Between two attempts to load a part of the page. */
export const LOAD_AGAIN_MS = 5_000;

/**
 * Return a component that draws nothing until `load` has returned the one to draw.
 *
 * Unlike `React.lazy`, which keeps a failure for as long as the page is open, it tries again while it is shown: the
 * server may be starting again, or too busy to answer.
 */
export function late<P extends object>(
  load: () => Promise<React.ComponentType<P>>
): React.ComponentType<P> {
  let loaded: React.ComponentType<P> | null = null;
  return function Late(props: P): React.JSX.Element | null {
    const [component, setComponent] = React.useState(() => loaded);
    React.useEffect(
      () =>
        component === null
          ? loadRepeatedly(load, LOAD_AGAIN_MS, found => {
              loaded = found;
              setComponent(() => found);
            })
          : undefined,
      [component]
    );
    return component === null ? null : React.createElement(component, props);
  };
}
