/**
 * Sentences about a lease that a cluster grants: its job, its time limit, and what the cluster does not say.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { LeaseView, PoolClusterView, PoolView } from '../generated/api';
import type { ClusterLease } from '../leases/lease';
import { isOnCluster } from '../leases/lease';
import { countdown, formatDuration, formatTime } from './format';
import { messageText } from './message';

/** The end of an allocation is announced so long ahead. */
export const ENDS_SOON_MS = 300_000;

/** The codes of messages whose sentences change with the time, or say what is around them, too. */
const ENDS_SOON = 'cluster.ends_soon';
const ENGINE_SILENT = 'cluster.engine_silent';
const ENGINE_HANGS = 'cluster.engine_hangs';

/** Return the name of a cluster's scheduler, as its users know it. */
export function engineName(engine: string, trans: TranslationBundle): string {
  switch (engine) {
    case 'slurm':
      return 'Slurm';
    case 'fake':
      return trans.__('the simulated cluster');
    default:
      return engine;
  }
}

/** Return the host, the job and the time left of a lease; empty for one of this machine. */
export function clusterFacts(lease: LeaseView, now: number, trans: TranslationBundle): ReadonlyArray<string> {
  if (!isOnCluster(lease)) {
    return [];
  }
  const { host, job_id, ends_at, partition } = lease.cluster;
  const left = ends_at === null || lease.state !== 'active' ? null : ends_at - now;
  return [
    host === null ? (partition === '' ? null : trans.__('partition %1', partition)) : trans.__('on %1', host),
    job_id === null ? null : trans.__('job %1', job_id),
    left === null ? null : endsIn(left, trans)
  ].filter((fact): fact is string => fact !== null);
}

/** Return when an allocation ends, counted down in its last minutes. */
export function endsIn(left: number, trans: TranslationBundle): string {
  return left <= 0
    ? trans.__('its time is over')
    : trans.__('ends in %1', left < ENDS_SOON_MS ? countdown(left) : formatDuration(Math.ceil(left / 60_000) * 60_000));
}

/** Return the position and the expected wait of a request, as far as the cluster says them: `position 3`, `about 4 min`. */
export function clusterPlace(lease: LeaseView, now: number, trans: TranslationBundle): ReadonlyArray<string> {
  if (!isOnCluster(lease)) {
    return [];
  }
  const { position, starts_at } = lease.cluster;
  const wait = starts_at === null ? 0 : starts_at - now;
  return [
    position === null ? null : trans.__('position %1', position),
    wait > 0 ? trans.__('about %1', formatDuration(Math.ceil(wait / 60_000) * 60_000)) : null
  ].filter((part): part is string => part !== null);
}

/** Return why a lease waits, in the words of the cluster made plain; what its job does where the cluster has not said. */
export function clusterReason(lease: ClusterLease, trans: TranslationBundle, language: string): string {
  const { state, reason, engine, host } = lease.cluster;
  if (state === 'starting' || state === 'running') {
    return host === null
      ? trans.__('The job has started; its host has not reported yet.')
      : trans.__('The job has started on %1, which has not reported yet.', host);
  }
  if (reason !== null) {
    return messageText(reason, trans, language);
  }
  return state === 'submitting'
    ? trans.__('The job is being submitted to %1.', engineName(engine, trans))
    : sentence(trans.__('%1 has not said why it waits.', engineName(engine, trans)));
}

/** Return what the user of a lease on a cluster should know now: it ends soon, or the cluster does not answer. */
export function clusterNotes(
  lease: LeaseView,
  pool: PoolView | null,
  trans: TranslationBundle,
  language: string
): ReadonlyArray<string> {
  if (!isOnCluster(lease)) {
    return [];
  }
  const { message } = lease.cluster;
  const reason = lease.cluster.reason === null ? null : messageText(lease.cluster.reason, trans, language);
  const silent = pool === null ? null : silenceText(pool, trans, language, reason);
  const own =
    message === null || message.code === ENGINE_SILENT // the same as `silenceText`, counted in seconds
      ? null
      : (endsAtText(lease, trans, language) ?? messageText(message, trans, language));
  return [own, silent].filter((note): note is string => note !== null && note !== reason);
}

/**
 * Return when the cluster ends the allocation of a lease that ends soon; null for any other.
 *
 * It names the time of day: a note that counts down would be read again and again by a screen reader.
 */
export function endsAtText(lease: LeaseView, trans: TranslationBundle, language: string): string | null {
  const { message, ends_at, engine } = lease.cluster ?? { message: null, ends_at: null, engine: '' };
  return message?.code === ENDS_SOON && ends_at !== null
    ? sentence(
        trans.__(
          '%1 ends it at %2, by its time limit. Save what you need.',
          engineName(engine, trans),
          formatTime(ends_at, language)
        )
      )
    : null;
}

/**
 * Return since when the cluster does not answer, that nothing changed, and why; null while it answers.
 *
 * @param said - What is said beside it, so that a reason that is the same is left out.
 */
export function silenceText(
  pool: PoolView,
  trans: TranslationBundle,
  language: string,
  said: string | null = null
): string | null {
  const cluster = pool.cluster ?? null;
  if (cluster === null || cluster.unanswered_since === null) {
    return null;
  }
  const { message } = cluster;
  const reason = message === null || message.code === ENGINE_HANGS ? '' : messageText(message, trans, language);
  const text = trans.__(
    '%1 has not answered since %2. Nothing has changed: requests keep their places, and kernels that run go on.',
    engineName(cluster.engine, trans),
    formatTime(cluster.unanswered_since, language)
  );
  return sentence(reason === said ? text : `${text} ${reason}`.trim());
}

/** Return that no request waits: those of a cluster do so in its own queue. */
export function queueText({ engine }: PoolClusterView, trans: TranslationBundle): string {
  return sentence(
    trans.__('Requests wait in the queue of %1; none of yours is waiting.', engineName(engine, trans))
  );
}

/** Return a text that begins with a capital letter, where its language has any. */
function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return why the size and the place of a lease on a cluster cannot be changed. */
export function fixedText(lease: ClusterLease, trans: TranslationBundle): string {
  return trans.__(
    'On a cluster a GPU can be neither parked nor resized: %1 holds it until the kernel ends. For another size, choose one and start a new kernel.',
    engineName(lease.cluster.engine, trans)
  );
}

/** Return the texts of the dialog that confirms the release of a lease on a cluster, or the end of its request. */
export function clusterReleaseTexts(
  lease: ClusterLease,
  name: string,
  trans: TranslationBundle
): { readonly title: string; readonly body: string; readonly accept: string } {
  return lease.state === 'waiting'
    ? {
        title: trans.__('Cancel the request?'),
        body: trans.__('The request of “%1” loses its place in the queue of the cluster.', name),
        accept: trans.__('Cancel the request')
      }
    : {
        title: trans.__('Release the GPU?'),
        body: trans.__(
          'On a cluster the kernel of “%1” runs where its GPU is: it ends, and its variables are lost. The notebook and its outputs stay.',
          name
        ),
        accept: trans.__('Release and end the kernel')
      };
}
