"""Until when a lease of an engine is billed: its job may have ended before the pool manager learnt of it.

The engine's clock is the wall clock of another host, and may be wrong: an end is never taken to be in the future,
before the grant, or in a month that is over.
"""

from __future__ import annotations

from ..accounting import meter
from ..model.entities import Instant, Lease, State
from ..model.lifecycle import LeaseState
from . import use


def billed_until_ms(state: State, lease: Lease, ended_at_ms: int | None, at: Instant) -> int | None:
    """Return when the job of a lease ended, on the clock that bills; ``None``: nothing was billed after it.

    ``ended_at_ms`` is on the wall clock; ``None`` where it is not known.
    """
    if ended_at_ms is None or lease.granted_at is None:
        return None
    from_ms, billed_ms = lease.metered_ms, at.ms
    if lease.state is not LeaseState.ACTIVE:
        if lease.last_segment is None:
            return None
        from_ms, billed_ms = lease.last_segment.from_ms, lease.metered_ms
    until_ms = max(_on_the_pools_clock(state, ended_at_ms, at), from_ms)
    return until_ms if until_ms < billed_ms else None


def _on_the_pools_clock(state: State, wall_ms: int, at: Instant) -> int:
    """Return the time at which the wall clock was at ``wall_ms``, not after ``at``.

    The clock that bills does not go on while the host is down, so that a time before the last start of the pool manager
    is counted from the newest event before it.
    """
    began, before = state.started, state.before_start
    if wall_ms >= began.wall_ms:
        return min(at.ms, max(began.ms, at.ms - (at.wall_ms - wall_ms)))
    return min(began.ms, before.ms + wall_ms - before.wall_ms)


def apply_end(state: State, lease: Lease, until_ms: int) -> None:
    """Take back what was billed after the end of the job, from the bill and from what is known of the notebook."""
    meter.shorten(state, lease, until_ms)
    use.take_back(state, lease)
