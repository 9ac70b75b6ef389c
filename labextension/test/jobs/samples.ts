/** Jobs as the server sends them, for all tests. */

import type { JobView } from '../../src/generated/api';

export function job(changes: Partial<JobView> = {}): JobView {
  return {
    id: 17,
    version: 1,
    kind: 'cell',
    name: 'train',
    state: 'queued',
    cancelling: false,
    size: 'half',
    priority: 'low',
    retention: 'yield',
    after: [],
    timeout_ms: null,
    retries: 0,
    attempt: 1,
    submitted_at: 1_000,
    started_at: null,
    ended_at: null,
    lease_id: null,
    lease_state: null,
    position: null,
    jobs_before: null,
    estimate_ms: null,
    reason: null,
    notes: [],
    gpu: null,
    cost_micro: null,
    rate_micro: null,
    currency: 'USD',
    progress: null,
    log_tail: [],
    log_bytes: 0,
    notebook: 'work/digits.ipynb',
    kernel_id: null,
    environment: { interpreter: 'python', cwd: '/', variables: [] },
    exit_status: null,
    error: null,
    result: null,
    cache: null,
    ...changes
  };
}

export function running(changes: Partial<JobView> = {}): JobView {
  return job({ state: 'running', lease_state: 'active', started_at: 10_000, ...changes });
}
