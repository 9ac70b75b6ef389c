"""When leases without a running cell yield their devices, and which requests need a device now.

A kernel reports at its start that it is idle, and later when cells begin and end. A lease whose kernel has not reported
is never idle, because nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model.entities import Lease, Retention, State
from ..model.lifecycle import LeaseState


def is_resting(state: State, lease: Lease) -> bool:
    """Return whether no cell of an active lease runs, and the policy lets such leases yield."""
    return lease.busy is False and lease.state is LeaseState.ACTIVE and state.policy.idle_ms is not None


def idle_at_ms(state: State, lease: Lease) -> int | None:
    """Return the time from which a lease yields to any request if no cell begins; ``None`` where that is unknown.

    To a request of its own tenant that needs a device now, it yields at once. After an attempt to park it that failed,
    it yields to none for a while.
    """
    idle_ms = state.policy.idle_ms
    if idle_ms is None or not is_resting(state, lease):
        return None
    return max(lease.last_activity_ms + idle_ms, lease.park_retry_ms)


def takes_resting(lease: Lease) -> bool:
    """Return whether a request takes devices of its own tenant as soon as no cell runs there.

    A job waits until they are idle: its user may run the next cell soon.
    """
    return needs_now(lease) and lease.request.job is None


def yields_to(state: State, lease: Lease, tenant: str, now_ms: int) -> bool:
    """Return whether a lease yields now to a request of a tenant that needs its device now."""
    at_ms = idle_at_ms(state, lease)
    return at_ms is not None and (now_ms >= at_ms or lease.tenant == tenant)


def needs_now(lease: Lease) -> bool:
    """Return whether a request needs its device now: a cell waits, its user resumes it, or its process never says."""
    if lease.busy is None and lease.granted_at is None:
        return not _will_report(lease)  # a kernel that starts may have no cell to run for hours
    return lease.busy is not False or lease.granted_at is not None


def _will_report(lease: Lease) -> bool:
    """Return whether the request is of a kernel with a gate, which reports as soon as it has started."""
    return lease.request.kernel_id is not None and lease.request.parkable is not False


def tenants_in_need(state: State) -> set[str]:
    """Return the tenants that have a waiting request for which their resting leases yield at once."""
    return {lease.tenant for lease in map(state.leases.__getitem__, state.queue) if takes_resting(lease)}


def next_idle_ms(state: State, lease_ids: Iterable[str], after_ms: int) -> int | None:
    """Return the next time after ``after_ms`` at which one of some leases begins to yield to any request."""
    known = (lease for lease_id in lease_ids if (lease := state.leases.get(lease_id)) is not None)
    yielding = (lease for lease in known if lease.request.retention is Retention.YIELD)
    times = (idle_at_ms(state, lease) for lease in yielding)
    return min((at_ms for at_ms in times if at_ms is not None and at_ms > after_ms), default=None)
