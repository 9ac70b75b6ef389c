/** The rules of the form for a size: what a size's text says, what to offer, and what its button does. */

import type { ISizesQuery } from '../controls/source';
import type { SizeOption } from '../generated/api';
import type { IChoice } from './choice';

export type Unit = 'share' | 'memory';

const PORTIONS: ReadonlySet<string> = new Set(['full', 'half', 'quarter', 'eighth']);
const MEMORY = /^[0-9.]+ ?[kmgt]i?b?$/i;
const PARTITION = /^[0-9]+g\.[0-9]+gb/i;

/** Return the model that a size names, or an empty text for any model. */
export function modelOf(size: string): string {
  const [kind, part] = size.split(':');
  const name = kind.replace(/^[0-9]+x/i, '').trim();
  const isModel = part !== undefined || !(PORTIONS.has(name) || MEMORY.test(name) || PARTITION.test(name));
  return isModel && name !== 'any' ? name : '';
}

/** Return whether a size is an amount of memory, as opposed to a share or a number of devices. */
export function unitOf(size: string): Unit {
  return MEMORY.test(size.slice(size.indexOf(':') + 1).trim()) ? 'memory' : 'share';
}

/** Return the name of a model as a size has it. */
export function modelName(model: string): string {
  return model
    .toLowerCase()
    .replace(/^nvidia[ -]+/, '')
    .trim();
}

/** Return the question of which sizes a request with these values could have. */
export function queryOf(choice: IChoice, model: string, unit: Unit): ISizesQuery {
  return {
    ...(model === '' ? {} : { model }),
    isolation: choice.isolation,
    priority: choice.priority,
    unit
  };
}

/** Return the option nearest to one that is no longer offered, by memory; null if there is none. */
export function nearest(
  options: ReadonlyArray<SizeOption>,
  memoryBytes: number | null
): SizeOption | null {
  const distance = (option: SizeOption) => Math.abs(option.memory_bytes - (memoryBytes ?? 0));
  return options.reduce<SizeOption | null>(
    (best, option) => (best === null || distance(option) < distance(best) ? option : best),
    null
  );
}

const FITS: ReadonlySet<SizeOption['effect']> = new Set<SizeOption['effect']>(['now', 'after_parking', 'queued']);

/** Return whether a request for a size is accepted. */
export function fits(option: SizeOption): boolean {
  return FITS.has(option.effect);
}

/** Return the largest size that a request can have; null if there is none. */
export function largestThatFits(options: ReadonlyArray<SizeOption>): SizeOption | null {
  return options.filter(fits).pop() ?? null;
}

/** What the primary button of the form does. */
export type StartKind = 'start' | 'wait' | 'unknown' | 'impossible';

/** Return what a click on the button does for an option; null for a size whose start is not known. */
export function startKind(option: SizeOption | null): StartKind {
  if (option === null) {
    return 'unknown';
  }
  return option.effect === 'now' ? 'start' : fits(option) ? 'wait' : 'impossible';
}
