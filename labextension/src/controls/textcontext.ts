/** The translator's bundle and the language that every view needs to produce text. */

import type { TranslationBundle } from '@jupyterlab/translation';

export interface ITextContext {
  readonly trans: TranslationBundle;
  readonly language: string;
}
