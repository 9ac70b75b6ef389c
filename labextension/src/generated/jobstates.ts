// Generated from fastgpu_jupyter/wire/job_states.py by `make generate`. Do not edit.

export const JOB_STATES = ['queued', 'running', 'done', 'failed', 'cancelled', 'lost'] as const;

export type JobState = (typeof JOB_STATES)[number];

export const ENDED_JOBS: ReadonlySet<JobState> = /* @__PURE__ */ new Set<JobState>(['done', 'failed', 'cancelled', 'lost']);
