/**
 * Sentences about a lease that a cluster grants: its job, its time limit, and what the cluster does not say.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { LeaseView, PoolView } from '../generated/api';
import type { ClusterLease } from '../leases/lease';
import { isOnCluster } from '../leases/lease';
import { countdown, formatDuration, formatTime } from './format';
import { messageText } from './message';

/** The end of an allocation is announced so long ahead. */
export const ENDS_SOON_MS = 300_000;

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
    : trans.__('%1 has not said why it waits.', engineName(engine, trans));
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
  const own = lease.cluster.message;
  const silent = pool === null ? null : silenceText(pool, trans, language);
  const text = own === null ? null : messageText(own, trans, language);
  const reason = lease.cluster.reason === null ? null : messageText(lease.cluster.reason, trans, language);
  return [text, silent].filter(
    (note, index, notes): note is string => note !== null && note !== reason && notes.indexOf(note) === index
  );
}

/** Return since when the cluster does not answer, and that nothing changed; null while it answers. */
export function silenceText(pool: PoolView, trans: TranslationBundle, language: string): string | null {
  const cluster = pool.cluster ?? null;
  if (cluster === null || cluster.unanswered_since === null) {
    return null;
  }
  return cluster.message !== null
    ? messageText(cluster.message, trans, language)
    : trans.__(
        '%1 has not answered since %2. Nothing has changed: requests keep their places, and kernels that run go on.',
        engineName(cluster.engine, trans),
        formatTime(cluster.unanswered_since, language)
      );
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
