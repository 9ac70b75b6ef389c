/**
 * The object by which the widget finds the page's model of the pool.
 *
 * The labextension sets it (`plugins/page.ts`), and the widget's module, which is bundled separately, reads it. Where it
 * exists the widget sends no message to its kernel. An object of another interface than the widget's is not used.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ILeaseSource } from '../controls/source';

/** The version of `IPage` that this module understands. */
export const PAGE_INTERFACE = 1;

/** The key of the object in `globalThis`. */
export const PAGE_KEY = Symbol.for('fastgpu_jupyter:page');

/** The event of the window that is emitted when the object was set. */
export const PAGE_EVENT = 'fastgpu_jupyter:page';

/** What the page offers to the widget. */
export interface IWidgetPage {
  readonly interface: number;
  readonly trans: TranslationBundle;
  readonly language: string;
  /** Return the source of a kernel's lease. */
  source(kernelId: string): ILeaseSource;
  /** Return whether a kernel is running; null if that is not known yet. */
  isRunning(kernelId: string): boolean | null;
  /** Call a listener when kernels start or end; returns the function that ends this. */
  readonly kernelsChanged: (listener: () => void) => () => void;
}

/** Return the page's object; null if there is none, or one that this module does not understand. */
export function findPage(): IWidgetPage | null {
  const page = (globalThis as { [PAGE_KEY]?: IWidgetPage })[PAGE_KEY];
  return page?.interface === PAGE_INTERFACE ? page : null;
}

/** Set the page's object and tell the widgets that were rendered before. */
export function offerPage(page: IWidgetPage): void {
  (globalThis as { [PAGE_KEY]?: IWidgetPage })[PAGE_KEY] = page;
  window.dispatchEvent(new Event(PAGE_EVENT));
}
