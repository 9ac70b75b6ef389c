"""Tenants, their quotas, budgets and reservations, and the times by which money is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

#: The weight of a tenant for which none was set.
WEIGHT_DEFAULT = 100


class Instant(NamedTuple):
    """A moment on two clocks: ``ms`` never jumps, orders and bills; ``wall_ms`` is only shown."""

    ms: int
    wall_ms: int


#: The start of a pool's clock.
EPOCH = Instant(0, 0)


class Month(NamedTuple):
    """A month (UTC) on the wall clock."""

    number: int  #: 12 times the year, plus 0 for January
    begins_wall_ms: int
    ends_wall_ms: int  #: the first millisecond of the next one


#: The month before the first event.
NO_MONTH = Month(0, 0, 0)


class BudgetPolicy(StrEnum):
    """What happens once a tenant has spent its budget of a month."""

    WARN = "warn"  #: its users get a message
    STOP = "stop"  #: nothing more is granted to it
    PARK = "park"  #: the same, and its leases are parked where possible


class Plan(StrEnum):
    """For how long capacity is reserved."""

    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Capacity that is reserved for a tenant, and paid for whether it is used or not."""

    id: str
    tenant: str
    milli: int  #: thousandths of devices
    model: str | None  #: of such devices, as in a request; ``None``: of any
    plan: Plan
    rate_micro_per_hour: int  #: at its discount, fixed when it was made
    start_wall_ms: int
    end_wall_ms: int
    began_wall_ms: int | None = None  #: it is paid for from here
    ended: bool = False

    @property
    def runs(self) -> bool:
        """Whether it reserves capacity now."""
        return self.began_wall_ms is not None and not self.ended


@dataclass(slots=True)
class Tenant:
    """What a tenant, or a group of tenants, may have, holds and has used; made when it is first mentioned."""

    weight: int = WEIGHT_DEFAULT
    group: str | None = None
    name: str | None = None  #: of its user when it last requested a lease; only shown
    guaranteed_milli: int = (
        0  #: thousandths of devices that it gets before tenants above their guarantee, and from them
    )
    limit_milli: int | None = None  #: thousandths of devices that it may hold at once; ``None``: no limit
    held_milli: int = 0  #: thousandths of devices that it holds
    held_cpu_milli: int = 0
    held_memory_bytes: int = 0
    share_milli: int = 0  #: its dominant share, as thousandths of devices
    used: float = 0.0  #: decayed usage, see :mod:`core.accounting.fairshare`
    used_until_ms: int = 0
    served: float = 0.0  #: service received per weight, for turns; see :mod:`core.accounting.fairshare`
    served_until_ms: int = 0  #: of the time in which any request waited
    waiting: int = 0  #: requests in the queue
    leases: int = 0  #: of its own that have not ended; a group's are not counted
    reserved_milli: int = 0  #: thousandths of devices that its reservations hold now
    budget_micro: int | None = None  #: what it may spend in a month; ``None``: no budget
    budget_policy: BudgetPolicy = BudgetPolicy.WARN
    budget_percent: int = 0  #: the last threshold of its budget that it passed this month
    active: dict[str, None] = field(default_factory=dict)  #: its leases with an open usage segment
    billed_micro_per_hour: int = 0  #: what those cost together, by use
    spent: dict[int, int] = field(default_factory=dict)  #: by month, by use, in micro-units x ms per hour
    spent_until_ms: int = 0
