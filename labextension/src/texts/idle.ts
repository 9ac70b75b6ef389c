/** Sentences about the idle policy of a lease. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IdleStepView, LeaseView, MessageView } from '../generated/api';
import { formatDuration } from './format';

/** For how long the steps can be put off with one choice, in milliseconds. */
export const SNOOZES_MS: ReadonlyArray<number> = [30 * 60_000, 2 * 3_600_000, 8 * 3_600_000];

/** Format a time of {@link SNOOZES_MS}: `30 min`, `2 h`. */
export function snoozeText(ms: number): string {
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`;
}

/** Where the time of an idle lease is between its last use and the next step that changes something. */
export interface IIdleProgress {
  /** From 0 to 1. */
  readonly part: number;
  /** Where earlier steps are, from 0 to 1. */
  readonly marks: ReadonlyArray<number>;
}

/** Return the server's time since which nothing uses a lease; null where something does, or that is unknown. */
export function idleSince({ idle }: LeaseView): number | null {
  const { cells_idle_since, gpu_idle_since } = idle;
  return cells_idle_since === null || gpu_idle_since === null
    ? null
    : Math.max(cells_idle_since, gpu_idle_since);
}

/** Return what the lease does as the policy sees it, such as `parks in 8 min 50 s`. */
export function idleText(lease: LeaseView, now: number, trans: TranslationBundle): string {
  const { idle } = lease;
  if (idle.next !== null) {
    return nextText(idle.next.step, formatDuration(idle.next.at - now), trans);
  }
  if (idle.cells_idle_since === null) {
    return trans.__('not idle');
  }
  if (idle.gpu_idle_since === null) {
    return trans.__('no cell runs; the GPU is in use, or that is unknown');
  }
  const since = Math.max(idle.cells_idle_since, idle.gpu_idle_since);
  return trans.__('idle %1', formatDuration(now - since));
}

function nextText(step: IdleStepView['step'], time: string, trans: TranslationBundle): string {
  switch (step) {
    case 'park':
      return trans.__('parks in %1', time);
    case 'release':
      return trans.__('released in %1', time);
    case 'shut_down':
      return trans.__('kernel ends in %1', time);
    default:
      return trans.__('notification in %1', time);
  }
}

/** Return the message of the idle policy with the durations of now; null if there is none. */
export function idleMessage(lease: LeaseView, now: number): MessageView | null {
  const { message, next } = lease.idle;
  const since = idleSince(lease);
  if (message === null || since === null) {
    return message;
  }
  const params: Record<string, number> = { idle_ms: now - since };
  if (next !== null) {
    params.left_ms = Math.max(0, next.at - now);
  }
  return { ...message, params: { ...message.params, ...params } };
}

/** Return the steps that apply to a lease with their times: `Notify after 30 min; park after 1 h.` */
export function stepTexts(
  steps: ReadonlyArray<IdleStepView>,
  trans: TranslationBundle
): ReadonlyArray<string> {
  return steps.map(({ step, after_ms }) => {
    const time = formatDuration(after_ms);
    switch (step) {
      case 'park':
        return trans.__('park after %1', time);
      case 'release':
        return trans.__('release after %1', time);
      case 'shut_down':
        return trans.__('shut down after %1', time);
      default:
        return trans.__('notify after %1', time);
    }
  });
}

/** Return how far an idle lease is on the way to its next step that changes something; null if it is not on one. */
export function idleProgress(lease: LeaseView, now: number): IIdleProgress | null {
  const since = idleSince(lease);
  const { next, steps } = lease.idle;
  if (since === null || next === null) {
    return null;
  }
  const ahead = steps.slice(steps.findIndex(({ step }) => step === next.step));
  const target = next.step === 'notify' ? ahead.find(({ step }) => step !== 'notify') : undefined;
  const end = target === undefined ? next.at : since + target.after_ms;
  const whole = Math.max(1, end - since);
  const marks = steps.map(({ after_ms }) => after_ms / whole).filter(at => at < 0.99);
  return { part: Math.min(1, Math.max(0, (now - since) / whole)), marks };
}
