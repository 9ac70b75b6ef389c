"""The lease's life as a table: which event leads from which state to which.

    WAITING ──granted──> PREPARING ──prepared──> ACTIVE ──draining──> DRAINING ──ended──> ENDED

A pair that is not in the table is a bug, and the error tells the lease's whole story.
"""

from __future__ import annotations

from ..errors import InternalError
from .events import (
    Event,
    HolderBound,
    LeaseDraining,
    LeaseEnded,
    LeaseGranted,
    LeasePrepared,
    LeaseResized,
    LeaseTransferred,
)
from .model import Lease, LeaseState

S = LeaseState

TRANSITIONS: dict[tuple[LeaseState, type[Event]], LeaseState] = {
    (S.WAITING, HolderBound): S.WAITING,
    (S.WAITING, LeaseResized): S.WAITING,
    (S.WAITING, LeaseTransferred): S.WAITING,
    (S.WAITING, LeaseGranted): S.PREPARING,
    (S.WAITING, LeaseEnded): S.ENDED,
    (S.PREPARING, HolderBound): S.PREPARING,
    (S.PREPARING, LeasePrepared): S.ACTIVE,
    (S.PREPARING, LeaseDraining): S.DRAINING,
    (S.ACTIVE, HolderBound): S.ACTIVE,
    (S.ACTIVE, LeaseResized): S.ACTIVE,
    (S.ACTIVE, LeaseTransferred): S.ACTIVE,
    (S.ACTIVE, LeaseDraining): S.DRAINING,
    (S.DRAINING, LeaseEnded): S.ENDED,
}


def next_state(lease: Lease, event: Event) -> LeaseState:
    """The state after ``event``. Raises :class:`InternalError` where the table has no such transition."""
    after = TRANSITIONS.get((lease.state, type(event)))
    if after is None:
        raise InternalError(f"{event!r} does not fit a lease that is {lease.state.value}. Its story: {lease!r}")
    return after
