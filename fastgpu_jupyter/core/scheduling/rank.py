"""The order in which waiting requests are served.

Overdue requests are served first, in order of arrival. The others are served by priority class, then by the fair share
of their tenants (:mod:`..accounting.fairshare`), then by arrival.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..accounting.fairshare import FairShareKey
from ..model.entities import AGING_GRANTS, AGING_GRANTS_EACH, Lease, State

#: The fair-share key of a tenant that has used nothing.
NO_USAGE = FairShareKey(beyond=False, group=0.0, tenant=0.0)


class Rank(NamedTuple):
    """The position of a waiting request among all; the smallest is served first."""

    on_time: bool  #: False for an overdue request
    negative_priority: int
    usage: FairShareKey  #: of the tenant, as the fair share counts it
    arrival: int

    @classmethod
    def of(cls, lease: Lease, usage: FairShareKey) -> Rank:
        """Return the rank of a request that is not overdue."""
        return cls(on_time=True, negative_priority=-lease.request.priority, usage=usage, arrival=lease.arrival)

    @classmethod
    def overdue(cls, lease: Lease) -> Rank:
        """Return the rank of an overdue request."""
        return cls(on_time=False, negative_priority=0, usage=NO_USAGE, arrival=lease.arrival)


#: A rank behind that of every request.
LAST = Rank(
    on_time=True, negative_priority=1, usage=FairShareKey(beyond=True, group=math.inf, tenant=math.inf), arrival=0
)


def aging_grants(state: State) -> int:
    """Return the number of grants to others after which a waiting request is overdue."""
    if state.policy.quantum_ms is None:
        return AGING_GRANTS
    return max(AGING_GRANTS, AGING_GRANTS_EACH * len(state.queue))


def is_overdue(state: State, lease: Lease, grants: int) -> bool:
    """Return whether a waiting request has seen that many grants to others; see :func:`aging_grants`."""
    return state.generations - lease.grants_before >= grants
