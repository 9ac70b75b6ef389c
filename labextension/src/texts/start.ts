/** Texts about the start of a kernel: names of its parameters, and why it does not start as its notebook asks. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { PoolClusterView, SizeOption } from '../generated/api';
import type { ItemState, ILauncherItem } from '../launch/launcheritems';
import type { IChoice, IKernelSpec, Isolation, Priority, Raised } from '../launch/choice';
import type { StartNotice } from '../launch/starter';
import { formatDuration, formatMemory, shortModel } from './format';
import { messageText } from './message';
import { formatRate, rateText } from './size';

export function priorityName(priority: Priority, trans: TranslationBundle): string {
  const names: Readonly<Record<Priority, string>> = {
    low: trans.__('low'),
    normal: trans.__('normal'),
    high: trans.__('high')
  };
  return names[priority];
}

export function isolationName(isolation: Isolation, trans: TranslationBundle): string {
  const names: Readonly<Record<Isolation, string>> = {
    none: trans.__('shared'),
    limited: trans.__('memory limit'),
    hardware: trans.__('hardware')
  };
  return names[isolation];
}

/** Return what each isolation promises, as a sentence below its choice. */
export function isolationNote(isolation: Isolation, trans: TranslationBundle): string {
  const notes: Readonly<Record<Isolation, string>> = {
    none: trans.__('The kernel may share a GPU with other kernels, in any way that the pool has.'),
    limited: trans.__('Only where something enforces the memory limit of each kernel.'),
    hardware: trans.__('Only a GPU or a MIG partition of its own.')
  };
  return notes[isolation];
}

/** Return the name of a kernelspec without FastGPU's addition, which a size beside it repeats. */
export function kernelName(spec: IKernelSpec): string {
  return spec.display_name.replace(/ \(FastGPU[^)]*\)$/, '') || spec.display_name;
}

/** Return the values that a folded form has for a cluster, in one line. */
export function clusterSummary(
  choice: IChoice,
  cluster: PoolClusterView,
  trans: TranslationBundle
): string {
  const { time_limit_default_ms: limit } = cluster;
  return [
    choice.partition === '' ? trans.__('default partition') : trans.__('partition %1', choice.partition),
    choice.time !== ''
      ? trans.__('ends after %1', choice.time)
      : limit === null
        ? trans.__('default time limit')
        : trans.__('ends after %1', formatDuration(limit)),
    ...[choice.account, choice.qos, choice.constraint].filter(Boolean),
    choice.budget === '' ? trans.__('no budget') : trans.__('budget %1', choice.budget),
    choice.wait === '' ? trans.__('waits without limit') : trans.__('waits at most %1', choice.wait)
  ].join(' · ');
}

/** Return the values that a folded form has, in one line. */
export function advancedSummary(choice: IChoice, trans: TranslationBundle): string {
  return [
    isolationName(choice.isolation, trans),
    trans.__('%1 priority', priorityName(choice.priority, trans)),
    choice.hold ? trans.__('kept while idle') : trans.__('may be parked when idle'),
    choice.budget === '' ? trans.__('no budget') : trans.__('budget %1', choice.budget),
    choice.wait === '' ? trans.__('waits without limit') : trans.__('waits at most %1', choice.wait)
  ].join(' · ');
}

/** Return the sentence of a notice, and the label of the button that opens the form. */
export function noticeTexts(
  notice: StartNotice,
  trans: TranslationBundle
): { readonly text: string; readonly action: string } {
  const choose = trans.__('Choose size…');
  switch (notice.kind) {
    case 'newer':
      return {
        text: trans.__(
          'The GPU size in this notebook was stored by a newer version of FastGPU and is not used. Starting with %1.',
          notice.used.size
        ),
        action: choose
      };
    case 'invalid':
      return {
        text: trans.__(
          'The GPU size that is stored in this notebook cannot be read and is not used. Starting with %1.',
          notice.used.size
        ),
        action: choose
      };
    case 'refused':
      return {
        text: trans.__(
          'The kernel was started with %1, because %2, which is stored in this notebook, was refused: %3',
          notice.used.size,
          notice.asked.size,
          notice.reason instanceof Error ? notice.reason.message : String(notice.reason)
        ),
        action: choose
      };
    case 'raised':
      return notice.raised.length > 1
        ? {
            text: trans.__(
              'This notebook asks for more than your defaults in several options. Starting with your defaults.'
            ),
            action: trans.__('Review…')
          }
        : raisedTexts(notice.raised[0], notice.asked, notice.used, trans);
  }
}

/** Return what a notebook asks for in one parameter beyond the defaults, and the button that uses it. */
export function raisedTexts(
  raised: Raised,
  asked: IChoice,
  used: IChoice,
  trans: TranslationBundle
): { readonly text: string; readonly action: string } {
  switch (raised) {
    case 'size':
      return {
        text: trans.__(
          'This notebook asks for the size %1, which may cost more than your default. Starting with %2.',
          asked.size,
          used.size
        ),
        action: trans.__('Use %1…', asked.size)
      };
    case 'priority':
      return {
        text: trans.__(
          'This notebook asks for %1 priority. Starting with %2 priority.',
          priorityName(asked.priority, trans),
          priorityName(used.priority, trans)
        ),
        action: trans.__('Use %1 priority…', priorityName(asked.priority, trans))
      };
    case 'hold':
      return {
        text: trans.__(
          'This notebook asks to keep its GPU while it is idle. Starting with a GPU that may be parked.'
        ),
        action: trans.__('Keep while idle…')
      };
    case 'cluster':
      return {
        text: trans.__(
          'This notebook asks for a partition, an account, a QOS or a time limit of the cluster that is not your default. Starting with your defaults.'
        ),
        action: trans.__('Use what it asks for…')
      };
    case 'budget':
      return asked.budget === ''
        ? {
            text: trans.__(
              'This notebook asks for no budget. Starting with a budget of %1.',
              used.budget
            ),
            action: trans.__('Use no budget…')
          }
        : {
            text: trans.__(
              'This notebook asks for a budget of %1. Starting with a budget of %2.',
              asked.budget,
              used.budget
            ),
            action: trans.__('Use a budget of %1…', asked.budget)
          };
  }
}

/** Return the three lines of a card: kernel and size, when it starts, and its rate. */
export function itemLabel(
  item: ILauncherItem,
  state: ItemState,
  trans: TranslationBundle,
  language: string
): string {
  const name = trans.__('%1, %2', item.name, item.choice.size);
  if (state.kind !== 'known') {
    return [name, state.kind === 'checking' ? trans.__('checking…') : trans.__('start unknown')].join('\n');
  }
  const { option } = state;
  const mark = option.effect === 'now' ? '●' : option.effect === 'unavailable' ? '✕' : '■';
  const rate =
    option.rate_micro === null
      ? trans.__('rate unknown')
      : trans.__('%1/h', formatRate(option.rate_micro, language));
  return [name, `${mark} ${itemStart(option, trans)}`, rate].join('\n');
}

/** Return the sentence of a card, for its tooltip. */
export function itemCaption(
  item: ILauncherItem,
  state: ItemState,
  currency: string,
  trans: TranslationBundle,
  language: string
): string {
  const { name, choice } = item;
  if (state.kind !== 'known') {
    return trans.__('Start a notebook with %1 and the size %2. Its start is unknown.', name, choice.size);
  }
  const { option } = state;
  const gpu =
    option.model === null
      ? formatMemory(option.memory_bytes, language)
      : trans.__('%1 of %2', formatMemory(option.memory_bytes, language), shortModel(option.model));
  const reason = option.reason === null ? '' : messageText(option.reason, trans, language);
  const sentence = trans.__(
    'Start a notebook with %1 and the size %2 (%3): %4, %5.',
    name,
    choice.size,
    gpu,
    itemStart(option, trans),
    rateText(option.rate_micro, currency, trans, language)
  );
  return reason === '' ? sentence : `${sentence}\n${reason}`;
}

function itemStart({ effect, position, estimate }: SizeOption, trans: TranslationBundle): string {
  const wait = estimate?.wait_ms ?? null;
  switch (effect) {
    case 'now':
      return trans.__('starts now');
    case 'after_parking':
      return trans.__('starts after parking');
    case 'queued':
      if (position === null) {
        return trans.__('in the queue');
      }
      return wait === null
        ? trans.__('position %1', position)
        : trans.__('position %1, about %2', position, formatDuration(wait));
    case 'needs_restart':
    case 'unavailable':
      return trans.__('not available');
  }
}
