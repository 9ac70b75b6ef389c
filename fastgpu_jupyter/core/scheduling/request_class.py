"""Waiting requests, grouped in two ways: by what they require, and by tenant and priority.

Requests with equal requirements form a :class:`RequestClass`, because whatever serves one of them serves any of them.
The requests of one tenant with one priority form a :class:`TenantQueue`, because the fair share orders tenants. Both
keep their requests in order of arrival; a request that no longer waits is removed when it comes to the front.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from ..accounting.fairshare import FairShareKey
from ..model.entities import Lease, Priority, Requirements
from ..placement.demand import Demand
from ..placement.host_filter import HostFilter

#: Arrival, a number that tells apart the entries of a request that waits again, and the request.
Entry = tuple[int, int, Lease]


class RequestClass:
    """The waiting requests with equal requirements, and what the scheduler knows of these requirements."""

    __slots__ = (
        "_by_arrival",
        "demand",
        "first",
        "first_arrival",
        "host_filter",
        "last_change",
        "leases",
        "number",
        "requirements",
        "tenant_queues",
    )

    first: Lease  #: the request that has waited longest
    demand: Demand | None  #: on the capacity index; ``None`` where no device can serve
    host_filter: HostFilter  #: for a fast look at a host

    def __init__(self, requirements: Requirements, number: int) -> None:
        self.requirements = requirements
        self.number = number  #: classes are numbered in order of creation
        self.leases: dict[str, Lease] = {}
        self.tenant_queues: dict[TenantQueue, list[Entry]] = {}
        self.first_arrival = 0  #: arrival of :attr:`first`, or 0
        self.last_change = 0  #: the number of grants in the pool when a request last left the class
        self._by_arrival: deque[Entry] = deque()

    def find_first(self) -> Lease:
        """Set and return the request that has waited longest."""
        self.first = _first_waiting(self._by_arrival, self.leases)
        return self.first

    def add(self, entry: Entry) -> None:
        """Add a waiting request."""
        self.leases[entry[2].id] = entry[2]
        _insert(self._by_arrival, entry)


class TenantQueue:
    """The waiting requests of one tenant with one priority."""

    __slots__ = ("_by_arrival", "classes", "leases", "order", "priority", "tenant")

    def __init__(self, priority: Priority, tenant: str) -> None:
        self.priority, self.tenant = priority, tenant
        self.leases: dict[str, Lease] = {}
        self.classes: dict[RequestClass, int] = {}  #: number of requests in each class
        self.order: TenantOrder | None = None  #: its entry in the list of its priority
        self._by_arrival: deque[Entry] = deque()

    def first_arrival(self) -> int:
        """Return the arrival of the request that has waited longest."""
        return _first_waiting(self._by_arrival, self.leases).arrival

    def first_of(self, request_class: RequestClass) -> Lease:
        """Return the request of that class that has waited longest."""
        heap = request_class.tenant_queues[self]
        while True:
            arrival, _, lease = heap[0]
            if lease.arrival == arrival and lease.id in self.leases and lease.id in request_class.leases:
                return lease
            heapq.heappop(heap)

    def add(self, entry: Entry, request_class: RequestClass) -> None:
        """Add a waiting request of that class."""
        self.leases[entry[2].id] = entry[2]
        _insert(self._by_arrival, entry)
        self.classes[request_class] = self.classes.get(request_class, 0) + 1
        heapq.heappush(request_class.tenant_queues.setdefault(self, []), entry)

    def remove(self, lease: Lease, request_class: RequestClass) -> None:
        """Remove a request that waits no longer."""
        del self.leases[lease.id]
        self.classes[request_class] -= 1
        if not self.classes[request_class]:
            del self.classes[request_class], request_class.tenant_queues[self]


class TenantOrder(NamedTuple):
    """The place of a tenant queue among those of its priority; the smallest is served first."""

    usage: FairShareKey  #: a lower bound of what the fair share counts now
    arrival: int  #: a lower bound of its first arrival
    number: int
    tenant_queue: TenantQueue


def _insert(entries: deque[Entry], entry: Entry) -> None:
    """Insert by arrival, which is nearly always at the end."""
    if not entries or entries[-1] < entry:
        entries.append(entry)
    else:
        entries.insert(bisect_left(entries, entry), entry)


def _first_waiting(entries: deque[Entry], waiting: Mapping[str, Lease]) -> Lease:
    """Return the first request that still waits, and drop the entries before it."""
    while True:
        arrival, _, lease = entries[0]
        if lease.arrival == arrival and lease.id in waiting:
            return lease
        entries.popleft()
