/**
 * Rendering of messages of the server: a code with parameters becomes a sentence of the generated catalogue.
 *
 * Pure. A code that the catalogue does not have, which a newer server may send, falls back to the English text.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { MessageView } from '../generated/api';
import { MESSAGES } from '../generated/messages';
import { formatAmount, formatDuration, formatGPUs, formatList, formatMemory } from './format';

/** A sentence, or its forms for one and for several of the parameter that `plural` names. */
export type MessageTemplate =
  | string
  | { readonly plural: string; readonly one: string; readonly other: string };

type Parameter = MessageView['params'][string];

/** Return the sentence of a message, with its parameters formatted by the unit in their names. */
export function messageText(
  message: MessageView,
  trans: TranslationBundle,
  language: string,
  catalogue: Readonly<Record<string, MessageTemplate>> = MESSAGES
): string {
  const template = catalogue[message.code];
  if (template === undefined) {
    return message.text;
  }
  const { params } = message;
  const sentence =
    typeof template === 'string'
      ? trans.__(template)
      : trans._n(template.one, template.other, Number(params[template.plural]));
  const text = (name: string): string => {
    const value = params[name];
    return value === undefined ? '' : parameterText(name, value, trans, language, catalogue);
  };
  // An empty parameter leaves no gap.
  return sentence
    .replace(/\{(\w+)\}/g, (_, name: string) => text(name))
    .replace(/\s+/g, ' ')
    .trim();
}

/** Return a sentence as plain text, for places without markup: what is marked as code by backticks is quoted. */
export function withoutMarkup(sentence: string): string {
  return sentence.replace(/`([^`]+)`/g, '“$1”');
}

function parameterText(
  name: string,
  value: Parameter,
  trans: TranslationBundle,
  language: string,
  catalogue: Readonly<Record<string, MessageTemplate>>
): string {
  if (typeof value === 'number') {
    return numberText(name, value, language);
  }
  if (value instanceof Array) {
    const texts = value.map((item: Parameter) =>
      parameterText(name, item, trans, language, catalogue)
    );
    return formatList(texts, language);
  }
  return typeof value === 'object'
    ? messageText(value, trans, language, catalogue)
    : String(value);
}

/** Format a number by the suffix of its name; a number without a known unit has no grouping. */
function numberText(name: string, value: number, language: string): string {
  const unit = name.slice(name.lastIndexOf('_') + 1);
  switch (unit) {
    case 'bytes':
      return formatMemory(value, language);
    case 'ms':
      return formatDuration(value);
    case 'milli':
      return formatGPUs(value, language);
    case 'micro':
      return formatAmount(value, language);
    default:
      return String(value);
  }
}
