"""The states of a lease, the groups of states that other modules ask for, and the transitions between states.

    WAITING ──granted──> PREPARING ──prepared──> ACTIVE ──parking──> PARKING ──parked──> PARKED
       ▲ └───────resuming──────> RESUMING ──resumed──┘ ▲ └─park failed─┘                   │
       ├──prepare failed── PREPARING                   │                                   │
       ├──postponed── RESUMING                         │                                   │
       └─────────────── resume requested or withdrawn ─│───────────────────────────────────┘
    states that hold capacity ──draining──> DRAINING ──ended──> ENDED <──ended── WAITING, PARKED

This module is the only place that lists states. It imports nothing of the package, so that every process can import it;
:mod:`core.lease.transition` applies the table.
"""

from __future__ import annotations

from enum import StrEnum


class LeaseState(StrEnum):
    """The state of a lease; a lease is in exactly one."""

    WAITING = "waiting"
    PREPARING = "preparing"
    ACTIVE = "active"
    PARKING = "parking"
    PARKED = "parked"
    RESUMING = "resuming"
    DRAINING = "draining"
    ENDED = "ended"


_S = LeaseState

#: The lease holds capacity of its devices.
HOLDING_CAPACITY = frozenset({_S.PREPARING, _S.ACTIVE, _S.PARKING, _S.RESUMING, _S.DRAINING})
#: The lease holds capacity that it is about to give back.
RELEASING_CAPACITY = frozenset({_S.PARKING, _S.DRAINING})
#: The lease holds no capacity and may still get some.
WITHOUT_CAPACITY = frozenset({_S.WAITING, _S.PARKED})
#: The lease is over for its user: no command brings it back.
OVER = frozenset({_S.DRAINING, _S.ENDED})
#: The lease is not over.
LIVE = frozenset(_S) - OVER
#: The lease has devices on which it, or its memory, can be hit by a fault.
EXPOSED_TO_FAULTS = HOLDING_CAPACITY - OVER
#: The devices of the lease are being made usable for its process.
BECOMING_ACTIVE = frozenset({_S.PREPARING, _S.RESUMING})
#: A cell that needs the GPU waits; the lease may become active.
BLOCKING_CELLS = LIVE - {_S.ACTIVE}
#: The memory of the lease is in host memory, or on its way there.
PARKED_OR_PARKING = frozenset({_S.PARKING, _S.PARKED})
#: A lease that was parked is on its way back to a device. WAITING is also the state before the first grant.
RETURNING = frozenset({_S.WAITING, _S.RESUMING})
#: The lease was parked, where it was ever granted, and is not back on a device.
PARKED_OR_RETURNING = PARKED_OR_PARKING | RETURNING
#: The parked memory of the lease is known.
HAVING_PARKED_MEMORY = PARKED_OR_PARKING | {_S.RESUMING}

#: Names of the groups, for code in other languages that is generated from this module.
GROUPS: dict[str, frozenset[LeaseState]] = {
    "HOLDING_CAPACITY": HOLDING_CAPACITY,
    "RELEASING_CAPACITY": RELEASING_CAPACITY,
    "WITHOUT_CAPACITY": WITHOUT_CAPACITY,
    "OVER": OVER,
    "LIVE": LIVE,
    "EXPOSED_TO_FAULTS": EXPOSED_TO_FAULTS,
    "BECOMING_ACTIVE": BECOMING_ACTIVE,
    "BLOCKING_CELLS": BLOCKING_CELLS,
    "PARKED_OR_PARKING": PARKED_OR_PARKING,
    "RETURNING": RETURNING,
    "PARKED_OR_RETURNING": PARKED_OR_RETURNING,
    "HAVING_PARKED_MEMORY": HAVING_PARKED_MEMORY,
}

#: Events, by name, that change something about a lease and leave its state as it is.
UNCHANGED: dict[str, frozenset[LeaseState]] = {
    "HolderBound": LIVE,
    "LeaseRetentionSet": LIVE,
    "LeaseCpuMeanwhileSet": LIVE,
    "LeaseActivityReported": LIVE,
    "LeaseGPUIdle": frozenset({_S.ACTIVE}),
    "LeaseGPUUsed": frozenset({_S.ACTIVE}),
    "LeaseIdleWarned": frozenset({_S.ACTIVE, _S.PARKED}),
    "LeaseIdleStepTaken": frozenset({_S.ACTIVE, _S.PARKED}),
    "LeaseSnoozed": LIVE,
    "LeaseBudgetSet": LIVE,
    "LeaseBudgetThresholdPassed": frozenset({_S.ACTIVE}),
    "LeaseFaulted": EXPOSED_TO_FAULTS,
    "LeaseResized": frozenset({_S.WAITING, _S.ACTIVE, _S.PARKED}),
    "LeaseResizeDeferred": frozenset({_S.ACTIVE}),
    "LeaseResizeDropped": frozenset({_S.ACTIVE}),
    "LeaseResizeAcknowledged": frozenset({_S.ACTIVE}),
    "LeaseMigrationRequested": frozenset({_S.ACTIVE}),
    "LeaseRenamed": LIVE,
    "LeaseTransferred": frozenset({_S.WAITING, _S.ACTIVE}),
    "LeaseLimitSet": frozenset({_S.ACTIVE}),
    "LeaseOverLimit": frozenset({_S.ACTIVE}),
    "LeaseWithinLimit": frozenset({_S.ACTIVE}),
    "LeaseJobSubmitted": frozenset({_S.WAITING, _S.ACTIVE, _S.DRAINING}),
    "LeaseTimeLimitSet": frozenset({_S.ACTIVE}),
    "LeaseOrphaned": frozenset({_S.ACTIVE}),
}
#: Events, by name, that lead from one state to another.
CHANGED: dict[tuple[LeaseState, str], LeaseState] = {
    (_S.WAITING, "LeaseGranted"): _S.PREPARING,
    (_S.PREPARING, "LeasePrepared"): _S.ACTIVE,
    (_S.PREPARING, "LeasePrepareFailed"): _S.WAITING,
    (_S.ACTIVE, "LeaseParking"): _S.PARKING,
    (_S.PARKING, "LeaseParked"): _S.PARKED,
    (_S.PARKING, "LeaseParkFailed"): _S.ACTIVE,
    (_S.PARKED, "LeaseResumeRequested"): _S.WAITING,
    (_S.WAITING, "LeaseResumeWithdrawn"): _S.PARKED,
    (_S.WAITING, "LeaseResuming"): _S.RESUMING,
    (_S.RESUMING, "LeaseResumed"): _S.ACTIVE,
    (_S.RESUMING, "LeaseResumePostponed"): _S.WAITING,
    **{(state, "LeaseDraining"): _S.DRAINING for state in sorted(EXPOSED_TO_FAULTS)},
    (_S.WAITING, "LeaseEnded"): _S.ENDED,
    (_S.PARKED, "LeaseEnded"): _S.ENDED,
    (_S.DRAINING, "LeaseEnded"): _S.ENDED,
}
#: The state after an event, by state and name of the event; a pair that is not here is a bug.
TRANSITIONS: dict[tuple[LeaseState, str], LeaseState] = {
    **{(state, event): state for event, states in UNCHANGED.items() for state in sorted(states)},
    **CHANGED,
}
