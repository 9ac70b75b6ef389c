import assert from 'node:assert/strict';
import test from 'node:test';

import { InvalidMessage, readErrorMessage, readJobLog, readMessage } from '../../src/leases/validate';
import { device, GIB, lease, message, queueEntry, queuePosition, snapshot } from '../samples';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const clone = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

/** Every path to a value inside. */
function* paths(value: Json, path: (string | number)[] = []): Generator<(string | number)[]> {
  if (path.length > 0) {
    yield path;
  }
  if (value !== null && typeof value === 'object') {
    const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
    for (const key of keys) {
      yield* paths((value as Record<string | number, Json>)[key], [...path, key]);
    }
  }
}

function mutate(value: Json, path: (string | number)[], change: (old: Json) => Json): Json {
  const copy = clone(value);
  let at = copy as Record<string | number, Json>;
  for (const key of path.slice(0, -1)) {
    at = at[key] as Record<string | number, Json>;
  }
  const last = path[path.length - 1];
  at[last] = change(at[last]);
  return copy;
}

const full = clone(
  snapshot({
    devices: [device({ health: { state: 'faulty', message: message('Xid 79') } })],
    leases: [
      lease({
        end_reason: message('released', 'end.released'),
        notes: [{ code: 'a', params: { count: 1.5, name: 'x' }, text: 'z' }],
        environment: { CUDA_VISIBLE_DEVICES: 'GPU-1' },
        queue: queuePosition(1),
        scrub: { result: 'overwritten', bytes: GIB, message: null },
        times: { ended_at: 5 }
      })
    ],
    queue: [queueEntry()]
  })
);

test('readMessage: a valid snapshot, returned unchanged', () => {
  assert.deepEqual(readMessage(full), full);
});

test('readMessage: a value of a wrong type at any path, throws', () => {
  let refused = 0;
  for (const path of paths(full)) {
    // No scalar field accepts an object, and no list or record accepts a text.
    const wrong = mutate(full, path, old =>
      typeof old === 'object' && old !== null ? 'not this' : { not: 'this' }
    );
    const field = path.filter(key => typeof key === 'string').pop() as string;
    if (path.length === 1 && field === 'type') {
      continue;
    }
    assert.throws(() => readMessage(wrong), InvalidMessage, path.join('.'));
    refused += 1;
  }
  assert.ok(refused > 60, `only ${refused} places were tried`);
});

test('readMessage: parameters of messages may be texts, numbers, lists or messages', () => {
  const params = { name: 'x', count: 1.5, done: true, names: ['x', 'y'], cause: message('y') };
  const sent = mutate(full, ['leases', 0, 'notes', 0, 'params'], () => clone(params));
  assert.deepEqual(readMessage(sent), sent);
  const wrong = mutate(full, ['leases', 0, 'notes', 0, 'params'], () => ({ names: [1] }));
  assert.throws(() => readMessage(wrong), { message: /notes\[0\]\.params\.names/ });
});

test('readMessage: an invalid value, the error names the field', () => {
  const wrong = mutate(full, ['leases', 0, 'memory', 'limit_bytes'], () => 'a lot');
  assert.throws(() => readMessage(wrong), { message: /snapshot\.leases\[0\]\.memory\.limit_bytes/ });
});

test('readMessage: a missing field, throws unless it is nullable', () => {
  for (const field of ['id', 'version', 'state', 'usage', 'money', 'memory']) {
    const wrong = clone(full) as { leases: Record<string, Json>[] };
    delete wrong.leases[0][field];
    assert.throws(() => readMessage(wrong), InvalidMessage, field);
  }
  const spare = clone(full) as { leases: Record<string, Json>[] };
  delete spare.leases[0].scrub;
  const message = readMessage(spare);
  assert.ok(message?.type === 'snapshot' && message.leases[0].scrub === null);
});

test('readMessage: a number out of range, throws', () => {
  for (const [path, value] of [
    [['leases', 0, 'usage', 'utilization_percent'], 101],
    [['leases', 0, 'usage', 'utilization_percent'], -1],
    [['leases', 0, 'memory', 'limit_bytes'], -5],
    [['leases', 0, 'money', 'cost_micro'], 0.5],
    [['devices', 0, 'memory', 'total_bytes'], 2 ** 60],
    [['seq'], -1]
  ] as [(string | number)[], number][]) {
    assert.throws(() => readMessage(mutate(full, path, () => value)), InvalidMessage, String(path));
  }
});

test('readMessage: an unknown lease state, throws', () => {
  assert.throws(() => readMessage(mutate(full, ['leases', 0, 'state'], () => 'happy')), InvalidMessage);
});

test('readMessage: unknown fields and message types, dropped', () => {
  const newer = clone(full) as { leases: Record<string, Json>[] };
  newer.leases[0].credentials = { SECRET: 'x' };
  assert.deepEqual(readMessage(newer), full);
  assert.equal(readMessage({ type: 'horoscope', text: 'fine' }), null);
});

test('readMessage: not a message, throws', () => {
  for (const nonsense of [null, 1, 'x', [], {}, { type: 3 }]) {
    assert.throws(() => readMessage(nonsense), InvalidMessage);
  }
});

test('readMessage: a change with and without the pool', () => {
  const changed = { type: 'changed', seq: 8, devices: [], leases: [], queue: [] };
  assert.deepEqual(readMessage(changed), changed);
  const message = readMessage({ ...changed, pool: snapshot().pool });
  assert.ok(message?.type === 'changed' && message.pool?.version === '0.1.0');
});

test('readMessage: usage without meters, throws', () => {
  const reading = {
    id: 'l1',
    usage: { utilization_percent: 5, active_ms: 1 },
    memory: { used_bytes: null },
    money: { billed_micro_per_hour: 3, cost_micro: 2, cost_at: 4 }
  };
  const usage = { type: 'usage', devices: [], leases: [reading] };
  assert.deepEqual(readMessage(usage), usage);
  const wrong = { ...reading, money: { ...reading.money, cost_micro: null } };
  assert.throws(() => readMessage({ ...usage, leases: [wrong] }), InvalidMessage);
});

test('readMessage: a very long text, truncated', () => {
  const long = mutate(full, ['leases', 0, 'holder', 'notebook'], () => 'x'.repeat(100_000));
  const message = readMessage(long);
  assert.ok(message?.type === 'snapshot');
  assert.equal(message.leases[0].holder.notebook?.length, 4096);
});

test('readErrorMessage: returns message, detail or null', () => {
  assert.equal(readErrorMessage({ message: ' No such lease. ', code: 'x' }), 'No such lease.');
  assert.equal(readErrorMessage({ message: '', detail: 'Look there.' }), 'Look there.');
  for (const nothing of [null, 'text', {}, { message: 5 }]) {
    assert.equal(readErrorMessage(nothing), null);
  }
});

test('readJobLog: a part of a log is not truncated as other texts are', () => {
  const part = { text: 'x'.repeat(100_000), offset: 0, end: 100_000, size: 100_000 };
  assert.equal(readJobLog(part).text.length, 100_000);
  assert.throws(() => readJobLog({ ...part, end: -1 }), InvalidMessage);
});
