"""The whole state of a pool. :func:`core.apply.apply` changes it, its devices and its leases, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .device import Device, Host
from .idle import ONLY_NOTIFY, IdlePolicy
from .lease import Lease
from .tenant import EPOCH, NO_MONTH, Instant, Month, Reservation, Tenant
from .use import NotebookUse

#: How many requests are remembered as the usual ones; at that many, the older half is forgotten.
RECENT_REQUESTS_MAX = 2048


class OverLimit(StrEnum):
    """What happens to a lease that goes on to use more device memory than it has."""

    WARN = "warn"  #: its user gets a message
    PARK = "park"  #: the same, and it is parked where possible
    REVOKE = "revoke"  #: the same, and it is ended where it cannot be parked or parking did not help


@dataclass(frozen=True, slots=True)
class Policy:
    """When the pool parks leases of its own accord; a time that is ``None`` means never."""

    idle_ms: int | None = 5000  #: a lease without a running cell for so long may be parked for a waiting request
    quantum_ms: int | None = None  #: a lease that computes for so long may be, for a tenant that was served less
    parked_bytes_max: int | None = None  #: host memory that parked leases may take in all
    defragments: bool = False  #: whether leases are moved so that a waiting request fits
    over_limit: OverLimit = OverLimit.PARK
    over_limit_grace_ms: int = 30_000  #: the time from the message to parking, and from there to the end
    idle_policy: IdlePolicy = ONLY_NOTIFY  #: what happens to leases that nothing uses, whether requests wait or not
    ahead_ms: int | None = None  #: a lease idle for so long may be parked ahead, so that a parked one resumes at once


@dataclass(slots=True)
class State:
    """Everything that must survive the pool manager."""

    hosts: dict[str, Host] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  #: those that ended are forgotten after a while
    queue: dict[str, None] = field(default_factory=dict)  #: ids of waiting leases in order of arrival
    #: Ids of waiting leases that an engine is to serve, in order of arrival; they are not in ``queue``.
    cluster_waiting: dict[str, None] = field(default_factory=dict)
    orphaned: dict[str, None] = field(default_factory=dict)  #: ids of leases that are kept without a holder
    tenants: dict[str, Tenant] = field(default_factory=dict)
    groups: dict[str, Tenant] = field(default_factory=dict)
    cpu_milli: int = 0  #: of all hosts
    memory_bytes: int = 0  #: of all hosts
    policy: Policy = Policy()
    parked_bytes: int = 0  #: sum over the leases
    served: float = 0.0  #: service of the tenant of the last grant, at that time: the virtual time of turns
    contended_ms: int = 0  #: how long any request waited, in all
    contended_since_ms: int | None = None  #: set exactly while any request waits
    reservations: dict[str, Reservation] = field(default_factory=dict)  #: those that ended are forgotten after a while
    month: Month = NO_MONTH  #: the current one for billing
    #: Recent requests, the newest last: size, processors, host memory. :data:`RECENT_REQUESTS_MAX` at most.
    recent_requests: list[tuple[str, int, int]] = field(default_factory=list)
    ended: dict[str, None] = field(default_factory=dict)  #: ids of leases that ended, in that order
    expiring: dict[str, int] = field(default_factory=dict)  #: when requests with a longest wait expire, by lease, ms
    deferred: dict[str, None] = field(default_factory=dict)  #: ids of leases whose larger size waits for room
    budgeted: dict[str, None] = field(default_factory=dict)  #: ids of leases that have a budget and are not over
    idling: dict[str, None] = field(
        default_factory=dict
    )  #: ids of leases that hold or parked a device, known to be idle
    suspect: dict[str, None] = field(default_factory=dict)  #: ids of suspect devices: leases may migrate from them
    usage_epoch_ms: int = 0  #: the instant to which all tenants' decayed usage is scaled
    boot_id: str = ""
    clock_epoch_ms: int = 0  #: boot clock minus ``Instant.ms``
    last: Instant = EPOCH  #: of the newest event
    started: Instant = EPOCH  #: when the pool manager was started last
    before_start: Instant = EPOCH  #: of the newest event before
    changes: dict[str, int] = field(default_factory=dict)  #: by tenant, those of ``changes_day``
    changes_day: int = 0  #: number of the day (UTC)
    notebooks: dict[str, dict[str, NotebookUse]] = field(default_factory=dict)  #: by tenant and notebook, newest last
    arrivals: int = 0
    generations: int = 0
