"""Those who wait for the same size, in the order in which they are served.

A line knows nothing of devices. It keeps one heap of tenants for each priority class; a tenant's place in it is what
it had used when it was last looked at. Use only grows while time passes, so an entry that looks best is looked at
anew, and put back where it is no longer best; use that fell (a lease ended) is put in as a second entry. So the best is
found in logarithmic time however many wait.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .fairshare import Standing
from .model import Lease, Priority

NOTHING = Standing(beyond=False, group=0.0, tenant=0.0)


class Rank(NamedTuple):
    """Where a ticket stands among all that wait; the smallest is served first."""

    on_time: bool  #: False for who waited too long: they go first, by arrival
    lower: int  #: the negative priority class
    standing: Standing  #: what the tenant has had
    arrival: int

    @classmethod
    def of(cls, lease: Lease, standing: Standing) -> Rank:
        """The rank of one that has not waited too long."""
        return cls(on_time=True, lower=-lease.request.priority, standing=standing, arrival=lease.arrival)

    @classmethod
    def overdue(cls, lease: Lease) -> Rank:
        """The rank of one that has."""
        return cls(on_time=False, lower=0, standing=NOTHING, arrival=lease.arrival)


class Line:
    """Tickets for one size."""

    def __init__(self, key: Callable[[str], Standing], overdue: Callable[[Lease], bool]) -> None:
        self._key = key
        self._overdue = overdue
        self._tickets: dict[str, Lease] = {}
        self._by_arrival: deque[Lease] = deque()
        self._tenants: dict[tuple[Priority, str], deque[Lease]] = {}
        self._heaps: dict[Priority, list[tuple[Standing, int, str]]] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, lease: Lease) -> None:
        """``lease`` begins to wait, or comes from another line and keeps its place by arrival."""
        if self._by_arrival and self._by_arrival[-1].arrival >= lease.arrival:
            self._forget(lease)  # it may have left this line from the middle, for another tenant's name say
        self._tickets[lease.id] = lease
        _insert(self._by_arrival, lease)
        mine = self._tenants.setdefault((lease.request.priority, lease.tenant), deque())
        _insert(mine, lease)
        if mine[0] is lease:
            self._push(lease.request.priority, lease.tenant, mine)

    def remove(self, lease: Lease) -> None:
        """``lease`` waits no longer, for whatever reason."""
        del self._tickets[lease.id]
        place = (lease.request.priority, lease.tenant)
        mine = self._tenants[place]
        if mine[0] is lease:
            self._drop_gone(mine)
            if mine:
                self._push(*place, mine)
        if not mine:
            del self._tenants[place]
        self._drop_gone(self._by_arrival)

    def refresh(self, tenant: str) -> None:
        """What ``tenant`` has used fell."""
        for priority in self._heaps:
            mine = self._tenants.get((priority, tenant))
            if mine:
                self._push(priority, tenant, mine)

    def best(self, skip: frozenset[str] | set[str]) -> tuple[Rank, Lease] | None:
        """Who is served first, tenants in ``skip`` left out; ``None`` where nobody is."""
        first = self._by_arrival[0] if self._by_arrival else None
        if first is not None and first.tenant not in skip and self._overdue(first):
            return Rank.overdue(first), first
        for priority in sorted(self._heaps, reverse=True):
            found = self._best_of(priority, skip)
            if found is not None:
                standing, lease = found
                return Rank.of(lease, standing), lease
        return None

    def highest(self) -> Priority:
        """The highest priority class in it."""
        return max(priority for priority, _ in self._tenants)

    def first(self, count: int) -> list[tuple[Rank, Lease]]:
        """The first ticket of each of the first tenants, in the order in which they are served."""
        found: list[tuple[Rank, Lease]] = []
        for priority in sorted(self._heaps, reverse=True):
            aside = []
            while len(found) < count and (entry := self._pop_best(priority)) is not None:
                aside.append(entry)
                lease = self._tenants[priority, entry[2]][0]
                found.append((Rank.overdue(lease) if self._overdue(lease) else Rank.of(lease, entry[0]), lease))
            for entry in aside:
                heapq.heappush(self._heaps[priority], entry)
        return sorted(found)

    def _best_of(self, priority: Priority, skip: frozenset[str] | set[str]) -> tuple[Standing, Lease] | None:
        aside = []
        found: tuple[Standing, Lease] | None = None
        while found is None and (entry := self._pop_best(priority)) is not None:
            aside.append(entry)
            if entry[2] not in skip:
                found = entry[0], self._tenants[priority, entry[2]][0]
        for entry in aside:
            heapq.heappush(self._heaps[priority], entry)
        return found

    def _pop_best(self, priority: Priority) -> tuple[Standing, int, str] | None:
        """Take the entry of the tenant that stands first off the heap."""
        heap = self._heaps[priority]
        while heap:
            standing, arrival, tenant = heap[0]
            mine = self._tenants.get((priority, tenant))
            if mine is None or mine[0].arrival != arrival:
                heapq.heappop(heap)  # a newer entry speaks for this tenant, or it left
                continue
            current = self._key(tenant)
            if current > standing:
                heapq.heapreplace(heap, (current, arrival, tenant))
                continue
            return heapq.heappop(heap)
        return None

    def _push(self, priority: Priority, tenant: str, mine: deque[Lease]) -> None:
        self._drop_gone(mine)
        heapq.heappush(self._heaps.setdefault(priority, []), (self._key(tenant), mine[0].arrival, tenant))

    def _forget(self, lease: Lease) -> None:
        for waiting in (self._by_arrival, *self._tenants.values()):
            kept = [other for other in waiting if other is not lease]
            if len(kept) < len(waiting):
                waiting.clear()
                waiting.extend(kept)

    def _drop_gone(self, waiting: deque[Lease]) -> None:
        # One that left from the middle is dropped when it comes to the front.
        while waiting and waiting[0].id not in self._tickets:
            waiting.popleft()


def _insert(waiting: deque[Lease], lease: Lease) -> None:
    if not waiting or waiting[-1].arrival < lease.arrival:
        waiting.append(lease)  # nearly always
        return
    position = next(index for index, other in enumerate(waiting) if other.arrival > lease.arrival)
    waiting.insert(position, lease)
