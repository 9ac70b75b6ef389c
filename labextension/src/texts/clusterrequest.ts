/** Sentences of the bar above a notebook whose kernel waits for a GPU of a cluster, or has lost it. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { LeaseView } from '../generated/api';
import type { IClusterRequest } from '../launch/clusterrequests';
import { clusterReason, engineName } from './cluster';
import { isOnCluster } from '../leases/lease';
import { formatDuration, shortModel } from './format';
import { endReason } from './lease';
import { messageText } from './message';

/** What the bar says: a heading, which screen readers announce, and the sentences after it. */
export interface IBarTexts {
  readonly heading: string;
  readonly details: ReadonlyArray<string>;
}

/** Return what is said of a request; `localKernel` is the name of the kernel that the notebook has meanwhile. */
export function requestTexts(
  request: IClusterRequest,
  localKernel: string | null,
  now: number,
  trans: TranslationBundle,
  language: string
): IBarTexts {
  const { phase, size, lease } = request;
  const meanwhile =
    localKernel === null ? [] : [trans.__('Meanwhile cells run on the CPU of this machine, in %1.', localKernel)];
  if (lease === null || !isOnCluster(lease)) {
    return { heading: trans.__('Requesting %1…', size), details: [] };
  }
  if (phase === 'starting') {
    return { heading: trans.__('Granted: %1. The kernel starts.', granted(lease, trans)), details: [] };
  }
  if (phase === 'offered') {
    return {
      heading: trans.__('The GPU is ready: %1.', granted(lease, trans)),
      details: [
        trans.__('A new kernel starts there. The variables of the kernel that runs here are lost then; the notebook and its outputs stay.'),
        ...keptTexts(request, lease, now, trans)
      ]
    };
  }
  if (phase === 'over') {
    return {
      heading: trans.__('The request for %1 has ended.', size),
      details: [endText(lease, trans, language), trans.__('No kernel was started, and nothing was requested again.')]
    };
  }
  const { position, starts_at } = lease.cluster;
  const engine = engineName(lease.cluster.engine, trans);
  const wait = starts_at === null ? 0 : starts_at - now;
  return {
    heading:
      position === null
        ? trans.__('Waiting for %1 on %2.', size, engine)
        : trans.__('Waiting for %1 on %2: position %3.', size, engine, position),
    details: [
      clusterReason(lease, trans, language),
      ...(wait > 0
        ? [trans.__('%1 expects to start it in about %2.', engine, formatDuration(Math.ceil(wait / 60_000) * 60_000))]
        : []),
      ...meanwhile,
      ...(localKernel === null ? [trans.__('The kernel starts when the GPU is granted. Nothing is billed until then.')] : [])
    ]
  };
}

/** Return what is said of a notebook whose kernel has lost its GPU. */
export function lossTexts(lease: LeaseView, trans: TranslationBundle, language: string): IBarTexts {
  const host = lease.cluster?.host ?? null;
  return {
    heading: host === null ? trans.__('The GPU was lost.') : trans.__('The GPU on %1 was lost.', host),
    details: [
      endText(lease, trans, language),
      trans.__('The kernel ended with it, and its variables are lost; the notebook and its outputs stay. Nothing was requested again.')
    ]
  };
}

/** Return why a lease ended, with what the cluster said. */
function endText(lease: LeaseView, trans: TranslationBundle, language: string): string {
  const reason = lease.cluster?.reason ?? null;
  const notes = [...lease.notes, ...(reason === null ? [] : [reason])];
  const sentences = [endReason(lease, trans, language), ...notes.map(note => messageText(note, trans, language))];
  return [...new Set(sentences)].join(' ');
}

/** Return what was granted, and where: `h100, 80 GiB, on n1`. */
function granted(lease: LeaseView, trans: TranslationBundle): string {
  const model = lease.gpu?.model ?? null;
  const host = lease.cluster?.host ?? null;
  return [
    lease.request.size,
    ...(model === null || lease.request.size.toLowerCase().includes(model.toLowerCase()) ? [] : [shortModel(model)]),
    ...(host === null ? [] : [trans.__('on %1', host)])
  ].join(', ');
}

function keptTexts(
  { keptForMs }: IClusterRequest,
  lease: LeaseView,
  now: number,
  trans: TranslationBundle
): ReadonlyArray<string> {
  const { granted_at } = lease.times;
  if (keptForMs === null || granted_at === null) {
    return [];
  }
  const left = granted_at + keptForMs - now;
  return left <= 0
    ? [trans.__('It is billed now, and is about to be released.')]
    : [trans.__('It is billed now, and is released in %1 unless you move.', formatDuration(Math.ceil(left / 60_000) * 60_000))];
}
