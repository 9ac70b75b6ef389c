/**
 * What is said while there is no connection: what happened, what is kept, what to do.
 *
 * Pure. Takes the translator's bundle, so that every string goes through it.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { FailureReason } from '../leases/lease';

/** What becomes of kernels while there is no connection: the page must not promise what only the server could know. */
export function kept(reason: FailureReason, trans: TranslationBundle): string {
  return reason === 'network'
    ? trans.__('As long as the server itself runs, its kernels go on and keep their GPUs.')
    : trans.__('Kernels that run go on running and keep their GPUs.');
}

/** What happened, and what to do, when there is no connection. */
export function failure(
  reason: FailureReason,
  trans: TranslationBundle
): { readonly title: string; readonly advice: string } {
  switch (reason) {
    case 'missing':
      return {
        title: trans.__('FastGPU is not enabled on this server'),
        advice: trans.__(
          'Run “jupyter server extension enable fastgpu_jupyter” and start the server again.'
        )
      };
    case 'forbidden':
      return {
        title: trans.__('You may not see the GPU pool'),
        advice: trans.__('Log in again, or ask the administrator of this server for access.')
      };
    case 'refused':
      return {
        title: trans.__('The server refused to answer'),
        advice: trans.__('If this lasts, ask the administrator of this server.')
      };
    case 'pool':
      return {
        title: trans.__('The pool manager does not answer'),
        advice: trans.__('If this lasts, “jupyter fastgpu status” in a terminal says more.')
      };
    case 'network':
      return {
        title: trans.__('The Jupyter server does not answer'),
        advice: trans.__('Check that the server runs and that you are connected.')
      };
    case 'protocol':
      return {
        title: trans.__('The server sent something unexpected'),
        advice: trans.__(
          'The page and the server may be of different versions: reload this page.'
        )
      };
  }
}
