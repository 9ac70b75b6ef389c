/** Whether a size that a notebook remembers costs more than the user's default, by what the pool manager says now. */

import type { ISizesQuery } from '../controls/source';
import type { SizeOptions } from '../generated/api';
import type { IChoice } from './choice';
import { modelOf, queryOf, unitOf } from './form';

/** An answer that takes longer is not awaited: what the size costs is then unknown. */
const ANSWER_TIMEOUT_MS = 3_000;

/** What is known of the rate of a size: nothing is said to be cheaper because its rate is unknown. */
type Rate = number | 'unknown' | 'not offered';

/** Return whether a choice may cost more than the defaults, which is so where its rate is unknown. */
export async function mayCostMore(
  choice: IChoice,
  defaults: IChoice,
  loadSizes: (query: ISizesQuery) => Promise<SizeOptions>
): Promise<boolean> {
  if (choice.size === defaults.size) {
    return false;
  }
  const [asked, usual] = await Promise.all([choice, defaults].map(one => rateOf(one, loadSizes)));
  if (asked === 'not offered') {
    return false; // the start is refused
  }
  return typeof asked !== 'number' || typeof usual !== 'number' || asked > usual;
}

async function rateOf(
  choice: IChoice,
  loadSizes: (query: ISizesQuery) => Promise<SizeOptions>
): Promise<Rate> {
  const query = queryOf(choice, modelOf(choice.size), unitOf(choice.size));
  const timeout = new Promise<null>(resolve => setTimeout(() => resolve(null), ANSWER_TIMEOUT_MS));
  const sizes = await Promise.race([loadSizes(query).catch(() => null), timeout]);
  if (sizes?.options.length === 0) {
    return 'not offered';
  }
  return sizes?.options.find(({ size }) => size === choice.size)?.rate_micro ?? 'unknown';
}
