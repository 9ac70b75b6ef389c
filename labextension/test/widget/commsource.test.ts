import assert from 'node:assert/strict';
import test from 'node:test';

import type { IInitialState, IModel } from '../../src/widget/commsource';
import { ANSWER_TIMEOUT_MS, CommSource } from '../../src/widget/commsource';
import { bundleOf } from '../../src/widget/texts';
import { sizes } from '../controls/samples';
import { lease, leaseHistory, message, pool } from '../samples';

interface ISent {
  readonly id: string;
  readonly action: string;
  readonly args: object;
}

/** The widget's model, whose kernel the test plays. */
class FakeModel implements IModel {
  readonly sent: ISent[] = [];
  readonly initial: IInitialState = {
    kernel_id: 'k1',
    gated: true,
    language: null,
    translations: {},
    lease: lease(),
    problem: null,
    now: 60_000,
    pool,
    sizes,
    history: leaseHistory(0, 1, 2)
  };

  get(): IInitialState {
    return this.initial;
  }

  send(content: object): void {
    this.sent.push(content as ISent);
  }

  on(event: string, listener: (content: unknown) => void): void {
    this._listeners.set(event, listener);
  }

  off(event: string): void {
    this._listeners.delete(event);
  }

  emit(event: string, content: unknown = {}): void {
    this._listeners.get(event)?.(content);
  }

  answer(content: object): void {
    this.emit('msg:custom', { kind: 'fastgpu', ...content });
  }

  private readonly _listeners = new Map<string, (content: unknown) => void>();
}

function setUp(): { model: FakeModel; source: CommSource; changes: () => number } {
  const model = new FakeModel();
  const source = new CommSource(model, bundleOf({}), 'en');
  let count = 0;
  source.changed(() => {
    count += 1;
  });
  return { model, source, changes: () => count };
}

test('CommSource: sends nothing by itself, and knows what it began with', async () => {
  const { model, source } = setUp();
  assert.equal(source.lease?.state, 'active');
  assert.equal(source.now(), 60_000);
  assert.equal(await source.sizes(), sizes);
  assert.deepEqual(
    (await source.loadHistory({ kind: 'leases', id: 'l1', memoryBytes: null }, '1s')).utilization_percent,
    [1, 2]
  );
  await assert.rejects(
    source.loadHistory({ kind: 'leases', id: 'l1', memoryBytes: null }, '1m'),
    /Only the last minutes/
  );
  assert.deepEqual(model.sent, []);
});

test('CommSource: an action is one message, done when the kernel has answered', async () => {
  const { model, source, changes } = setUp();
  const acted = source.act('resize', { size: 'half' });
  const [{ id, action, args }] = model.sent;
  assert.deepEqual([action, args, source.isPending], ['resize', { size: 'half' }, true]);
  model.answer({ id: 'of another view', error: null });
  assert.equal(source.isPending, true);
  model.answer({ id, error: null, lease: lease({ request: { size: 'half' } }), now: 70_000 });
  await acted;
  assert.deepEqual([source.isPending, source.lease?.request.size, source.now()], [false, 'half', 70_000]);
  assert.ok(changes() > 0);
  assert.equal(model.sent.length, 1);
});

test('CommSource: a refusal rejects with its sentence, and the lease stays', async () => {
  const { model, source } = setUp();
  const acted = source.act('resize', { size: 'eighth' });
  model.answer({ id: model.sent[0].id, error: { message: message('31 GiB are in use.') } });
  await assert.rejects(acted, /31 GiB are in use/);
  assert.equal(source.lease?.request.size, lease().request.size);
});

test('CommSource: what another widget of the kernel did arrives, and so does a problem of the pool', () => {
  const { model, source } = setUp();
  model.answer({ id: null, lease: lease({ state: 'parked' }), problem: 'It does not answer.' });
  assert.equal(source.lease?.state, 'parked');
  assert.equal(source.connection.kind, 'unreachable');
  model.emit('msg:custom', { kind: 'another protocol' });
  assert.equal(source.lease?.state, 'parked');
});

test('CommSource: an ended kernel rejects what waits', async () => {
  const { model, source } = setUp();
  const acted = source.act('park', undefined);
  model.emit('comm:close');
  await assert.rejects(acted, /kernel has ended/);
  assert.equal(source.isEnded, true);
});

test('CommSource: a kernel that does not answer is given up', async context => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { source } = setUp();
  const acted = source.act('park', undefined);
  context.mock.timers.tick(ANSWER_TIMEOUT_MS);
  await assert.rejects(acted, /does not answer/);
  assert.equal(source.isPending, false);
});
