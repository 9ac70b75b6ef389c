/**
 * Texts of notifications. Pure.
 *
 * A notification is plain text of limited length, which JupyterLab cuts in the middle of a word; what does not fit is
 * left out by whole sentences, and the panel has all of it.
 */

import { withoutMarkup } from './message';

/** The number of characters that JupyterLab shows of a notification. */
export const TOAST_LENGTH_MAX = 140;

/** The number of characters that a notification shows of a name. */
const NAME_LENGTH_MAX = 40;

/** The text of a notification, and whether something was left out. */
export interface IToastText {
  readonly text: string;
  readonly isShortened: boolean;
}

/** Return the sentences of a text that fit into a notification; the words that do, if the first sentence does not. */
export function toastText(sentences: string, lengthMax = TOAST_LENGTH_MAX): IToastText {
  const text = withoutMarkup(sentences);
  if (text.length <= lengthMax) {
    return { text, isShortened: false };
  }
  const ends = [...text.matchAll(/[.!?。！？](?=\s|$)|[。！？]/g)].map(match => match.index + 1);
  const end = ends.filter(index => index <= lengthMax).pop();
  if (end !== undefined) {
    return { text: text.slice(0, end), isShortened: true };
  }
  const words = text.slice(0, lengthMax - 1);
  return { text: `${words.replace(/\s+\S*$/, '')}…`, isShortened: true };
}

/** Return a name with its middle left out if it is long: the end of a file name distinguishes it. */
export function toastName(name: string): string {
  const characters = [...name];
  if (characters.length <= NAME_LENGTH_MAX) {
    return name;
  }
  const half = NAME_LENGTH_MAX / 2;
  return `${characters.slice(0, half - 1).join('')}…${characters.slice(-half).join('')}`;
}
