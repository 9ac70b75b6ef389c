"""What follows from comparing leases with the jobs of the engine; without side effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...core.model import commands as c
from ...core.model.lifecycle import LeaseState
from .board import Watched
from .engine import Ended, Infeasible, Queued, Running, Status

#: A change of the time that a job has left is recorded from so much on.
TIME_CHANGE_MS = 30_000


def command_of(lease: Watched, status: Status) -> c.Command | None:
    """Return the command that reports ``status`` of the job of a lease, ``None`` where the lease stays as it is."""
    lease_id, name = lease.lease_id, lease.job.name
    match status:
        case Ended(reason, at_ms):
            return c.ClusterJobEnded(lease_id, name, reason, at_ms)
        case Infeasible(reason) if lease.state is LeaseState.WAITING:
            return c.ClusterJobRefused(lease_id, name, reason)
        case Running(ends_at_ms=ends_at_ms) if lease.state is LeaseState.ACTIVE:
            return c.ClusterTimeSet(lease_id, name, ends_at_ms) if _differs(lease.ends_at_ms, ends_at_ms) else None
        case Queued() | Infeasible() | Running():
            return None


def is_requeued(lease: Watched, status: Status) -> bool:
    """Return whether the engine took the allocation of a lease back, and put its job into the queue again."""
    return lease.state is LeaseState.ACTIVE and isinstance(status, Queued | Infeasible)


def _differs(before_ms: int | None, now_ms: int | None) -> bool:
    if before_ms is None or now_ms is None:
        return before_ms is not now_ms
    return abs(now_ms - before_ms) > TIME_CHANGE_MS


def without_lease(listed: Mapping[str, str], leases: Iterable[Watched]) -> dict[str, str]:
    """Return the jobs of ``listed`` (ids by name) that serve no lease, by name: none must be left in the engine.

    A job whose name is a lease's and whose id is another one is such a job, too.
    """
    ids = {lease.job.name: lease.job.job_id for lease in leases}
    return {name: job for name, job in listed.items() if name not in ids or ids[name] not in (None, job)}
