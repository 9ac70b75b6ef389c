import assert from 'node:assert/strict';
import test from 'node:test';

import type { SizeOptions } from '../../src/generated/api';
import type { IChoice } from '../../src/launch/choice';
import { defaultsOf } from '../../src/launch/choice';
import { mayCostMore } from '../../src/launch/rates';
import { sizes } from '../controls/samples';

const CHOICE: IChoice = { ...defaultsOf(undefined), size: 'half' };
const MODEL_OFFERED = 'a100';

/** The sizes of the pool, which has no other model than one. */
function load(query: { readonly model?: string }): Promise<SizeOptions> {
  const options = query.model === undefined || query.model === MODEL_OFFERED ? sizes.options : [];
  return Promise.resolve({ ...sizes, options });
}

void test('mayCostMore: by the rates that the pool has, and where a rate is unknown', async () => {
  for (const [size, usual, expected] of [
    ['half', 'half', false],
    ['quarter', 'half', false],
    ['full', 'half', true],
    ['3xa100', 'half', true], // no step has it
    ['h100', 'half', false] // there is none: the start is refused
  ] as const) {
    const more = await mayCostMore({ ...CHOICE, size }, { ...CHOICE, size: usual }, load);
    assert.equal(more, expected, size);
  }
  const silent = () => Promise.reject(new Error('The pool manager does not answer.'));
  assert.equal(await mayCostMore({ ...CHOICE, size: 'quarter' }, CHOICE, silent), true);
});
