import assert from 'node:assert/strict';
import test from 'node:test';

import type { Kernel, KernelSpec, Session } from '@jupyterlab/services';

import type { IChoice } from '../../src/launch/choice';
import { defaultsOf } from '../../src/launch/choice';
import type { ICluster } from '../../src/launch/cluster';
import { Consent } from '../../src/launch/consent';
import type { INotebook, StartNotice } from '../../src/launch/starter';
import { KernelStarter } from '../../src/launch/starter';
import { sizes } from '../controls/samples';

const SPEC = {
  name: 'fastgpu',
  display_name: 'Python 3 (FastGPU)',
  metadata: { kernel_provisioner: { provisioner_name: 'fastgpu-provisioner', config: {} } }
};
const HALF = { version: 1, kernel: 'fastgpu', size: 'half' };
const DEFAULTS = defaultsOf(SPEC);

/** A page with one notebook, whose requests are recorded. */
class Page {
  constructor(remembered?: unknown) {
    this.notebook = {
      path: 'sub/a.ipynb',
      sessionName: 'a.ipynb',
      sessionPath: 'sub/a.ipynb',
      remembered,
      ready: Promise.resolve(),
      session: null,
      changeKernel: () => Promise.resolve(null),
      keepKernel: () => Promise.resolve(),
      stopKernel: () => Promise.resolve()
    };
    const startNew = (create: Session.ISessionOptions): Promise<Session.ISessionConnection> => {
      this.calls.push(['session', create.kernel]);
      return this.refuse(create.kernel ?? {}) ?? Promise.resolve(this.session);
    };
    this.sessions = { startNew } as unknown as Session.IManager;
    this.session = {
      changeKernel: (model: Partial<Kernel.IModel>) => {
        this.calls.push(['change', model]);
        return this.refuse(model) ?? Promise.resolve(null);
      }
    } as unknown as Session.ISessionConnection;
    const specs = { ready: Promise.resolve(), specs: { kernelspecs: { fastgpu: SPEC } } };
    this.starter = new KernelStarter({
      sessions: this.sessions,
      specs: specs as unknown as KernelSpec.IManager,
      consent: this.consent,
      cluster: this.cluster,
      onNotice: notice => this.notices.push(notice),
      api: {
        registerIntent: (id, parameters) => {
          if (this.failure !== null) {
            return Promise.reject(this.failure);
          }
          this.id = id;
          this.calls.push(['intent', parameters]);
          return Promise.resolve({ kernel_id: id, expires_in_ms: 120_000, start: this.start });
        },
        sizes: () => Promise.resolve(sizes),
        startKernel: (id, name, path) => {
          assert.equal(id, this.id);
          this.calls.push(['kernel', name, path]);
          return Promise.resolve();
        },
        shutdownKernel: id => {
          assert.equal(id, this.id);
          this.calls.push(['shutdown']);
          return Promise.resolve();
        }
      }
    });
    this.starter.track(this.notebook);
    this.starter.wrap(this.session, this.notebook);
    this.starter.wrap(this.session, this.notebook); // changes nothing
  }

  /** Start a session as JupyterLab does: with a placeholder of the path. */
  open(model: Partial<Kernel.IModel> = { name: 'fastgpu' }): Promise<Session.ISessionConnection> {
    return this.sessions.startNew({
      path: 'sub/7f0c2a64-placeholder',
      name: 'a.ipynb',
      type: 'notebook',
      kernel: model
    });
  }

  private refuse(model: Partial<Kernel.IModel>): Promise<never> | null {
    return this.refuses && model.id !== undefined ? Promise.reject(new Error('No such device.')) : null;
  }

  readonly notebook: INotebook;
  readonly calls: unknown[][] = [];
  readonly notices: StartNotice[] = [];
  readonly consent = new Consent(null);
  /** What the cluster grants: the ids of the kernel and of the lease; null for none yet. */
  granted: readonly [string, string] | null = null;
  isRemote = false;
  readonly cluster: ICluster = {
    isUsed: () => Promise.resolve(this.isRemote),
    endWait: () => undefined,
    start: (plan, start) => {
      this.calls.push(['request', plan.choice.size]);
      return this.granted === null ? Promise.resolve(null) : start(...this.granted);
    }
  };
  readonly sessions: Session.IManager;
  readonly session: Session.ISessionConnection;
  readonly starter: KernelStarter;
  id = '';
  start: 'sessions' | 'kernels' = 'sessions';
  /** The failure of the request that registers an intent. */
  failure: Error | null = null;
  /** Whether a start under the id of an intent is refused. */
  refuses = false;
}

test('KernelStarter: a notebook that remembers nothing starts as without it', async () => {
  for (const [remembered, model] of [
    [undefined, { name: 'fastgpu' }],
    [HALF, { name: 'python3' }],
    [{ ...HALF, kernel: 'fastgpu-quarter' }, { name: 'fastgpu' }],
    [HALF, { name: 'fastgpu', id: 'one-that-runs' }],
    [HALF, {}]
  ] as const) {
    const page = new Page(remembered);
    await page.open(model);
    await page.session.changeKernel(model);
    assert.deepEqual(page.calls, [
      ['session', model],
      ['change', model]
    ]);
    assert.deepEqual(page.notices, []);
  }
});

test('KernelStarter: other documents are left alone', async () => {
  const page = new Page(HALF);
  const kernel = { name: 'fastgpu' };
  await page.sessions.startNew({ path: 'b/x', name: 'a.ipynb', type: 'notebook', kernel });
  await page.sessions.startNew({ path: 'sub/x', name: 'b.ipynb', type: 'notebook', kernel });
  await page.sessions.startNew({ path: 'sub/x', name: 'a.ipynb', type: 'console', kernel });
  assert.deepEqual(page.calls, Array(3).fill(['session', kernel]));
});

test('KernelStarter: a session starts under the id of the intent', async () => {
  const page = new Page(HALF);
  assert.equal(await page.open(), page.session);
  assert.deepEqual(page.calls, [
    ['intent', { ...DEFAULTS, size: 'half' }],
    ['session', { name: 'fastgpu', id: page.id }]
  ]);
  assert.match(page.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test('KernelStarter: for an older server the kernel is started before the session', async () => {
  const page = new Page(HALF);
  page.start = 'kernels';
  await page.open();
  assert.deepEqual(page.calls.slice(1), [
    ['kernel', 'fastgpu', 'sub'],
    ['session', { name: 'fastgpu', id: page.id }]
  ]);
});

test('KernelStarter: a session with a kernel gets one that was started before, which ends if it fails', async () => {
  const page = new Page();
  page.starter.chooseNext('sub/a.ipynb', 'fastgpu', { ...DEFAULTS, size: 'quarter' });
  await page.session.changeKernel({ name: 'fastgpu' });
  assert.deepEqual(page.calls, [
    ['intent', { ...DEFAULTS, size: 'quarter' }],
    ['kernel', 'fastgpu', 'sub'],
    ['change', { name: 'fastgpu', id: page.id }]
  ]);
  page.refuses = true;
  page.starter.chooseNext('sub/a.ipynb', 'fastgpu', { ...DEFAULTS, size: 'quarter' });
  await assert.rejects(page.session.changeKernel({ name: 'fastgpu' }), /No such device/);
  assert.deepEqual(page.calls.slice(-1), [['shutdown']]);
});

test('KernelStarter: a choice is for the next start only, and goes before what is remembered', async () => {
  const page = new Page(HALF);
  page.starter.chooseNext('sub/a.ipynb', 'fastgpu', { ...DEFAULTS, size: 'quarter', priority: 'high' });
  await page.open();
  await page.open();
  const intents = page.calls.filter(([kind]) => kind === 'intent').map(([, body]) => body as IChoice);
  assert.deepEqual(
    intents.map(({ size, priority }) => [size, priority]),
    [
      ['quarter', 'high'],
      ['half', 'normal']
    ]
  );
  assert.deepEqual(page.notices, []);
});

test('KernelStarter: what a notebook asks for beyond the defaults is used only with consent', async () => {
  const asked: IChoice = { ...DEFAULTS, size: 'half', priority: 'high', hold: true };
  const page = new Page({ ...HALF, priority: 'high', hold: true });
  await page.open();
  assert.deepEqual(page.calls[0], ['intent', { ...DEFAULTS, size: 'half' }]);
  const used = { ...DEFAULTS, size: 'half' };
  assert.deepEqual(page.notices, [{ kind: 'raised', raised: ['priority', 'hold'], asked, used }]);
  await page.consent.add('sub/a.ipynb', 'fastgpu', asked);
  await page.open();
  assert.deepEqual(page.calls[2], ['intent', asked]);
  assert.equal(page.notices.length, 1);
  // Consent to one value is none to another.
  assert.equal(await page.consent.has('sub/a.ipynb', 'fastgpu', { ...asked, budget: '5' }), false);
  assert.equal(await page.consent.has('sub/b.ipynb', 'fastgpu', asked), false);
});

test('KernelStarter: metadata that cannot be used starts the defaults with a notice', async () => {
  for (const [remembered, kind] of [
    [{ ...HALF, version: 2 }, 'newer'],
    [{ ...HALF, size: 7 }, 'invalid']
  ] as const) {
    const page = new Page(remembered);
    await page.open();
    assert.deepEqual(page.calls, [['session', { name: 'fastgpu' }]]);
    assert.deepEqual(page.notices, [{ kind, used: DEFAULTS }]);
  }
});

test('KernelStarter: a remembered size that is refused starts the defaults with a notice', async () => {
  for (const break_ of [
    (page: Page) => (page.refuses = true),
    (page: Page) => (page.failure = new Error('HTTP 404'))
  ]) {
    const page = new Page(HALF);
    break_(page);
    assert.equal(await page.open(), page.session);
    assert.deepEqual(page.calls.slice(-1), [['session', { name: 'fastgpu' }]]);
    assert.deepEqual(page.notices.map(({ kind }) => kind), ['refused']);
  }
});

test('KernelStarter: a choice that the user has just made is refused with the reason', async () => {
  const page = new Page();
  page.refuses = true;
  page.starter.chooseNext('sub/a.ipynb', 'fastgpu', DEFAULTS);
  await assert.rejects(page.open(), /No such device/);
  assert.deepEqual(page.notices, []);
});

test('KernelStarter: on a cluster the lease comes before the kernel', async () => {
  const page = new Page();
  page.isRemote = true;
  // Without a grant JupyterLab gets a session that it did not ask for, and ends it.
  let hasSession = (): void => undefined;
  const ready = new Promise<void>(resolve => (hasSession = resolve));
  Object.defineProperty(page.notebook, 'ready', { value: ready });
  let isOpen = false;
  const opened = page.open().finally(() => (isOpen = true));
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(isOpen, false); // until another kernel has started, or ipywidgets would give the notebook up
  hasSession();
  const none = await opened;
  await none.shutdown();
  none.dispose();
  assert.notEqual(none.path, 'sub/7f0c2a64-placeholder');
  assert.deepEqual(page.calls, [['request', DEFAULTS.size]]);
  page.calls.length = 0;
  page.granted = ['11111111-2222-4333-8444-555555555555', 'lease1'];
  await page.open();
  assert.deepEqual(page.calls, [
    ['request', DEFAULTS.size],
    ['intent', { ...DEFAULTS, lease_id: 'lease1' }],
    ['session', { name: 'fastgpu', id: page.granted[0] }]
  ]);
  // A kernel of another kind asks for nothing.
  page.calls.length = 0;
  await page.open({ name: 'python3' });
  assert.deepEqual(page.calls, [['session', { name: 'python3' }]]);
});
