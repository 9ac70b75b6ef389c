import assert from 'node:assert/strict';
import test from 'node:test';

import type { Session } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';

import type { LeaseView } from '../../src/generated/api';
import { defaultsOf } from '../../src/launch/choice';
import { ClusterRequests } from '../../src/launch/clusterrequests';
import type { INotebook, IPlan } from '../../src/launch/starter';
import { clusterFacts, clusterNotes, clusterPlace, clusterReason, queueText, silenceText } from '../../src/texts/cluster';
import { stepNames } from '../../src/texts/size';
import { lossTexts, requestTexts } from '../../src/texts/clusterrequest';
import type { ILeaseManager } from '../../src/tokens';
import { onCluster, lease, message, pool } from '../samples';
import { trans } from '../translation';

const NOW = 1_000_000;
const KERNEL = '11111111-2222-4333-8444-555555555555';

/** A page with one notebook, whose leases change as a test says. */
class Page {
  constructor(leases: LeaseView[] = []) {
    this.leases = leases;
    this.manager = {
      changed: this.signal,
      connection: { kind: 'connected' },
      get state() {
        return { leases: page.leases };
      },
      release: (id: string) => {
        this.calls.push(`release ${id}`);
        return Promise.resolve();
      }
    } as unknown as ILeaseManager;
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    const page = this;
    this.requests = new ClusterRequests({
      manager: this.manager,
      notebooks: [this.notebook],
      runs: () => false,
      kernelOf: () => 'fastgpu',
      api: {
        requestForKernel: (kernelId, body) => {
          this.calls.push(`request ${body.kernel} ${body.parameters.size} for ${body.notebook}`);
          this.kernelId = kernelId;
          return Promise.resolve({ lease: onCluster({ holder: { kernel_id: kernelId } }), kept_for_ms: 600_000 });
        }
      }
    });
  }

  plan(size = 'h100', isExplicit = false): IPlan {
    const defaults = defaultsOf(undefined);
    const choice = { ...defaults, size };
    return { kernel: 'fastgpu', choice, defaults, isExplicit, notebook: this.notebook, isRemote: true };
  }

  start(plan = this.plan()): Promise<string | null> {
    return this.requests.start(plan, (kernelId, leaseId) => {
      this.calls.push(`start on ${leaseId}`);
      return Promise.resolve(kernelId);
    });
  }

  show(...leases: LeaseView[]): void {
    this.leases = leases;
    this.signal.emit();
  }

  get phase(): string | null {
    return this.requests.of(this.notebook)?.phase ?? null;
  }

  leases: LeaseView[];
  readonly calls: string[] = [];
  kernelId = '';
  session: Session.ISessionConnection | null = null;
  readonly signal = new Signal<object, void>({});
  readonly manager: ILeaseManager;
  readonly requests: ClusterRequests;
  readonly notebook: INotebook = ((page: Page): INotebook => ({
    path: 'work/a.ipynb',
    sessionName: 'a.ipynb',
    sessionPath: 'work/a.ipynb',
    remembered: undefined,
    ready: Promise.resolve(),
    get session() {
      return page.session;
    },
    changeKernel: () => Promise.resolve(null),
    keepKernel: () => Promise.resolve(),
    stopKernel: () => {
      page.calls.push('stop');
      return Promise.resolve();
    }
  }))(this);
}

const settled = () => new Promise(resolve => setImmediate(resolve));

test('ClusterRequests: a notebook without a kernel waits for the grant and starts with it', async () => {
  const page = new Page();
  const started = page.start();
  await settled();
  assert.equal(page.phase, 'waiting');
  page.show(onCluster({}));
  await settled();
  assert.deepEqual(page.calls, ['request fastgpu h100 for work/a.ipynb']);
  page.show(onCluster({ state: 'active' }));
  assert.equal(await started, page.kernelId);
  assert.equal(page.phase, null);
  assert.deepEqual(page.calls.slice(1), ['start on c1']);
});

test('ClusterRequests: what the user cancels leaves no kernel, and what the cluster refuses is shown', async () => {
  for (const [code, phase] of [
    ['end.cancelled', null],
    ['end.cluster_refused', 'over']
  ] as const) {
    const page = new Page();
    const started = page.start();
    await settled();
    page.show(onCluster({ state: 'ended', end_reason: message('It ended.', code) }));
    assert.equal(await started, null);
    assert.deepEqual(page.calls.slice(1), ['stop']);
    assert.equal(page.phase, phase);
    page.requests.dismiss(page.notebook);
    assert.equal(page.phase, null);
  }
});

test('ClusterRequests: a notebook with a kernel keeps it, and moves only when its user says so', async () => {
  const page = new Page();
  page.session = { kernel: { id: 'local', status: 'idle' } } as unknown as Session.ISessionConnection;
  assert.equal(await page.start(), null);
  page.show(onCluster({ state: 'active' }));
  assert.equal(page.phase, 'offered');
  assert.equal(page.calls.length, 1);
  assert.equal(await page.start(), page.kernelId);
  assert.deepEqual(page.calls.slice(1), ['start on c1']);
});

test('ClusterRequests: a kernel that starts here meanwhile ends the wait and keeps the request', async () => {
  const page = new Page();
  const first = page.start();
  await settled();
  page.show(onCluster({}));
  page.session = { kernel: { id: 'local', status: 'idle' } } as unknown as Session.ISessionConnection;
  // The same choice asks for nothing new; the earlier start gets no kernel.
  assert.equal(await page.start(), null);
  assert.equal(await first, null);
  assert.equal(page.calls.length, 1);
  // Another one replaces the request.
  assert.equal(await page.start(page.plan('a100', true)), null);
  assert.deepEqual(page.calls.slice(1), ['release c1', 'request fastgpu a100 for work/a.ipynb']);
});

test('ClusterRequests: a page that is loaded again finds the request of a notebook, and asks for no other', async () => {
  const waiting = onCluster({ holder: { kernel_id: KERNEL, notebook: '/home/ada/work/a.ipynb' } });
  const page = new Page([waiting]);
  page.show(waiting);
  assert.equal(page.phase, 'waiting');
  const started = page.start();
  await settled();
  assert.equal(page.kernelId, KERNEL);
  page.show(onCluster({ ...waiting, state: 'active' }));
  assert.equal(await started, KERNEL);
  // A kernel that runs on its lease is no request.
  const running = { ...waiting, state: 'active' as const };
  const other = new Page();
  other.show(onCluster({ ...running, cluster: { kernel: { state: 'running', pid: 7, exit_code: null, started_at: 1 } as never } }));
  assert.equal(other.phase, null);
});

test('texts of a request: position, reason and estimate, as far as the cluster says them', () => {
  const request = {
    notebook: new Page().notebook,
    kernel: 'fastgpu',
    kernelId: KERNEL,
    size: 'h100',
    phase: 'waiting' as const,
    keptForMs: 600_000
  };
  const waiting = onCluster({ cluster: { position: 3, starts_at: NOW + 240_000, reason: message('All nodes are busy.') } });
  const texts = requestTexts({ ...request, lease: waiting }, null, NOW, trans, 'en');
  assert.equal(texts.heading, 'Waiting for h100 on Slurm: position 3.');
  assert.deepEqual(texts.details.slice(0, 2), ['All nodes are busy.', 'Slurm expects to start it in about 4 min.']);
  assert.deepEqual(clusterPlace(waiting, NOW, trans), ['position 3', 'about 4 min']);
  const unknown = requestTexts({ ...request, lease: onCluster({}) }, 'Python 3', NOW, trans, 'en');
  assert.equal(unknown.heading, 'Waiting for h100 on Slurm.');
  assert.match(unknown.details.join(' '), /Slurm has not said why.*Meanwhile cells run on the CPU of this machine, in Python 3\./);
  const active = onCluster({
    state: 'active',
    cluster: { host: 'n1', job_id: '4711', ends_at: NOW + 90_000 },
    times: { requested_at: 1, granted_at: NOW - 60_000, ended_at: null }
  });
  assert.deepEqual(clusterFacts(active, NOW, trans), ['on n1', 'job 4711', 'ends in 1:30']);
  const offered = requestTexts({ ...request, phase: 'offered', lease: active }, 'Python 3', NOW, trans, 'en');
  assert.match(offered.details.join(' '), /variables of the kernel that runs here are lost.*released in 9 min/);
  const lost = onCluster({ state: 'ended', end_reason: message('The cluster ended its job.'), cluster: { host: 'n1', reason: message('Its time limit was reached.') } });
  assert.equal(lossTexts(lost, trans, 'en').heading, 'The GPU on n1 was lost.');
  assert.match(lossTexts(lost, trans, 'en').details[0], /ended its job\. Its time limit was reached\./);
  const started = onCluster({ cluster: { state: 'starting', host: 'n2' } });
  assert.match(clusterReason(started as never, trans, 'en'), /started on n2, which has not reported/);
});

test('silenceText: says since when the cluster does not answer, and nothing while it does', () => {
  const cluster = {
    engine: 'slurm', version: null, simulated: false, unanswered_since: null, message: null,
    kinds: null, partitions: [], time_limit_default_ms: null
  };
  assert.equal(silenceText(pool, trans, 'en'), null);
  assert.equal(silenceText({ ...pool, cluster }, trans, 'en'), null);
  assert.match(
    silenceText({ ...pool, cluster: { ...cluster, unanswered_since: NOW } }, trans, 'en') ?? '',
    /^Slurm has not answered since .*\. Nothing has changed/
  );
  assert.equal(lease({}).cluster, null);
});

test('clusterNotes: the end as a time of day, the silence of the cluster once, and nothing that counts seconds', () => {
  const cluster = {
    engine: 'slurm', version: null, simulated: false, unanswered_since: NOW, message: message('Its controller is down.'),
    kinds: null, partitions: [], time_limit_default_ms: null
  };
  const soon = { code: 'cluster.ends_soon', params: {}, text: 'Slurm ends it in 4 min 57 s.' };
  const ending = onCluster({ state: 'active', cluster: { ends_at: NOW + 240_000, message: soon } });
  const notes = clusterNotes(ending, { ...pool, cluster }, trans, 'en');
  assert.equal(notes.length, 2);
  assert.match(notes[0], /^Slurm ends it at \d+:\d\d:\d\d.*, by its time limit\. Save what you need\.$/);
  assert.match(notes[1], /^Slurm has not answered since .* Its controller is down\.$/);
  const silent = { code: 'cluster.engine_silent', params: {}, text: 'Slurm has not answered for 3 s.' };
  const lost = onCluster({ state: 'active', cluster: { message: silent } });
  assert.deepEqual(clusterNotes(lost, { ...pool, cluster }, trans, 'en'), [notes[1]]);
  assert.deepEqual(clusterNotes(lost, null, trans, 'en'), []);
});

test('queueText: says whose queue it is', () => {
  const { engine } = onCluster({}).cluster!;
  assert.match(queueText({ engine } as never, trans), /queue of Slurm; none of yours/);
});

test('stepNames: without the model where all steps have the same one', () => {
  const names = (...sizes: string[]) => stepNames(sizes.map(size => ({ size }) as never), trans);
  assert.deepEqual(names('h100:1/4', 'h100:1/2', 'h100', '2xh100'), ['1/4', '1/2', '1 GPU', '2 GPUs']);
  assert.deepEqual(names('a100', 'h100'), ['a100', 'h100']);
  assert.deepEqual(names('quarter', 'half', 'full'), ['quarter', 'half', 'full']);
});
