/**
 * The module of `GPUWidget`, which anywidget loads: bundled by esbuild, with preact in place of React.
 *
 * It shows the controls of the kernel's lease. In JupyterLab and Notebook 7 they use the page's model of the pool; the
 * widget sends no message there. Elsewhere they use the kernel (`commsource.ts`).
 */

import { createRoot } from 'preact/compat/client';
import * as React from 'react';

import type { IModel } from './commsource';
import { keepKeys } from './keys';
import { Widget } from './view';

interface IRenderContext {
  readonly model: IModel;
  readonly el: HTMLElement;
}

/** Whether this is a page that was exported from a notebook: it has the state of the widgets and no kernel. */
function isExported(): boolean {
  return document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]') !== null;
}

function render({ model, el }: IRenderContext): () => void {
  if (isExported()) {
    return () => undefined; // The table below the widget is what there is to see.
  }
  const node = document.createElement('div');
  node.className = 'fg-Widget';
  el.appendChild(node);
  const root = createRoot(node);
  const endKeys = keepKeys(node);
  root.render((<Widget model={model} />) as never);
  return () => {
    endKeys();
    root.unmount();
    node.remove();
  };
}

export default { render };
