"""Leases that ended: how long the state keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event

#: How long a lease that ended stays in the state, so that users see what it cost. What bounds their number is how many
#: changes a tenant may make in a day.
KEPT_MS = 3_600_000


def stale_leases(state: State, at: Instant) -> Iterator[Event]:
    """Yield an event for each lease to forget, the ones that ended first first."""
    for lease_id in state.ended:
        ended_at = state.leases[lease_id].ended_at or at
        if at.ms - ended_at.ms < KEPT_MS:
            return
        yield e.LeaseForgotten(lease_id)


def apply_forgotten(state: State, event: e.LeaseForgotten, at: Instant) -> None:
    """Remove a lease that ended some time ago."""
    del state.leases[event.lease_id]
    state.ended.pop(event.lease_id, None)
