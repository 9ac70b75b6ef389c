import assert from 'node:assert/strict';
import test from 'node:test';

import { UTILIZATION_SAMPLES_MAX } from '../../src/leases/samples';
import { SPARKLINE_HEIGHT, sparklinePaths } from '../../src/controls/sparkline';

test('sparklinePaths: end at the right edge and stay within the height', () => {
  const { line, area } = sparklinePaths([0, 100]);
  assert.equal(line, `M${UTILIZATION_SAMPLES_MAX - 2} ${SPARKLINE_HEIGHT - 1}L${UTILIZATION_SAMPLES_MAX - 1} 1`);
  assert.ok(area.startsWith(line) && area.endsWith('Z'));
});

test('sparklinePaths: all samples, begin at the left edge', () => {
  assert.match(sparklinePaths(Array.from({ length: UTILIZATION_SAMPLES_MAX }, () => 50)).line, /^M0 /);
});

test('sparklinePaths: unknown samples, leave gaps', () => {
  assert.equal(sparklinePaths([10, null, null, 20, 30]).line.split('M').length - 1, 2);
  assert.deepEqual(sparklinePaths([null]), { line: '', area: '' });
  assert.deepEqual(sparklinePaths([]), { line: '', area: '' });
});
