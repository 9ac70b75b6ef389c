/** The sizes of a new request, asked for again when a value above the slider or the pool has changed. */

import type { ISignal } from '@lumino/signaling';
import * as React from 'react';

import { SIZES_INTERVAL_MS, textOf } from '../controls/hooks';
import type { ISizesQuery } from '../controls/source';
import type { SizeOptions } from '../generated/api';

/** The form says that it is checking only if an answer takes longer. */
const CHECKING_MS = 300;

/** Where the sizes come from. */
export interface ISizesSource {
  readonly loadSizes: (query: ISizesQuery) => Promise<SizeOptions>;
  /** Emitted when the pool has changed. */
  readonly poolChanged: ISignal<unknown, unknown>;
}

/** The sizes of a query, and whether a newer answer is awaited. */
export interface IAnswer {
  /** The query that was answered last; null before the first answer. */
  readonly query: string | null;
  readonly sizes: SizeOptions | null;
  readonly failure: string | null;
  readonly isChecking: boolean;
}

/** Ask for the sizes of a query, and again when the pool has changed. */
export function useSizesOf(query: ISizesQuery, source: ISizesSource): IAnswer {
  const { loadSizes, poolChanged } = source;
  const [answer, setAnswer] = React.useState<IAnswer>({ query: null, sizes: null, failure: null, isChecking: true });
  const [version, refresh] = React.useReducer((count: number) => count + 1, 0);
  const key = JSON.stringify(query);
  React.useEffect(() => {
    let timer = 0;
    let askedAt = performance.now();
    const onChanged = () => {
      if (timer === 0) {
        timer = window.setTimeout(
          () => {
            timer = 0;
            askedAt = performance.now();
            refresh();
          },
          Math.max(0, askedAt + SIZES_INTERVAL_MS - performance.now())
        );
      }
    };
    poolChanged.connect(onChanged);
    return () => {
      window.clearTimeout(timer);
      poolChanged.disconnect(onChanged);
    };
  }, [poolChanged]);
  React.useEffect(() => {
    let isCurrent = true;
    const timer = window.setTimeout(
      () => setAnswer(before => ({ ...before, isChecking: true })),
      CHECKING_MS
    );
    loadSizes(JSON.parse(key) as ISizesQuery)
      .then(
        sizes => ({ query: key, sizes, failure: null, isChecking: false }),
        (reason: unknown) => ({ query: key, sizes: null, failure: textOf(reason), isChecking: false })
      )
      .then(next => {
        window.clearTimeout(timer);
        if (isCurrent) {
          setAnswer(next);
        }
      })
      .catch(() => undefined);
    return () => {
      isCurrent = false;
      window.clearTimeout(timer);
    };
  }, [key, version, loadSizes]);
  return answer;
}
