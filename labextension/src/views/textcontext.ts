/** What every view needs to write a text: the translator's bundle and the language of its numbers. */

import type { TranslationBundle } from '@jupyterlab/translation';

export interface IWriting {
  readonly trans: TranslationBundle;
  readonly language: string;
}
