/**
 * Sentences for the time without a connection: what happened, what continues to run, what to do.
 *
 * All functions are pure and take the translator's bundle, so that every string can be translated.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { FailureReason } from '../leases/lease';

/** Return what happens to running kernels while the connection is down, as far as the page can know it. */
export function kernelsNote(reason: FailureReason, trans: TranslationBundle): string {
  return reason === 'network'
    ? trans.__('While the Jupyter server itself runs, its kernels continue and keep their GPUs.')
    : trans.__('Running kernels continue and keep their GPUs.');
}

/** Return what happened and what the user can do about it. */
export function failureTexts(
  reason: FailureReason,
  trans: TranslationBundle
): { readonly title: string; readonly advice: string } {
  switch (reason) {
    case 'missing':
      return {
        title: trans.__('FastGPU is not enabled on this server'),
        advice: trans.__(
          'Run “jupyter server extension enable fastgpu_jupyter” and restart the server.'
        )
      };
    case 'forbidden':
      return {
        title: trans.__('You do not have access to the GPU pool'),
        advice: trans.__('Log in again, or ask the administrator of this server for access.')
      };
    case 'refused':
      return {
        title: trans.__('The server refused the request'),
        advice: trans.__('If this continues, ask the administrator of this server.')
      };
    case 'unanswered':
    case 'pool':
      return {
        title: trans.__('The pool manager does not respond'),
        advice: trans.__('If this continues, run “jupyter fastgpu status” in a terminal for details.')
      };
    case 'network':
      return {
        title: trans.__('The Jupyter server does not respond'),
        advice: trans.__('Check that the server is running and that you are connected.')
      };
    case 'protocol':
      return {
        title: trans.__('The server sent an unexpected answer'),
        advice: trans.__('Reload this page.')
      };
    case 'version':
      return {
        title: trans.__('The page and the server are of different versions'),
        advice: trans.__('Reload this page; if it continues, restart the Jupyter server.')
      };
  }
}
