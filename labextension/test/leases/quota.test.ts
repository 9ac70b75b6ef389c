import assert from 'node:assert/strict';
import test from 'node:test';

import { Signal } from '@lumino/signaling';

import type { GroupView, LeaseView, QuotaView, TenantView } from '../../src/generated/api';
import type { Connection } from '../../src/leases/lease';
import type { IEntitlement } from '../../src/leases/quota';
import { QuotaModel, relevantEntitlements } from '../../src/leases/quota';
import { readQuota } from '../../src/leases/validate';
import { quotaNote } from '../../src/texts/lease';
import type { ILeaseManager } from '../../src/tokens';
import { lease } from '../samples';
import { trans } from '../translation';

function tenantView(changes: Partial<TenantView> = {}): TenantView {
  return {
    tenant: { key: 'uid:1001', name: 'ada' },
    mine: true,
    group: null,
    weight: 100,
    guaranteed_milli: 0,
    limit_milli: 2000,
    held_milli: 500,
    held_cpu_milli: 0,
    held_memory_bytes: 0,
    reserved_milli: 0,
    budget_micro_per_month: null,
    budget_policy: 'warn',
    budget_percent: null,
    spent_micro: 0,
    ...changes
  };
}

function quotaView(tenants: TenantView[], groups: GroupView[] = []): QuotaView {
  return { tenants, groups };
}

const LAB: GroupView = {
  group: 'lab',
  weight: 100,
  guaranteed_milli: 1,
  limit_milli: null,
  held_milli: 250,
  held_cpu_milli: 0,
  held_memory_bytes: 0
};

function names(entitlements: ReadonlyArray<IEntitlement>): (readonly [string, boolean])[] {
  return entitlements.map(({ name, isGroup }) => [name, isGroup] as const);
}

function entitlement(changes: Partial<IEntitlement> = {}): IEntitlement {
  return {
    name: 'ada',
    isGroup: false,
    guaranteed_milli: 0,
    limit_milli: 2000,
    held_milli: 500,
    ...changes
  };
}

/** A manager with only the members that the model of quotas uses. */
class FakeManager {
  readonly changed = new Signal<this, void>(this);
  connection: Connection = { kind: 'connecting' };
  state: { leases: LeaseView[] } = { leases: [lease()] };

  become(kind: 'connected' | 'paused', ...leases: LeaseView[]): void {
    this.connection = { kind };
    this.state = { leases };
    this.changed.emit();
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

test('QuotaModel: loads after the connection and after changes of the held amount', async () => {
  const manager = new FakeManager();
  let requests = 0;
  const api = { quota: () => ((requests += 1), Promise.resolve(quotaView([tenantView()]))) };
  const quota = new QuotaModel({ manager: manager as unknown as ILeaseManager, api });
  let emitted = 0;
  quota.changed.connect(() => (emitted += 1));
  await settle();
  assert.equal(requests, 0);
  manager.become('connected', lease());
  await settle();
  assert.deepEqual(names(quota.entitlements), [['ada', false]]);
  assert.equal(quota.entitlements[0].held_milli, 500);
  manager.become('connected', lease({ money: { cost_micro: 99 } }));
  await settle();
  assert.equal(requests, 1, 'a change of cost causes no request');
  manager.become('connected', lease({ state: 'parked' }));
  manager.become('connected', lease({ state: 'waiting' }));
  await settle();
  assert.equal(requests, 3);
  assert.equal(emitted, 2, 'emitted after the last request');
  manager.become('paused', lease());
  await settle();
  assert.equal(requests, 3);
});

test('QuotaModel: a failed request, shows no quota', async () => {
  const manager = new FakeManager();
  const api = { quota: () => Promise.reject(new Error('503')) };
  const quota = new QuotaModel({ manager: manager as unknown as ILeaseManager, api });
  manager.become('connected', lease());
  await settle();
  assert.deepEqual(quota.entitlements, []);
});

test('relevantEntitlements: own ones with a limit or a guarantee', () => {
  const [mine, other] = [tenantView(), tenantView({ mine: false, tenant: { key: 'uid:1002', name: 'bob' } })];
  const shown = (quota: QuotaView) => names(relevantEntitlements(quota));
  assert.deepEqual(shown(quotaView([other, mine], [LAB])), [
    ['ada', false],
    ['lab', true]
  ]);
  assert.deepEqual(shown(quotaView([other])), []);
  assert.deepEqual(shown(quotaView([tenantView({ limit_milli: null })])), []);
});

test('quotaNote: held amount, limit and guarantee', () => {
  const note = (changes: Partial<IEntitlement>) => quotaNote(entitlement(changes), trans, 'en');
  assert.equal(note({}), 'You: 0.5 of 2 GPUs held');
  assert.equal(note({ guaranteed_milli: 1000 }), 'You: 0.5 of 2 GPUs held, 1 guaranteed');
  assert.equal(
    note({ name: 'lab', isGroup: true, limit_milli: null, guaranteed_milli: 1500 }),
    'Group lab: 0.5 GPUs held, 1.5 guaranteed'
  );
});

test('readQuota: an invalid answer, throws', () => {
  const answer = quotaView([tenantView()], [LAB]);
  assert.deepEqual(readQuota(answer), answer);
  for (const wrong of [null, {}, { tenants: [], groups: 3 }, { tenants: [null], groups: [] }]) {
    assert.throws(() => readQuota(wrong));
  }
});
