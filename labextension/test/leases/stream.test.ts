import assert from 'node:assert/strict';
import test from 'node:test';

import {
  EVENT_CHARS_MAX,
  EventStreamParser,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
  retryDelay
} from '../../src/leases/stream';

const STREAM = ': hello\r\n\r\ndata: {"a":1}\n\nevent: x\ndata:two\rdata: lines\r\r\n: ping\n\ndata: the\r\ndata: end\r\n\r\n';
const EVENTS = ['{"a":1}', 'two\nlines', 'the\nend'];

test('EventStreamParser: a whole stream', () => {
  assert.deepEqual(new EventStreamParser().push(STREAM), EVENTS);
});

test('EventStreamParser: a stream divided at every position', () => {
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const parser = new EventStreamParser();
    const events = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))];
    assert.deepEqual(events, EVENTS, `cut at ${cut}`);
  }
});

test('EventStreamParser: a stream by single characters', () => {
  const parser = new EventStreamParser();
  assert.deepEqual(
    [...STREAM].flatMap(character => parser.push(character)),
    EVENTS
  );
});

test('EventStreamParser: an incomplete event, buffered', () => {
  const parser = new EventStreamParser();
  assert.deepEqual(parser.push('data: half\n'), []);
  assert.deepEqual(parser.push('\n'), ['half']);
});

test('EventStreamParser: an event that is too large, throws', () => {
  assert.throws(() => new EventStreamParser().push('x'.repeat(EVENT_CHARS_MAX + 1)), RangeError);
  const lines = new EventStreamParser();
  const line = `data: ${'x'.repeat(EVENT_CHARS_MAX / 4)}\n`;
  assert.throws(() => {
    for (let i = 0; i < 5; i += 1) {
      lines.push(line);
    }
  }, RangeError);
});

test('retryDelay: grows, is random and stays within its bounds', () => {
  for (let failures = 1; failures < 40; failures += 1) {
    const [shortest, longest] = [retryDelay(failures, 0), retryDelay(failures, 1)];
    assert.ok(shortest >= RETRY_MS_MIN && longest <= RETRY_MS_MAX);
    assert.ok(longest > shortest, 'there is something random about it');
    assert.ok(longest >= retryDelay(Math.max(1, failures - 1), 1));
  }
  assert.equal(retryDelay(1, 0), RETRY_MS_MIN);
  assert.equal(retryDelay(30, 1), RETRY_MS_MAX);
});
