"""Which lease is expected to make room for the first request of the queue, and when."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ..model.entities import Lease, PendingReason, Retention, State
from ..model.lifecycle import RELEASING_CAPACITY, LeaseState
from ..placement import eligibility, idleness, parkability
from .queue_report import QueueEntry

#: In a pool with more devices no single lease is the one that a request waits for.
DEVICES_MAX = 64


class YieldState(StrEnum):
    """What keeps a lease from making room; the first that applies, in this order."""

    BEING_FREED = "being_freed"  #: nothing: it is giving its devices back
    IDLE = "idle"  #: no cell runs
    BUSY = "busy"  #: a cell runs
    STARTING = "starting"  #: it is being prepared or resumed, or its process has not reported yet
    NOT_PARKABLE = "not_parkable"  #: no cell runs, and it cannot be parked, or the policy never parks such leases
    PINNED = "pinned"  #: its user wants it to keep its devices


_ORDER = {state: number for number, state in enumerate(YieldState)}


class NextToYield(NamedTuple):
    """A lease that holds what the first request of the queue waits for."""

    lease: Lease
    state: YieldState
    at_ms: int | None = None  #: when it is parked if nothing changes, in the pool's time; ``None``: not known


def find_next_to_yield(state: State, waiting: Lease, entry: QueueEntry) -> NextToYield | None:
    """Return the lease that is expected to make room for a request; ``None`` where that is no single one.

    That is so for requests behind the first one, and for those that do not wait for devices in use.
    """
    if entry.position != 1 or entry.reason is not PendingReason.CAPACITY:
        return None
    if len(state.devices) > DEVICES_MAX:
        return None
    devices = eligibility.eligible_devices(state, waiting.requirements)
    lease_ids = dict.fromkeys(lease_id for device in devices for lease_id in device.lease_ids)
    found = [_next_to_yield(state, state.leases[lease_id], waiting) for lease_id in lease_ids]
    return min(found, key=_soonest_first, default=None)


def _next_to_yield(state: State, lease: Lease, waiting: Lease) -> NextToYield:
    if lease.state in RELEASING_CAPACITY:
        return NextToYield(lease, YieldState.BEING_FREED)
    if lease.request.retention is Retention.HOLD:
        return NextToYield(lease, YieldState.PINNED)
    if lease.state is not LeaseState.ACTIVE or lease.busy is None:
        return NextToYield(lease, YieldState.STARTING)
    if lease.busy:
        return NextToYield(lease, YieldState.BUSY)
    at_ms = idleness.idle_at_ms(state, lease)
    if at_ms is None or parkability.park_refusal(state, lease) is not None:
        return NextToYield(lease, YieldState.NOT_PARKABLE)
    if lease.tenant == waiting.tenant and idleness.takes_resting(waiting):
        at_ms = lease.park_retry_ms
    return NextToYield(lease, YieldState.IDLE, at_ms)


def _soonest_first(one: NextToYield) -> tuple[int, int, int, str]:
    return _ORDER[one.state], one.at_ms or 0, one.lease.last_activity_ms, one.lease.id
