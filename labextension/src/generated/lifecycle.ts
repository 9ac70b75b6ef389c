// Generated from fastgpu_jupyter/core/model/lifecycle.py by `make generate`. Do not edit.

export const LEASE_STATES = ['waiting', 'preparing', 'active', 'parking', 'parked', 'resuming', 'draining', 'ended'] as const;

export type LeaseState = (typeof LEASE_STATES)[number];

/** The states that can follow each state. */
export const TRANSITIONS: Readonly<Record<LeaseState, ReadonlyArray<LeaseState>>> = {
  waiting: ['preparing', 'parked', 'resuming', 'ended'],
  preparing: ['active', 'waiting', 'draining'],
  active: ['parking', 'draining'],
  parking: ['parked', 'active', 'draining'],
  parked: ['waiting', 'ended'],
  resuming: ['active', 'waiting', 'draining'],
  draining: ['ended'],
  ended: []
};

export const HOLDING_CAPACITY: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['preparing', 'active', 'parking', 'resuming', 'draining']);

export const RELEASING_CAPACITY: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['parking', 'draining']);

export const WITHOUT_CAPACITY: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['waiting', 'parked']);

export const OVER: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['draining', 'ended']);

export const LIVE: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['waiting', 'preparing', 'active', 'parking', 'parked', 'resuming']);

export const EXPOSED_TO_FAULTS: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['preparing', 'active', 'parking', 'resuming']);

export const BECOMING_ACTIVE: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['preparing', 'resuming']);

export const BLOCKING_CELLS: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['waiting', 'preparing', 'parking', 'parked', 'resuming']);

export const PARKED_OR_PARKING: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['parking', 'parked']);

export const RETURNING: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['waiting', 'resuming']);

export const PARKED_OR_RETURNING: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['waiting', 'parking', 'parked', 'resuming']);

export const HAVING_PARKED_MEMORY: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>(['parking', 'parked', 'resuming']);
