import assert from 'node:assert/strict';
import test from 'node:test';

import { Signal } from '@lumino/signaling';

import type { Connection, ILease } from '../../src/leases/lease';
import type { IEntitlement } from '../../src/leases/quota';
import { QuotaModel, relevantEntitlements } from '../../src/leases/quota';
import { readQuota } from '../../src/leases/validate';
import { quotaNote } from '../../src/texts/lease';
import type { ILeaseManager } from '../../src/tokens';
import { lease } from '../samples';
import { trans } from '../translation';

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

/** A manager of which only what quotas look at is there. */
class FakeManager {
  readonly changed = new Signal<this, void>(this);
  connection: Connection = { kind: 'connecting' };
  state: { leases: ILease[] } = { leases: [lease({ tenant: 'ada' })] };

  become(kind: 'connected' | 'paused', ...leases: ILease[]): void {
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
  let asked = 0;
  const api = { quota: () => ((asked += 1), Promise.resolve([entitlement()])) };
  const quota = new QuotaModel({ manager: manager as unknown as ILeaseManager, api });
  let drawn = 0;
  quota.changed.connect(() => (drawn += 1));
  await settle();
  assert.equal(asked, 0);
  manager.become('connected', lease({ tenant: 'ada' }));
  await settle();
  assert.deepEqual(quota.entitlements, [entitlement()]);
  manager.become('connected', lease({ tenant: 'ada', cost_micro: 99 }));
  await settle();
  assert.equal(asked, 1, 'a meter that runs is no reason');
  manager.become('connected', lease({ tenant: 'ada', state: 'parked' }));
  manager.become('connected', lease({ tenant: 'ada', state: 'waiting' }));
  await settle();
  assert.equal(asked, 3);
  assert.equal(drawn, 2, 'drawn when there is nothing more to ask');
  manager.become('paused', lease({ tenant: 'ada' }));
  await settle();
  assert.equal(asked, 3);
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
  const [mine, other] = [entitlement(), entitlement({ name: 'bob' })];
  const group = entitlement({ name: 'lab', isGroup: true, limit_milli: null, guaranteed_milli: 1 });
  assert.deepEqual(relevantEntitlements([other, mine, group], [lease({ tenant: 'ada' })]), [mine, group]);
  assert.deepEqual(relevantEntitlements([mine], []), [mine]);
  assert.deepEqual(relevantEntitlements([entitlement({ limit_milli: null })], []), []);
});

test('quotaNote: held amount, limit and guarantee', () => {
  const said = (changes: Partial<IEntitlement>) => quotaNote(entitlement(changes), trans, 'en');
  assert.equal(said({}), 'You: 0.5 of 2 GPUs held');
  assert.equal(said({ guaranteed_milli: 1000 }), 'You: 0.5 of 2 GPUs held, 1 guaranteed');
  assert.equal(
    said({ name: 'lab', isGroup: true, limit_milli: null, guaranteed_milli: 1500 }),
    'Group lab: 0.5 GPUs held, 1.5 guaranteed'
  );
});

test('readQuota: an invalid answer, throws', () => {
  const amounts = { guaranteed_milli: 0, limit_milli: null, held_milli: 250, weight: 100 };
  const answer = { tenants: [{ tenant: 'ada', ...amounts }], groups: [{ group: 'lab', ...amounts }] };
  assert.deepEqual(
    readQuota(answer, 'quota').map(({ name, isGroup, held_milli }) => [name, isGroup, held_milli]),
    [
      ['ada', false, 250],
      ['lab', true, 250]
    ]
  );
  for (const wrong of [null, {}, { tenants: [], groups: 3 }, { tenants: [null], groups: [] }]) {
    assert.throws(() => readQuota(wrong, 'quota'));
  }
});
