import assert from 'node:assert/strict';
import test from 'node:test';

import type { MessageView } from '../../src/generated/api';
import type { MessageTemplate } from '../../src/texts/message';
import { messageText } from '../../src/texts/message';
import { GIB, message } from '../samples';
import { trans } from '../translation';

const CATALOGUE: Readonly<Record<string, MessageTemplate>> = {
  'limit.exceeded': 'It uses {used_bytes}, more than {limit_bytes} of ‘{size}’.',
  'pending.later': '{estimate_ms}, {held_milli} GPUs, {cost_micro} USD, {used_percent} %, {names}.',
  'health.cause': 'Unhealthy: {cause}',
  'queue.ahead': { plural: 'count', one: '{count} request is ahead.', other: '{count} requests are ahead.' }
};

function render(code: string, params: MessageView['params']): string {
  return messageText({ code, params, text: 'In English.' }, trans, 'en', CATALOGUE);
}

test('messageText: formats parameters by the unit in their names', () => {
  assert.equal(
    render('limit.exceeded', { used_bytes: 45 * GIB, limit_bytes: 40 * GIB, size: 'half' }),
    'It uses 45 GiB, more than 40 GiB of ‘half’.'
  );
  const params = {
    estimate_ms: 252_000,
    held_milli: 1500,
    cost_micro: 1_250_000,
    used_percent: 80,
    names: ['a', 'b', 'c']
  };
  assert.equal(render('pending.later', params), '4 min 12 s, 1.5 GPUs, 1.25 USD, 80 %, a, b, and c.');
});

test('messageText: renders a nested message', () => {
  const cause = { code: 'limit.exceeded', params: { used_bytes: GIB, limit_bytes: GIB, size: 'x' }, text: '' };
  assert.equal(render('health.cause', { cause }), 'Unhealthy: It uses 1 GiB, more than 1 GiB of ‘x’.');
});

test('messageText: selects the form for one or for several', () => {
  assert.equal(render('queue.ahead', { count: 1 }), '1 request is ahead.');
  assert.equal(render('queue.ahead', { count: 2 }), '2 requests are ahead.');
});

test('messageText: an unknown code, returns the English text', () => {
  assert.equal(render('something.new', {}), 'In English.');
  assert.equal(messageText(message('As sent.'), trans, 'en'), 'As sent.');
});
