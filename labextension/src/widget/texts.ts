/** The texts for pages without a translator: in the language of the kernel's user, with the translations it sent. */

import type { TranslationBundle } from '@jupyterlab/translation';

/** The forms of each text that has a translation, by the text, or by context, U+0004 and the text. */
export type Translations = Readonly<Record<string, ReadonlyArray<string>>>;

function fill(text: string, values: ReadonlyArray<unknown>): string {
  return text.replace(/%%|%(\d+)/g, (found, digits: string | undefined) => {
    if (digits === undefined) {
      return '%'; // as JupyterLab's translator does
    }
    const value = values[Number(digits) - 1];
    return value === undefined ? found : String(value);
  });
}

/** Return the bundle with these translations; a text without one is shown as it is written. */
export function bundleOf(translations: Translations): TranslationBundle {
  const single = (text: string, ...values: unknown[]) => fill(translations[text]?.[0] ?? text, values);
  const plural = (one: string, other: string, count: number, ...values: unknown[]) =>
    fill(translations[one]?.at(-1) ?? (count === 1 ? one : other), [count, ...values]);
  const inContext = (context: string, text: string, ...values: unknown[]) =>
    fill(translations[`${context}\u0004${text}`]?.[0] ?? text, values);
  return {
    __: single,
    gettext: single,
    _n: plural,
    ngettext: plural,
    _p: inContext,
    pgettext: inContext,
    _np: (_context, one, other, count, ...values) => plural(one, other, count, ...values),
    npgettext: (_context, one, other, count, ...values) => plural(one, other, count, ...values),
    dcnpgettext: (_domain, _context, one, other, count, ...values) =>
      plural(one, other, count, ...values)
  };
}
