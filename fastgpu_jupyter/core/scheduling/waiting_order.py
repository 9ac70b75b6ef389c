"""The order of all waiting requests, kept up to date lease by lease, for the positions that users see.

Each request is ranked as if the earlier ones of its tenant had been granted. The scheduler needs no such order: it
decides on the next grant only. The position of one request is computed from sorted lists, without ranking the others,
so that its cost hardly grows with the number of waiting requests. It grows with the number of tenants that wait.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, repeat
from typing import NamedTuple

from ..accounting import fairshare
from ..accounting.fairshare import FairShareKey, FairShareLine
from ..model.entities import Lease, Requirements, State
from ..placement import eligibility
from .rank import aging_grants


class _Request(NamedTuple):
    """A waiting request among those of its tenant, which are served in this order."""

    negative_priority: int
    arrival: int
    lease_id: str
    milli: int  #: thousandths of devices that it takes at least
    grants_before: int


class _OnTime(NamedTuple):
    """The requests of one tenant with one priority that are not overdue, in order of arrival."""

    lease_ids: list[str]
    arrivals: list[int]
    before_milli: list[int]  #: what the tenant's earlier requests take


class _TenantRequests:
    """The waiting requests of one tenant, in the order in which they are served."""

    __slots__ = ("_on_time", "overdue", "requests")

    def __init__(self) -> None:
        self.requests: list[_Request] = []
        self.overdue: set[str] = set()
        self._on_time: dict[int, _OnTime] | None = None

    def add(self, request: _Request) -> None:
        insort(self.requests, request)
        self._on_time = None

    def remove(self, request: _Request) -> None:
        del self.requests[bisect_left(self.requests, request)]
        self._on_time = None

    def set_overdue(self, lease_id: str, *, overdue: bool) -> None:
        (self.overdue.add if overdue else self.overdue.discard)(lease_id)
        self._on_time = None

    @property
    def on_time(self) -> dict[int, _OnTime]:
        """The requests that are not overdue, by negative priority."""
        if self._on_time is None:
            self._on_time = {}
            before = accumulate((request.milli for request in self.requests), initial=0)
            for request, before_milli in zip(self.requests, before, strict=False):
                if request.lease_id not in self.overdue:
                    found = self._on_time.get(request.negative_priority)
                    if found is None:
                        found = self._on_time[request.negative_priority] = _OnTime([], [], [])
                    found.lease_ids.append(request.lease_id)
                    found.arrivals.append(request.arrival)
                    found.before_milli.append(before_milli)
        return self._on_time


class WaitingOrder:
    """The order of the waiting requests of ``state``; :meth:`update` follows a change of it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rebuild()

    def _rebuild(self) -> None:
        self._nominal_milli: dict[Requirements, int] = {}
        self._lines: dict[str, FairShareLine] = {}  #: by tenant, at this instant
        self._requests: dict[str, tuple[str, _Request]] = {}  #: by lease: its tenant and its request
        self._tenants: dict[str, _TenantRequests] = {}
        #: The number of requests by negative priority.
        self._on_time_count: Counter[int] = Counter()
        self._overdue_count: Counter[int] = Counter()
        #: All requests by age: grants before, arrival, lease. The first ones are overdue.
        self._by_age: list[tuple[int, int, str]] = []
        #: The overdue requests in the order in which they are served: arrival, lease, negative priority.
        self._overdue: list[tuple[int, str, int]] = []
        for lease_id in self._state.queue:
            self._add(self._state.leases[lease_id])
        self._update_overdue()

    def update(self, lease_ids: Iterable[str], *, devices_changed: bool) -> None:
        """Follow a change of these leases, of any tenants, and of any devices if ``devices_changed``."""
        self._lines.clear()
        if devices_changed:
            self._rebuild()  # a request may take another part of other devices
            return
        for lease_id in lease_ids:
            self._remove(lease_id)
            if lease_id in self._state.queue:
                self._add(self._state.leases[lease_id])
        self._update_overdue()

    def nominal_milli(self, requirements: Requirements) -> int:
        """Return the thousandths of devices that a waiting request takes at least."""
        milli = self._nominal_milli.get(requirements)
        if milli is None:
            milli = self._nominal_milli[requirements] = eligibility.nominal_milli(self._state, requirements)
        return milli

    def is_behind_higher_priority(self, lease: Lease) -> bool:
        """Return whether a request with a higher priority is served before a lease, which waits or would do so."""
        mine, overdue = -lease.request.priority, lease.id in self._requests and self._is_overdue(lease.id)
        if any(count and priority < mine for priority, count in self._overdue_count.items()):
            before = self._overdue if not overdue else self._overdue[: self._overdue_place(lease)]
            if any(priority < mine for _, _, priority in before):
                return True
        if overdue:
            return False
        return any(count and priority < mine for priority, count in self._on_time_count.items())

    def position(self, lease: Lease) -> int:
        """Return the position of a waiting lease, from 1 on."""
        if self._is_overdue(lease.id):
            return self._overdue_place(lease) + 1
        tenant, request = self._requests[lease.id]
        own = self._tenants[tenant].on_time[request.negative_priority]
        index = bisect_left(own.arrivals, request.arrival)
        return self._position(tenant, request.negative_priority, index, own.before_milli[index], request.arrival)

    def position_at_end(self, lease: Lease) -> int:
        """Return the position that a lease which does not wait would have, if it began to wait now."""
        mine, known = -lease.request.priority, self._tenants.get(lease.tenant)
        earlier = [one for one in known.requests if one.negative_priority <= mine] if known else []
        own = known.on_time.get(mine) if known else None
        index = len(own.arrivals) if own else 0
        before_milli = sum(one.milli for one in earlier)
        return self._position(lease.tenant, mine, index, before_milli, self._state.arrivals + 1)

    def _position(self, tenant: str, mine: int, index: int, before_milli: int, arrival: int) -> int:
        """Return the position of the ``index``-th request of a tenant with the negative priority ``mine``."""
        ahead = len(self._overdue) + sum(count for priority, count in self._on_time_count.items() if priority < mine)
        rank = self._line(tenant).key(before_milli), arrival
        for name, requests in self._tenants.items():
            others = requests.on_time.get(mine)
            if others is not None:
                ahead += index if name == tenant else self._count_before(self._line(name), others, rank)
        return ahead + 1

    def in_order(self) -> list[str]:
        """Return the ids of all waiting leases in the order in which they would be served now."""
        ranked: list[tuple[int, FairShareKey, int, str]] = []
        for tenant, requests in self._tenants.items():
            line = self._line(tenant)
            for priority, found in requests.on_time.items():
                keys = map(line.key, found.before_milli)
                ranked += zip(repeat(priority), keys, found.arrivals, found.lease_ids, strict=False)
        ranked.sort()
        return [*(lease_id for _, lease_id, _ in self._overdue), *(row[3] for row in ranked)]

    @staticmethod
    def _count_before(line: FairShareLine, found: _OnTime, rank: tuple[FairShareKey, int]) -> int:
        """Return how many of a tenant's requests come before ``rank``."""
        if (line.key(found.before_milli[0]), found.arrivals[0]) >= rank:
            return 0

        def rank_of(index: int) -> tuple[FairShareKey, int]:
            return line.key(found.before_milli[index]), found.arrivals[index]

        return bisect_left(range(len(found.arrivals)), rank, key=rank_of)

    def _line(self, tenant: str) -> FairShareLine:
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = fairshare.fair_share_line(self._state, tenant, self._state.last.ms)
        return line

    # -- requests come, go and become overdue -------------------------------------------------------------------------

    def _add(self, lease: Lease) -> None:
        milli = self.nominal_milli(lease.requirements)
        request = _Request(-lease.request.priority, lease.arrival, lease.id, milli, lease.grants_before)
        self._requests[lease.id] = lease.tenant, request
        self._tenants.setdefault(lease.tenant, _TenantRequests()).add(request)
        self._on_time_count[request.negative_priority] += 1
        place = self._place_by_age(request)
        self._by_age.insert(place, (request.grants_before, request.arrival, request.lease_id))
        if place < len(self._overdue):
            self._set_overdue(request.lease_id)

    def _remove(self, lease_id: str) -> None:
        if lease_id not in self._requests:
            return
        tenant, request = self._requests[lease_id]
        if self._is_overdue(lease_id):
            self._set_on_time(lease_id)
        self._on_time_count[request.negative_priority] -= 1
        del self._by_age[self._place_by_age(request)]
        del self._requests[lease_id]
        requests = self._tenants[tenant]
        requests.remove(request)
        if not requests.requests:
            del self._tenants[tenant]

    def _update_overdue(self) -> None:
        """Follow the number of grants, and the number of grants after which a request is overdue."""
        last = self._state.generations - aging_grants(self._state)
        count, known = bisect_right(self._by_age, last, key=lambda entry: entry[0]), len(self._overdue)
        for _, _, lease_id in self._by_age[known:count]:
            self._set_overdue(lease_id)
        for _, _, lease_id in self._by_age[count:known]:
            self._set_on_time(lease_id)

    def _place_by_age(self, request: _Request) -> int:
        return bisect_left(self._by_age, (request.grants_before, request.arrival, request.lease_id))

    def _is_overdue(self, lease_id: str) -> bool:
        tenant, _ = self._requests[lease_id]
        return lease_id in self._tenants[tenant].overdue

    def _overdue_place(self, lease: Lease) -> int:
        return bisect_left(self._overdue, (lease.arrival, lease.id, -lease.request.priority))

    def _set_overdue(self, lease_id: str) -> None:
        tenant, request = self._requests[lease_id]
        self._tenants[tenant].set_overdue(lease_id, overdue=True)
        insort(self._overdue, (request.arrival, lease_id, request.negative_priority))
        self._on_time_count[request.negative_priority] -= 1
        self._overdue_count[request.negative_priority] += 1

    def _set_on_time(self, lease_id: str) -> None:
        tenant, request = self._requests[lease_id]
        self._tenants[tenant].set_overdue(lease_id, overdue=False)
        del self._overdue[bisect_left(self._overdue, (request.arrival, lease_id, request.negative_priority))]
        self._on_time_count[request.negative_priority] += 1
        self._overdue_count[request.negative_priority] -= 1
