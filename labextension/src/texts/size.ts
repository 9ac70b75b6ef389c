/**
 * Sentences about sizes: what each costs, when it takes effect, and why one was refused.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { SizeEffect } from '../controls/source';
import type { LeaseView, SizeOption } from '../generated/api';
import { formatDuration, formatMemory, formatNumber, shortModel } from './format';
import { messageText } from './message';

/** Format an amount for each hour with two decimals, or four if it is below a hundredth: `0.63`. */
export function formatRate(micro: number, language: string): string {
  const digits = micro > 0 && micro < 10_000 ? 4 : 2;
  return formatNumber(micro / 1_000_000, digits, digits, language);
}

/** Return a rate with its currency: `0.63 USD/h`; that it is unknown if it is. */
export function rateText(
  micro: number | null,
  currency: string,
  trans: TranslationBundle,
  language: string
): string {
  return micro === null
    ? trans.__('rate unknown')
    : trans.__('%1 %2/h', formatRate(micro, language), currency);
}

/** Return when a size takes effect, in few words. */
export function effectName(effect: SizeEffect, trans: TranslationBundle): string {
  switch (effect) {
    case 'now':
      return trans.__('now');
    case 'after_parking':
      return trans.__('after parking others');
    case 'needs_restart':
      return trans.__('needs restart');
    case 'queued':
      return trans.__('in the queue');
    case 'unavailable':
      return trans.__('not available');
  }
}

/** Return when a size takes effect, with the position, the estimate and its basis, and the reason, as far as known. */
export function effectText(
  option: SizeOption,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { effect, position, estimate, reason } = option;
  const parts = [effectName(effect, trans)];
  if (position !== null) {
    parts.push(trans.__('position %1', position));
  }
  if (estimate !== null && estimate.wait_ms !== null) {
    const basis = messageText(estimate.basis, trans, language);
    parts.push(trans.__('about %1 (%2)', formatDuration(estimate.wait_ms), basis));
  }
  if (reason !== null) {
    parts.push(messageText(reason, trans, language));
  }
  return parts;
}

/** The effects of a choice that is certain to take effect. */
const IN_FORCE: ReadonlySet<SizeEffect> = new Set<SizeEffect>(['now', 'after_parking']);

/** Return a step of the sizes for a screen reader: size, memory, rate, when it takes effect and why not now. */
export function stepText(option: SizeOption, trans: TranslationBundle, language: string): string {
  const rate =
    option.rate_micro === null
      ? trans.__('rate unknown')
      : trans.__('%1 an hour', formatRate(option.rate_micro, language));
  const [effect, ...details] = effectText(option, trans, language);
  return [
    option.size,
    formatMemory(option.memory_bytes, language),
    rate,
    IN_FORCE.has(option.effect) ? trans.__('takes effect %1', effect) : effect,
    ...details
  ].join(', ');
}

/** A size by its number of devices, its model and a part of it. */
const SIZE = /^(?:(\d+)x)?([^:]+)(?::(.+))?$/;

/** Return the labels of the steps: their sizes; without the model where all name the same one, as its name is long. */
export function stepNames(options: ReadonlyArray<SizeOption>, trans: TranslationBundle): ReadonlyArray<string> {
  const parts = options.map(({ size }) => SIZE.exec(size));
  const [first] = parts;
  if (options.length < 2 || parts.some(part => part === null || part[2] !== first?.[2])) {
    return options.map(({ size }) => size);
  }
  return parts.map(part => part?.[3] ?? trans._n('%1 GPU', '%1 GPUs', Number(part?.[1] ?? 1)));
}

/** Return what a size is: `half · 40 GiB · 1.25 USD/h`. */
export function optionText(
  option: SizeOption,
  currency: string,
  trans: TranslationBundle,
  language: string
): string {
  return [
    option.size,
    formatMemory(option.memory_bytes, language),
    rateText(option.rate_micro, currency, trans, language)
  ].join(' · ');
}

/** Return the size, memory and device of a lease: `half`, `40 GiB of A100-80GB`. */
export function leaseFacts(
  lease: LeaseView,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const { limit_bytes } = lease.memory;
  const memory = limit_bytes === null ? null : formatMemory(limit_bytes, language);
  const model = lease.gpu === null || lease.gpu.model === null ? null : shortModel(lease.gpu.model);
  const gpu = memory !== null && model !== null ? trans.__('%1 of %2', memory, model) : (memory ?? model);
  return gpu === null ? [lease.request.size] : [lease.request.size, gpu];
}

/** Return the memory limit of a lease and who enforces it, as a sentence; empty before the lease has a limit. */
export function limitSentence(
  { enforcement, gpu, memory }: Pick<LeaseView, 'enforcement' | 'gpu' | 'memory'>,
  trans: TranslationBundle,
  language: string
): string {
  if (memory.limit_bytes === null || gpu === null) {
    return '';
  }
  const limit = formatMemory(memory.limit_bytes, language);
  switch (gpu.partition === null ? enforcement.memory_limit : 'hardware') {
    case 'hardware':
      return trans.__('Memory limit: %1, enforced by the hardware.', limit);
    case 'driver':
      return trans.__('Memory limit: %1, enforced by the driver.', limit);
    case 'userspace':
      return trans.__('Memory limit: %1, enforced by the library of the GPU for each process.', limit);
    case 'cooperative':
      return trans.__('Memory limit: %1, enforced by the framework, watched by the pool.', limit);
    case 'none':
      return trans.__('Memory limit: not enforced.');
    case null:
      return '';
  }
}

/** Return the largest size below the requested one that starts now; null if there is none. */
export function smallerNow(
  options: ReadonlyArray<SizeOption>,
  requested: string | null
): SizeOption | null {
  const index = options.findIndex(option => option.size === requested);
  const smaller = index < 0 ? [] : options.slice(0, index);
  return smaller.filter(option => option.effect === 'now').pop() ?? null;
}

/** Return the largest size of one device that a new request gets now; else the largest on one device; null if none. */
export function offeredSize(options: ReadonlyArray<SizeOption>): SizeOption | null {
  const single = options.filter(({ devices, effect }) => devices === 1 && effect !== 'unavailable');
  return single.filter(({ effect }) => effect === 'now').pop() ?? single.pop() ?? null;
}
