/** The texts as they are written, for pages without a translator. */

import type { TranslationBundle } from '@jupyterlab/translation';

function fill(text: string, values: ReadonlyArray<unknown>): string {
  return text.replace(/%(\d+)/g, (found, digits: string) => {
    const value = values[Number(digits) - 1];
    return value === undefined ? found : String(value);
  });
}

const single = (text: string, ...values: unknown[]) => fill(text, values);

const plural = (one: string, other: string, count: number, ...values: unknown[]) =>
  fill(count === 1 ? one : other, [count, ...values]);

/** The English bundle. */
export const english: TranslationBundle = {
  __: single,
  gettext: single,
  _n: plural,
  ngettext: plural,
  _p: (_context, text, ...values) => fill(text, values),
  pgettext: (_context, text, ...values) => fill(text, values),
  _np: (_context, one, other, count, ...values) => plural(one, other, count, ...values),
  npgettext: (_context, one, other, count, ...values) => plural(one, other, count, ...values),
  dcnpgettext: (_domain, _context, one, other, count, ...values) =>
    plural(one, other, count, ...values)
};
