import type { TranslationBundle } from '@jupyterlab/translation';

/** A bundle without a language: it only inserts the arguments, like JupyterLab's null translator. */
export const trans = {
  _n: (singular: string, plural: string, count: number) => (count === 1 ? singular : plural),
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, position: string) => String(values[Number(position) - 1]))
} as unknown as TranslationBundle;
