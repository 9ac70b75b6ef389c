/** Hooks that follow a source, the time, and the sizes that can be had. */

import * as React from 'react';

import type { SizeOptions } from '../generated/api';
import type { ILeaseSource, ISourceActions, SourceAction } from './source';

/** Sizes are asked for again after a change that matters, at most this often. */
export const SIZES_INTERVAL_MS = 5_000;

/** Render again after each change of the source. */
export function useSource(source: ILeaseSource): void {
  const [, render] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => source.changed(render), [source]);
}

/** Render again each second while the page is visible, to update durations. */
export function useClock(): void {
  const [, render] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const timer = window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        render();
      }
    }, 1000);
    return () => window.clearInterval(timer);
  }, []);
}

/**
 * Load a value now and at an interval, and pass on what was loaded, until the returned function is called.
 *
 * A load that fails passes nothing on.
 */
export function loadRepeatedly<T>(
  load: () => Promise<T>,
  intervalMs: number,
  onLoaded: (loaded: T) => void
): () => void {
  let cancelled = false;
  const pass = (loaded: T) => {
    if (!cancelled) {
      onLoaded(loaded);
    }
  };
  const reload = () => void load().then(pass, () => undefined);
  reload();
  const timer = window.setInterval(reload, intervalMs);
  return () => {
    cancelled = true;
    window.clearInterval(timer);
  };
}

/** The sizes of the source's lease, and why they are unknown; null while they are asked for the first time. */
export interface IKnownSizes {
  readonly sizes: SizeOptions | null;
  readonly failure: string | null;
}

/**
 * Return the sizes of the source's lease, or of a new request if it has none.
 *
 * Asks again when `version` changes, at most once in the interval, and immediately when `urgent` does.
 */
export function useSizes(
  source: ILeaseSource,
  leaseId: string | null,
  version: string,
  enabled: boolean,
  urgent = ''
): IKnownSizes {
  const [known, setKnown] = React.useState<IKnownSizes & { readonly of: string | null }>({
    sizes: null,
    failure: null,
    of: leaseId
  });
  const askedAt = React.useRef(-SIZES_INTERVAL_MS);
  const answered = React.useRef(urgent);
  React.useEffect(() => {
    if (!enabled) {
      return;
    }
    let cancelled = false;
    const ask = () => {
      askedAt.current = performance.now();
      answered.current = urgent;
      void source.sizes(leaseId === null ? {} : { lease_id: leaseId }).then(
        sizes => {
          if (!cancelled) {
            setKnown({ sizes, failure: null, of: leaseId });
          }
        },
        (reason: unknown) => {
          if (!cancelled) {
            setKnown({ sizes: null, failure: textOf(reason), of: leaseId });
          }
        }
      );
    };
    const wait =
      urgent === answered.current ? askedAt.current + SIZES_INTERVAL_MS - performance.now() : 0;
    const timer = window.setTimeout(ask, Math.max(0, wait));
    return () => {
      cancelled = true;
      window.clearTimeout(timer);
    };
  }, [source, leaseId, version, enabled, urgent]);
  return known.of === leaseId ? known : { sizes: null, failure: null };
}

/** Actions of a source, with the failure of the last one, which stays until it is dismissed. */
export interface IActing {
  readonly failure: string | null;
  readonly setFailure: (failure: string | null) => void;
  /** Request an action; resolves with whether it was accepted. */
  readonly act: <A extends SourceAction>(
    action: A,
    args: ISourceActions[A],
    leaseId?: string
  ) => Promise<boolean>;
}

export function useActing(source: ILeaseSource): IActing {
  const [failure, setFailure] = React.useState<string | null>(null);
  const act: IActing['act'] = async (action, args, leaseId) => {
    setFailure(null);
    try {
      await source.act(action, args, leaseId);
      return true;
    } catch (reason) {
      setFailure(textOf(reason));
      return false;
    }
  };
  return { failure, setFailure, act };
}

/** Return the sentence of an error. */
export function textOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
