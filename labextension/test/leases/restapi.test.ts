import assert from 'node:assert/strict';
import test from 'node:test';

import { ServerConnection } from '@jupyterlab/services';

import { HEADER, INTERFACE, UNSTATED, VERSION } from '../../src/generated/version';
import type { StreamMessage } from '../../src/leases/lease';
import { LEASE_ACTION_NAMES } from '../../src/leases/actions';
import { LeaseAPI } from '../../src/leases/restapi';
import { lease, snapshot } from '../samples';

/** An API whose server is a function. */
function apiOn(serve: (request: Request) => Response | Promise<Response>): LeaseAPI {
  const serverSettings = ServerConnection.makeSettings({
    baseUrl: 'http://host/user/ada/',
    token: 'secret',
    fetch: (request: RequestInfo | URL) => Promise.resolve(serve(request as Request))
  });
  return new LeaseAPI({ serverSettings });
}

const STATED = { [HEADER]: `${VERSION}; interface=${INTERFACE}` };

function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: STATED });
}

function streamOf(...pieces: Uint8Array[]): Response {
  const body = new ReadableStream<Uint8Array>({
    start: controller => {
      pieces.forEach(piece => controller.enqueue(piece));
      controller.close();
    }
  });
  return new Response(body, { headers: { ...STATED, Date: 'Sun, 22 Nov 2026 12:00:00 GMT' } });
}

async function collect(api: LeaseAPI): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for await (const message of api.events(new AbortController().signal, () => undefined)) {
    if (message.type !== 'keepalive') {
      messages.push(message);
    }
  }
  return messages;
}

test('LeaseAPI.events: requests the stream below the base URL with the token', async () => {
  let seen: Request | null = null;
  let time: number | null = null;
  const api = apiOn(request => {
    seen = request;
    return streamOf();
  });
  for await (const _ of api.events(new AbortController().signal, at => (time = at))) {
    assert.fail(`nothing was sent, but ${_.type} came`);
  }
  const request = seen as unknown as Request;
  assert.match(request.url, /^http:\/\/host\/user\/ada\/fastgpu\/api\/events(\?\d+)?$/);
  assert.equal(request.headers.get('Authorization'), 'token secret');
  assert.equal(request.headers.get('Accept'), 'text/event-stream');
  assert.equal(time, Date.UTC(2026, 10, 22, 12));
});

test('LeaseAPI.events: a character divided between two chunks, decoded', async () => {
  const sent = snapshot({ leases: [lease({ holder: { notebook: '/home/ada/größe-日本.ipynb' } })] });
  const bytes = new TextEncoder().encode(`data: ${JSON.stringify(sent)}\n\n`);
  const pieces = [...bytes.keys()].map(at => bytes.slice(at, at + 1));
  assert.deepEqual(await collect(apiOn(() => streamOf(...pieces))), [sent]);
});

test('LeaseAPI.events: an invalid message, throws a protocol error', async () => {
  for (const data of ['{"type":"snapshot"}', '{oops']) {
    const bytes = new TextEncoder().encode(`data: ${data}\n\n`);
    await assert.rejects(collect(apiOn(() => streamOf(bytes))), {
      name: 'FastGPUError',
      reason: 'protocol'
    });
  }
});

test('LeaseAPI.events: a refusal, throws the message and the reason of the status', async () => {
  const kinds = { 401: 'forbidden', 403: 'forbidden', 404: 'missing', 429: 'refused', 503: 'pool' };
  for (const [status, reason] of Object.entries(kinds)) {
    const api = apiOn(() => json({ message: 'Because.' }, Number(status)));
    await assert.rejects(collect(api), { reason, message: 'Because.' });
  }
  const page = apiOn(() => new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
  await assert.rejects(collect(page), { reason: 'pool', message: 'HTTP 502 Bad Gateway' });
});

test('LeaseAPI: a server of another version, throws an error that names both', async () => {
  const stated = { '9.8.7; interface=99': 'FastGPU 9.8.7 (interface 99)', '': `(interface ${UNSTATED})` };
  for (const [header, server] of Object.entries(stated)) {
    const headers: Record<string, string> = header === '' ? {} : { [HEADER]: header };
    const api = apiOn(() => new Response('{"unlike": "any"}', { headers }));
    for (const request of [collect(api), api.release('a', 'key'), api.quota()]) {
      await assert.rejects(request, (error: Error & { reason?: string }) => {
        assert.equal(error.reason, 'version');
        assert.ok(error.message.includes(`This page is FastGPU ${VERSION} (interface ${INTERFACE})`));
        return error.message.includes(server);
      });
    }
  }
  const later = apiOn(
    () => new Response('', { headers: { [HEADER]: `9.8.7; interface=${INTERFACE}` } })
  );
  assert.deepEqual(await collect(later), []);
});

test('LeaseAPI.events: no network, throws a network error', async () => {
  const api = apiOn(() => Promise.reject(new TypeError('failed to fetch')));
  await assert.rejects(collect(api), { reason: 'network' });
});

test('LeaseAPI.events: a consumer that stops early, closes the connection', async () => {
  let closed = false;
  const bytes = new TextEncoder().encode(`data: ${JSON.stringify(snapshot())}\n\n`);
  const api = apiOn(
    () =>
      new Response(
        new ReadableStream<Uint8Array>({
          pull: controller => controller.enqueue(bytes),
          cancel: () => {
            closed = true;
          }
        }),
        { headers: STATED }
      )
  );
  for await (const message of api.events(new AbortController().signal, () => undefined)) {
    assert.equal(message.type, 'snapshot');
    break;
  }
  assert.ok(closed);
});

test('LeaseAPI.release: sends DELETE and reads the answer', async () => {
  let seen = '';
  const api = apiOn(request => {
    seen = `${request.method} ${new URL(request.url).pathname}`;
    return json(lease({ state: 'draining' }));
  });
  assert.equal((await api.release('a/b', 'key')).state, 'draining');
  assert.equal(seen, 'DELETE /user/ada/fastgpu/api/leases/a%2Fb');
});

test('LeaseAPI.requestAction: each action has its own path and body', async () => {
  const seen: string[] = [];
  const api = apiOn(async request => {
    seen.push(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`);
    return json(lease({ state: 'parking' }));
  });
  for (const action of LEASE_ACTION_NAMES) {
    assert.equal((await api.requestAction('a/b', action, 'key')).state, 'parking');
  }
  assert.deepEqual(seen, [
    'POST /user/ada/fastgpu/api/leases/a%2Fb/migrate {}',
    'POST /user/ada/fastgpu/api/leases/a%2Fb/park {}',
    'POST /user/ada/fastgpu/api/leases/a%2Fb/park {}',
    'POST /user/ada/fastgpu/api/leases/a%2Fb/resume {}',
    'POST /user/ada/fastgpu/api/leases/a%2Fb/pin {"pinned":true}',
    'POST /user/ada/fastgpu/api/leases/a%2Fb/pin {"pinned":false}'
  ]);
});

test('LeaseAPI.requestAction: a refusal, throws the message of the server', async () => {
  const refusing = apiOn(() => json({ message: 'It cannot be parked.' }, 409));
  await assert.rejects(refusing.requestAction('l1', 'park', 'key'), {
    reason: 'refused',
    message: 'It cannot be parked.'
  });
});

test('LeaseAPI.release: a refusal or an invalid answer, throws', async () => {
  const refusing = apiOn(() => json({ message: 'That lease is not yours.' }, 403));
  await assert.rejects(refusing.release('l1', 'key'), { message: 'That lease is not yours.' });
  await assert.rejects(apiOn(() => json({ ok: true })).release('l1', 'key'), { reason: 'protocol' });
});

test('LeaseAPI.history: paths of devices and leases', async () => {
  const asked: string[] = [];
  const sent = {
    resolution_ms: 1000,
    started_at: 7,
    utilization_percent: [1],
    memory_used_bytes: [2],
    memory_used_bytes_max: [3],
    power_milliwatt: [4],
    temperature_celsius: [null],
    energy_millijoule: null
  };
  const api = apiOn(request => {
    asked.push(new URL(request.url).pathname + new URL(request.url).search);
    return json(sent);
  });
  const of = { id: 'a/b', memoryBytes: null };
  assert.deepEqual(await api.history({ ...of, kind: 'devices' }, '1s', 5), sent);
  await api.history({ ...of, kind: 'leases' }, '1m', 6);
  assert.match(asked[0], /^\/user\/ada\/fastgpu\/api\/devices\/a%2Fb\/history\?resolution=1s&since=5/);
  assert.match(asked[1], /^\/user\/ada\/fastgpu\/api\/leases\/a%2Fb\/history\?resolution=1m&since=6/);
});
