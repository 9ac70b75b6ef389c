import assert from 'node:assert/strict';
import test from 'node:test';

import type { IHistorySubject } from '../../src/leases/history';
import { summarize } from '../../src/leases/history';
import { historyNote, missingNote, tableCaption } from '../../src/texts/history';
import { deviceHistory, GIB, leaseHistory } from '../samples';
import { trans } from '../translation';

const LEASE: IHistorySubject = { kind: 'leases', id: 'l1', memoryBytes: 40 * GIB };
const DEVICE: IHistorySubject = { kind: 'devices', id: 'GPU-1', memoryBytes: 80 * GIB };

test('historyNote: summarizes the chart', () => {
  const history = { ...leaseHistory(0, 20, null, 40), memory_used_bytes_max: [GIB, null, 12 * GIB] };
  assert.equal(
    historyNote(summarize(history), 'hour', LEASE, trans, 'en'),
    'Last 1 hour. GPU: 30% on average, at most 40%; memory: at most 12 / 40 GiB.'
  );
  assert.equal(
    historyNote(summarize(leaseHistory(0, null)), 'week', LEASE, trans, 'en'),
    'Last 7 days. GPU: unknown; memory: unknown.'
  );
  assert.equal(
    historyNote(summarize(deviceHistory(0, 10, 30)), 'minutes', DEVICE, trans, 'en'),
    'Last 5 minutes. GPU: 20% on average, at most 30%; memory: at most 30 / 80 GiB; ' +
      'power: 20 W on average, at most 30 W; temperature: at most 60°C.'
  );
});

test('missingNote: unavailable quantities of devices, null for leases', () => {
  const cold = { ...deviceHistory(0, 10), temperature_celsius: [null] };
  assert.equal(missingNote(summarize(deviceHistory(0, 10)), DEVICE, trans), null);
  assert.equal(missingNote(summarize(cold), DEVICE, trans), 'Temperature: not available');
  assert.equal(missingNote(summarize(leaseHistory(0, 10)), DEVICE, trans), 'Power and temperature: not available');
  assert.equal(missingNote(summarize(leaseHistory(0, 10)), LEASE, trans), null);
});

test('tableCaption: subject, time range and aggregation', () => {
  assert.equal(
    tableCaption('GPU 0', 'week', DEVICE, trans, 'en'),
    'GPU 0, last 7 days by hour: averages; maximum for memory. Total memory: 80 GiB.'
  );
  assert.match(tableCaption('a.ipynb', 'hour', { ...LEASE, memoryBytes: null }, trans, 'en'), /by minute.*memory\.$/);
});
