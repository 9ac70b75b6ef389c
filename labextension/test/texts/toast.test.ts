import assert from 'node:assert/strict';
import test from 'node:test';

import { TOAST_LENGTH_MAX, toastName, toastText } from '../../src/texts/toast';
import { transitionText } from '../../src/texts/transition';
import { lease, message } from '../samples';
import { trans } from '../translation';

test('toastText: a text that fits is not changed, but for code', () => {
  assert.deepEqual(toastText('Run `jupyter fastgpu status`.'), {
    text: 'Run “jupyter fastgpu status”.',
    isShortened: false
  });
});

test('toastText: a long text ends with a sentence, at the latest within the maximum', () => {
  const first = 'It has spent 100 % of the budget.';
  assert.deepEqual(toastText(`${first} ${'Nothing more is granted. '.repeat(9)}`, 40), {
    text: first,
    isShortened: true
  });
  const long = toastText(`${'word '.repeat(60)}end.`);
  assert.match(long.text, /^(word )+word…$/);
  assert.ok(long.isShortened && long.text.length <= TOAST_LENGTH_MAX);
});

test('toastText: the point of a number and of a file name ends no sentence', () => {
  assert.equal(
    toastText('“a.ipynb”: uses 1.5 GiB. Free memory, or give it a larger size.', 30).text,
    '“a.ipynb”: uses 1.5 GiB.'
  );
});

test('toastName: keeps begin and end of a long name', () => {
  assert.equal(toastName('train.ipynb'), 'train.ipynb');
  const name = toastName(`${'x'.repeat(100)}-final.ipynb`);
  assert.ok(name.endsWith('-final.ipynb') && name.length === 40);
});

test('transitionText: names the notebook, but not for the budget of the user', () => {
  const ofLease = lease({ money: { message: message('It has cost 80 % of its budget.') } });
  assert.equal(
    transitionText({ kind: 'budget', lease: ofLease }, trans, 'en'),
    '“train.ipynb”: It has cost 80 % of its budget.'
  );
  const text = 'ada has spent 80 % of this month’s budget.';
  const ofTenant = lease({
    money: { message: { code: 'test', params: { tenant: 'ada', spent_percent: 80 }, text } }
  });
  assert.equal(transitionText({ kind: 'budget', lease: ofTenant }, trans, 'en'), text);
});
