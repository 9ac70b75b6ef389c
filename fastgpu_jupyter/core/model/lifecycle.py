"""The lease's life as a table: which event leads from which state to which.

    WAITING ──granted──> PREPARING ──prepared──> ACTIVE ──parking──> PARKING ──parked──> PARKED
       ▲ └───────resuming──────> RESUMING ──resumed──┘ ▲ └──not parked──┘                  │
       ├──not prepared── PREPARING                     │                                   │
       └────────────────────────────────── wanted ─────│───────────────────────────────────┘
    those that hold capacity ──draining──> DRAINING ──ended──> ENDED <──ended── WAITING, PARKED

A pair that is not in the table is a bug, and the error tells the lease's whole story.
"""

from __future__ import annotations

from ...errors import InternalError
from . import events as e
from .entities import Lease, LeaseState, State
from .events import Event

S = LeaseState

#: Events that change something about a lease and leave it where it is.
_STAYS: dict[type[Event], frozenset[LeaseState]] = {
    e.HolderBound: frozenset(S) - {S.DRAINING, S.ENDED},
    e.LeaseRetentionSet: frozenset(S) - {S.DRAINING, S.ENDED},
    e.LeaseActivityReported: frozenset(S) - {S.DRAINING, S.ENDED},
    e.LeaseBudgetSet: frozenset(S) - {S.DRAINING, S.ENDED},
    e.LeaseBudgetThresholdPassed: frozenset({S.ACTIVE}),
    e.LeaseFaulted: frozenset({S.PREPARING, S.ACTIVE, S.PARKING, S.RESUMING}),
    e.LeaseResized: frozenset({S.WAITING, S.ACTIVE, S.PARKED}),
    e.LeaseResizeAcknowledged: frozenset({S.ACTIVE}),
    e.LeaseMigrationRequested: frozenset({S.ACTIVE}),
    e.LeaseTransferred: frozenset({S.WAITING, S.ACTIVE}),
    e.LeaseLimitSet: frozenset({S.ACTIVE}),
    e.LeaseOverLimit: frozenset({S.ACTIVE}),
    e.LeaseWithinLimit: frozenset({S.ACTIVE}),
}
#: Events that lead from one state to another.
_MOVES: dict[tuple[LeaseState, type[Event]], LeaseState] = {
    (S.WAITING, e.LeaseGranted): S.PREPARING,
    (S.PREPARING, e.LeasePrepared): S.ACTIVE,
    (S.PREPARING, e.LeasePrepareFailed): S.WAITING,
    (S.ACTIVE, e.LeaseParking): S.PARKING,
    (S.PARKING, e.LeaseParked): S.PARKED,
    (S.PARKING, e.LeaseParkFailed): S.ACTIVE,
    (S.PARKED, e.LeaseResumeRequested): S.WAITING,
    (S.WAITING, e.LeaseResuming): S.RESUMING,
    (S.RESUMING, e.LeaseResumed): S.ACTIVE,
    (S.PREPARING, e.LeaseDraining): S.DRAINING,
    (S.ACTIVE, e.LeaseDraining): S.DRAINING,
    (S.PARKING, e.LeaseDraining): S.DRAINING,
    (S.RESUMING, e.LeaseDraining): S.DRAINING,
    (S.WAITING, e.LeaseEnded): S.ENDED,
    (S.PARKED, e.LeaseEnded): S.ENDED,
    (S.DRAINING, e.LeaseEnded): S.ENDED,
}
TRANSITIONS: dict[tuple[LeaseState, type[Event]], LeaseState] = {
    **{(state, event): state for event, states in _STAYS.items() for state in states},
    **_MOVES,
}


def next_state(lease: Lease, event: Event) -> LeaseState:
    """The state after ``event``. Raises :class:`InternalError` where the table has no such transition."""
    after = TRANSITIONS.get((lease.state, type(event)))
    if after is None:
        raise InternalError(f"{event!r} does not fit a lease that is {lease.state.value}. Its story: {lease!r}")
    return after


def granted(state: State, lease_id: str, generation: int, expected: LeaseState) -> Lease | None:
    """The lease in that state by that grant of it; ``None`` where a report is of an earlier one, or comes too late."""
    lease = state.leases.get(lease_id)
    if lease is None or lease.state is not expected or lease.logical_gpu is None:
        return None
    return lease if lease.logical_gpu.generation == generation else None
