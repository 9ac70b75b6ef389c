/**
 * Sentences about a job: its state, how far it is, what it left, and its place in the queue.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobView, LeaseView } from '../generated/api';
import type { JobState } from '../generated/jobstates';
import type { JobGroup, JobOrder } from '../jobs/grouping';
import { isOver, isParkedJob, progressPart, timeLeftMs } from '../jobs/job';
import {
  baseName,
  formatAxisTime,
  formatDayTime,
  formatDuration,
  formatBytes,
  formatMoney,
  formatNumber,
  formatPercent,
  shortModel
} from './format';
import { orderName, stateName } from './lease';
import { leaseFacts, rateText } from './size';
import { priorityName } from './start';

/** Return the name of a job's state. */
export function jobStateName(state: JobState, trans: TranslationBundle): string {
  switch (state) {
    case 'queued':
      return trans.__('Queued');
    case 'running':
      return trans.__('Running');
    case 'done':
      return trans.__('Done');
    case 'failed':
      return trans.__('Failed');
    case 'cancelled':
      return trans.__('Cancelled');
    case 'lost':
      return trans.__('Lost');
  }
}

/** Return what a job does now, in a word: its state, or that of its lease while it has no GPU. */
export function jobWord(job: JobView, trans: TranslationBundle): string {
  if (job.state !== 'running') {
    return jobStateName(job.state, trans);
  }
  if (job.cancelling) {
    return trans.__('Cancelling');
  }
  if (isParkedJob(job) && job.lease_state !== null) {
    return job.lease_state === 'waiting' ? stateName('parked', trans) : stateName(job.lease_state, trans);
  }
  return job.lease_state === 'preparing' ? stateName('preparing', trans) : jobStateName('running', trans);
}

/** Return the number and the name of a job: `Job 17 · train`. */
export function jobTitle({ id, name }: Pick<JobView, 'id' | 'name'>, trans: TranslationBundle): string {
  return name === '' ? trans.__('Job %1', id) : trans.__('Job %1 · %2', id, name);
}

/** Return the number of a job with what is said first of its end: `Job 13 · after 8 s`. */
export function jobHeading(job: JobView, now: number, trans: TranslationBundle, language: string): string {
  const number = trans.__('Job %1', job.id);
  const ran = job.started_at === null || job.ended_at === null ? null : formatDuration(job.ended_at - job.started_at);
  if (job.cache?.outcome === 'hit') {
    return trans.__('%1 · cached', number);
  }
  switch (job.state) {
    case 'done':
      return ran === null ? number : trans.__('%1 · %2', number, ran);
    case 'failed':
    case 'cancelled':
      return ran === null ? number : trans.__('%1 · after %2', number, ran);
    case 'lost':
      return job.ended_at === null
        ? number
        : trans.__('%1 · at %2', number, shortTime(job.ended_at, now, language));
    case 'queued':
    case 'running':
      return number;
  }
}

/** Return the name of a group of jobs. */
export function jobGroupName(group: JobGroup, trans: TranslationBundle): string {
  switch (group) {
    case 'running':
      return jobStateName('running', trans);
    case 'queued':
      return jobStateName('queued', trans);
    case 'ended':
      return stateName('ended', trans);
  }
}

/** Return the number of jobs of a group, with what they cost an hour if they run. */
export function jobGroupNote(
  { group, count, rateMicro }: { readonly group: JobGroup; readonly count: number; readonly rateMicro: number },
  currency: string | null,
  trans: TranslationBundle,
  language: string
): string {
  const jobs = formatNumber(count, 0, 0, language);
  return group === 'running' && currency !== null && rateMicro > 0
    ? trans.__('%1 · %2', jobs, rateText(rateMicro, currency, trans, language))
    : jobs;
}

/** Return how many jobs run and wait; the number of all if none does. */
export function jobsNote(
  counts: Readonly<Record<JobGroup, number>>,
  trans: TranslationBundle,
  language: string
): string {
  const number = (value: number) => formatNumber(value, 0, 0, language);
  const parts = [
    ...(counts.running > 0 ? [trans.__('%1 running', number(counts.running))] : []),
    ...(counts.queued > 0 ? [trans.__('%1 queued', number(counts.queued))] : [])
  ];
  return parts.length > 0 ? parts.join(' · ') : number(counts.ended);
}

/** Return the name of an order of jobs. */
export function jobOrderName(order: JobOrder, trans: TranslationBundle): string {
  return orderName(order, trans);
}

/** Return what a job is of: `cell of digits.ipynb`. */
export function jobOrigin({ kind, notebook }: Pick<JobView, 'kind' | 'notebook'>, trans: TranslationBundle): string {
  const name = notebook === null || notebook === '' ? null : baseName(notebook);
  switch (kind) {
    case 'cell':
      return name === null ? trans.__('cell') : trans.__('cell of %1', name);
    case 'function':
      return name === null ? trans.__('function') : trans.__('function of %1', name);
    case 'notebook':
      return name === null ? trans.__('notebook') : trans.__('notebook %1', name);
    case 'command':
      return trans.__('command');
  }
}

/** What is known of the GPU of a job beside the job itself. */
export interface IJobGPU {
  /** The lease of a running job; null if the page does not know it. */
  readonly lease: LeaseView | null;
  /** The index of its device; null if the page does not know it. */
  readonly index: number | null;
}

/** Return size, device and start of a job: `half`, `40 GiB of A100-80GB`, `GPU 3`, `started 13:52`. */
export function jobFacts(
  job: JobView,
  { lease, index }: IJobGPU,
  now: number,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  const model = job.gpu === null || job.gpu.model === null ? null : shortModel(job.gpu.model);
  if (job.state === 'queued') {
    return []; // its size is in the sentence about what it waits for
  }
  return [
    ...(lease !== null && lease.gpu !== null ? leaseFacts(lease, trans, language) : [job.size, ...(model === null ? [] : [model])]),
    ...(index === null ? [] : [trans.__('GPU %1', index)]),
    ...(job.started_at === null || isOver(job) ? [] : [trans.__('started %1', shortTime(job.started_at, now, language))]),
    ...(isOver(job) && job.ended_at !== null ? [trans.__('ended %1', shortTime(job.ended_at, now, language))] : []),
    ...(job.attempt > 1 ? [trans.__('attempt %1', job.attempt)] : [])
  ];
}

/** Return position and estimate of a queued job, as a sentence; empty if it has no position yet. */
export function jobPosition(job: JobView, trans: TranslationBundle): string {
  if (job.position === null || job.position === 0) {
    return '';
  }
  return job.estimate_ms === null
    ? trans.__('Position %1.', job.position)
    : trans.__('Position %1, about %2.', job.position, formatDuration(job.estimate_ms));
}

/** Return what a waiting job asks for, and what low priority means, as a sentence. */
export function jobAsks(job: JobView, trans: TranslationBundle): string {
  if (job.priority === 'system') {
    return '';
  }
  const priority = trans.__('%1 priority', priorityName(job.priority, trans));
  return job.priority === 'low'
    ? trans.__('%1, %2: interactive cells go first.', job.size, priority)
    : trans.__('%1, %2.', job.size, priority);
}

/** Return the place of a waiting job in a word or two, for its line. */
export function jobPlace(job: JobView, trans: TranslationBundle): string {
  if (isParkedJob(job)) {
    return jobWord(job, trans);
  }
  if (job.position !== null && job.position > 0) {
    return trans.__('position %1', job.position);
  }
  if (job.after.length > 0) {
    return trans.__('after %1', job.after.join(', '));
  }
  return job.jobs_before === null ? '' : trans._n('%1 job before', '%1 jobs before', job.jobs_before);
}

/**
 * Return how far a job is: the part if it is known, the count, the text of the job and the time that is left.
 *
 * @param now - The server's time; null while nothing is heard of the job, whose time is then not known.
 */
export function progressText(
  job: JobView,
  now: number | null,
  trans: TranslationBundle,
  language: string
): { readonly percent: string | null; readonly detail: string } {
  const { progress } = job;
  if (progress === null) {
    return { percent: null, detail: '' };
  }
  const part = progressPart(job);
  const left = now === null ? null : timeLeftMs(job, now);
  const number = (value: number) => formatNumber(value, 0, 0, language);
  const unit = progress.unit ?? '';
  const count =
    progress.total === null
      ? `${number(progress.done)} ${unit}`.trim()
      : unit === ''
        ? trans.__('%1 of %2', number(progress.done), number(progress.total))
        : trans.__('%1 %2 of %3', unit, number(progress.done), number(progress.total));
  const detail = [
    count,
    ...(progress.text === null || progress.text === '' ? [] : [progress.text]),
    ...(left === null ? [] : [trans.__('about %1 left', formatDuration(roughly(left)))])
  ].join(' · ');
  return { percent: part === null ? null : formatPercent(100 * part, language), detail };
}

/** Return the cost of a job; empty if it is not known. */
export function jobCost({ cost_micro, currency }: JobView, language: string): string {
  return cost_micro === null ? '' : formatMoney(cost_micro, currency ?? '', language);
}

/** Return what a job costs an hour while it runs; empty if it does not, or that is not known. */
export function jobRate(job: JobView, trans: TranslationBundle, language: string): string {
  return job.state !== 'running' || isParkedJob(job) || job.rate_micro === null || job.currency === null
    ? ''
    : rateText(job.rate_micro, job.currency, trans, language);
}

/** Return what a job left, in short: `model, 102 MiB`. */
export function resultNote({ result }: JobView, trans: TranslationBundle, language: string): string {
  if (result === null) {
    return '';
  }
  const parts = [
    ...result.values,
    ...(result.files.length === 0
      ? []
      : [trans._n('%1 file', '%1 files', result.files.length)]),
    ...(result.notebook ? [trans.__('executed notebook')] : [])
  ];
  return [...parts, formatBytes(result.bytes, language)].join(', ');
}

/** Return when and where a cached result was computed, and what that saved. */
export function cachedNote(job: JobView, now: number, trans: TranslationBundle, language: string): string {
  const computed = job.cache?.computed_at ?? null;
  const saved = job.cache?.saved_micro ?? null;
  const at = computed === null ? null : shortTime(computed, now, language);
  const model = job.gpu === null || job.gpu.model === null ? null : shortModel(job.gpu.model);
  const money = saved === null ? null : formatMoney(saved, job.currency ?? '', language);
  if (at === null) {
    return trans.__('Cached.');
  }
  if (model === null || money === null) {
    return trans.__('Cached: computed %1.', at);
  }
  return trans.__('Cached: computed %1 on %2, saved %3.', at, model, money);
}

/** Return the sentence below a job that has not ended, or has failed; empty where there is nothing to say. */
export function jobHint(job: JobView, trans: TranslationBundle): string {
  switch (job.state) {
    case 'queued':
      return trans.__('Kept when the server restarts.');
    case 'running':
      return job.kind === 'command' ? '' : trans.__('You can close the notebook.');
    case 'failed':
      return job.kind === 'cell' ? trans.__('Nothing of this kernel was changed.') : '';
    case 'done':
    case 'cancelled':
    case 'lost':
      return '';
  }
}

/** Return the texts of the question before a running job is cancelled. */
export function cancelDialogTexts(
  job: JobView,
  trans: TranslationBundle
): { readonly title: string; readonly body: string; readonly accept: string } {
  return {
    title: trans.__('Cancel the running job?'),
    body: trans.__(
      '“%1” stops, and what it has not written is lost. Its log and its cost so far are kept; it can be run again.',
      jobTitle(job, trans)
    ),
    accept: trans.__('Cancel the job')
  };
}

/** Return what a notification says of the end of a job. */
export function endText(job: JobView, trans: TranslationBundle, language: string): string {
  const title = jobTitle(job, trans);
  const cost = jobCost(job, language);
  switch (job.state) {
    case 'done':
      return job.cache?.outcome === 'hit'
        ? trans.__('%1 is done: its result was cached.', title)
        : cost === ''
          ? trans.__('%1 is done.', title)
          : trans.__('%1 is done. Cost: %2.', title, cost);
    case 'failed':
      return job.error === null
        ? trans.__('%1 has failed.', title)
        : trans.__('%1 has failed: %2', title, `${job.error.name}: ${job.error.text}`);
    case 'cancelled':
      return trans.__('%1 was cancelled.', title);
    case 'lost':
      return trans.__('%1 is lost: it ended without a result.', title);
    case 'queued':
    case 'running':
      return title;
  }
}

/** Return what a notification says of several jobs that have ended. */
export function endsText(jobs: ReadonlyArray<JobView>, trans: TranslationBundle): string {
  const failed = jobs.filter(({ state }) => state === 'failed' || state === 'lost').length;
  const ended = trans._n('%1 job has ended.', '%1 jobs have ended.', jobs.length);
  return failed === 0 ? ended : trans.__('%1 %2', ended, trans._n('%1 failed.', '%1 failed.', failed));
}

/** Return a time of day, with the day if it is not that of `now`. */
export function shortTime(at: number, now: number, language: string): string {
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? formatAxisTime(at, false, language) : formatDayTime(at, language);
}

/** Return a duration that is rounded as far as its size allows, because an estimate is not exact. */
function roughly(ms: number): number {
  const step = ms < 60_000 ? 5_000 : ms < 3_600_000 ? 60_000 : 600_000;
  return Math.max(step, Math.round(ms / step) * step);
}
