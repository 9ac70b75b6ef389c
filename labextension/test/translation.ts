import type { TranslationBundle } from '@jupyterlab/translation';

function fill(text: string, values: ReadonlyArray<unknown>): string {
  return text.replace(/%(\d)/g, (_, position: string) => String(values[Number(position) - 1]));
}

/** A bundle without a language: it only inserts the arguments, like JupyterLab's null translator. */
export const trans = {
  _n: (singular: string, plural: string, count: number, ...values: unknown[]) =>
    fill(count === 1 ? singular : plural, [count, ...values]),
  __: (text: string, ...values: unknown[]) => fill(text, values)
} as unknown as TranslationBundle;
