/** What the tests need of it; JupyterLab brings it, and its types would be one more dependency. */
declare module 'react-dom/server' {
  import type { ReactElement } from 'react';

  export function renderToStaticMarkup(element: ReactElement): string;
}
