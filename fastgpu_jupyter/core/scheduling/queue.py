"""The queue of waiting requests, and which request of some classes is served first; :mod:`.rank` has the order.

The work does not grow with the number of waiting requests: the queue compares request classes and tenants. Each
priority has one list of its tenant queues, ordered by the usage that the fair share counted when the tenant was last
examined. Usage only grows while time passes, so no tenant belongs before its place in the list; the one that would be
served is examined again. A tenant whose usage has fallen is moved before the list is next used.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..accounting.fairshare import FairShareKey
from ..model.entities import Lease, Priority, Requirements
from .rank import Rank
from .request_class import RequestClass, TenantOrder, TenantQueue

#: Number of tenant queues up to which all are compared; of more, the lists by priority are followed.
FEW_TENANT_QUEUES = 64

#: Tenants by class, whose requests in that class cannot be granted now.
Refused = Mapping[RequestClass, set[str]]
_NONE_REFUSED: Refused = {}


class Candidate(NamedTuple):
    """A waiting request that may be served next."""

    rank: Rank
    lease: Lease
    request_class: RequestClass


class Queue:
    """All waiting requests, in the order in which they are served."""

    def __init__(
        self,
        usage: Callable[[str], FairShareKey],
        is_overdue: Callable[[Lease], bool],
        class_emptied: Callable[[RequestClass], None],
    ) -> None:
        """``usage``: what the fair share counts for a tenant now; ``class_emptied`` is called when a class is
        removed.
        """
        self._classes: dict[Requirements, RequestClass] = {}
        self._by_first_arrival: list[tuple[int, int, RequestClass]] = []
        self._usage = usage
        self._is_overdue = is_overdue
        self._class_emptied = class_emptied
        self._removals: list[Lease] = []  #: requests that have left and are still in the lists
        self._where: dict[str, tuple[RequestClass, TenantQueue]] = {}
        self._tenant_queues: dict[tuple[Priority, str], TenantQueue] = {}
        self._order: dict[Priority, list[TenantOrder]] = {}
        self._usage_fell: set[str] = set()  #: tenants that may belong before their place in the lists
        self._numbers = 0

    # -- requests come and go -----------------------------------------------------------------------------------------

    def add(self, lease: Lease) -> RequestClass:
        """Add a request that begins to wait, and return its class."""
        self.apply_removals()
        requirements = lease.requirements
        request_class = self._classes.get(requirements)
        if request_class is None:
            self._numbers += 1
            request_class = self._classes[requirements] = RequestClass(requirements, self._numbers)
        key = lease.request.priority, lease.tenant
        tenant_queue = self._tenant_queues.get(key)
        if tenant_queue is None:
            tenant_queue = self._tenant_queues[key] = TenantQueue(*key)
        self._numbers += 1
        entry = lease.arrival, self._numbers, lease
        self._where[lease.id] = request_class, tenant_queue
        request_class.add(entry)
        tenant_queue.add(entry, request_class)
        if not request_class.first_arrival or lease.arrival < request_class.first_arrival:
            self._note_first_arrival(request_class)
        if tenant_queue.order is None or lease.arrival < tenant_queue.order.arrival:
            self._place(tenant_queue, self._usage(tenant_queue.tenant))
        return request_class

    def remove(self, lease: Lease) -> RequestClass:
        """Remove a request that waits no longer, before the queue is next used, and return its class.

        It is done later because a caller may wait for the grant of this request.
        """
        self._removals.append(lease)
        return self._where[lease.id][0]

    def apply_removals(self) -> bool:
        """Remove the requests that have left from the lists; return whether there were any."""
        if not self._removals:
            return False
        for lease in self._removals:
            self._remove(lease)
        self._removals.clear()
        return True

    def _remove(self, lease: Lease) -> None:
        request_class, tenant_queue = self._where.pop(lease.id)
        del request_class.leases[lease.id]
        tenant_queue.remove(lease, request_class)
        if not request_class.leases:
            del self._classes[request_class.requirements]
        if not tenant_queue.leases:
            self._unplace(tenant_queue)
            del self._tenant_queues[tenant_queue.priority, tenant_queue.tenant]
        if lease is request_class.first:
            self._note_first_arrival(request_class)
        if not request_class.leases:
            self._class_emptied(request_class)

    @property
    def classes(self) -> Mapping[Requirements, RequestClass]:
        """The classes of the waiting requests."""
        self.apply_removals()
        return self._classes

    @property
    def by_first_arrival(self) -> Sequence[tuple[int, int, RequestClass]]:
        """Arrival of the request that has waited longest in a class, number of the class, and the class; in order."""
        if self._removals:
            self.apply_removals()
        return self._by_first_arrival

    def usage_decreased(self, tenant: str) -> None:
        """Note that the usage of a tenant may have fallen."""
        self._usage_fell.add(tenant)

    def tenants(self) -> set[str]:
        """Return the tenants that have waiting requests."""
        self.apply_removals()
        return {tenant_queue.tenant for tenant_queue in self._tenant_queues.values()}

    def _note_first_arrival(self, request_class: RequestClass) -> None:
        arrival = request_class.find_first().arrival if request_class.leases else 0
        if arrival != request_class.first_arrival:
            if request_class.first_arrival:
                at = bisect_left(self._by_first_arrival, (request_class.first_arrival, request_class.number))
                del self._by_first_arrival[at]
            request_class.first_arrival = arrival
            if arrival:
                insort(self._by_first_arrival, (arrival, request_class.number, request_class))

    def _place(self, tenant_queue: TenantQueue, usage: FairShareKey) -> None:
        self._unplace(tenant_queue)
        self._numbers += 1
        tenant_queue.order = TenantOrder(usage, tenant_queue.first_arrival(), self._numbers, tenant_queue)
        insort(self._order.setdefault(tenant_queue.priority, []), tenant_queue.order)

    def _unplace(self, tenant_queue: TenantQueue) -> None:
        if tenant_queue.order is not None:
            order = self._order[tenant_queue.priority]
            del order[bisect_left(order, tenant_queue.order)]
            tenant_queue.order = None

    def _ordered(self, priority: Priority) -> list[TenantOrder]:
        """Return the list of a priority, in which no tenant queue belongs before its place."""
        for tenant in self._usage_fell:
            for each in self._order:
                tenant_queue = self._tenant_queues.get((each, tenant))
                if tenant_queue is not None:
                    self._place(tenant_queue, self._usage(tenant))
        self._usage_fell.clear()
        return self._order[priority]

    # -- the order ----------------------------------------------------------------------------------------------------

    def best(
        self, among: Collection[RequestClass], skip: Collection[str] = (), refused: Refused = _NONE_REFUSED
    ) -> Candidate | None:
        """Return the request of some classes that is served first; ``None`` where there is none.

        ``skip``: tenants that are left out; ``refused``: tenants that are left out in one class.
        """
        if self._removals:
            self.apply_removals()
        overdue: Lease | None = None
        for request_class in among:
            if overdue is None or request_class.first_arrival < overdue.arrival:
                lease = request_class.first
                if (
                    self._is_overdue(lease)
                    and lease.tenant not in skip
                    and lease.tenant not in refused.get(request_class, ())
                ):
                    overdue, its_class = lease, request_class
        if overdue is not None:
            return Candidate(Rank.overdue(overdue), overdue, its_class)
        if sum(len(request_class.tenant_queues) for request_class in among) <= FEW_TENANT_QUEUES:
            return self._best_of_few(among, skip, refused)
        classes = among if isinstance(among, (set, frozenset)) else set(among)
        for priority in sorted(self._order, reverse=True):
            found = self._best_of(priority, classes, skip, refused)
            if found is not None:
                return found
        return None

    def in_order(self) -> Iterator[tuple[Rank, RequestClass]]:
        """Yield the classes in the order in which their first requests are served, with the ranks of these."""
        seen: set[RequestClass] = set()
        for lease, request_class, usage in self._heads():
            if request_class not in seen:
                seen.add(request_class)
                yield Rank.overdue(lease) if usage is None else Rank.of(lease, usage), request_class

    def heads(self) -> Iterator[tuple[Lease, RequestClass]]:
        """Yield the first request of each tenant in each class, in the order in which they are served."""
        yielded: set[str] = set()
        for lease, request_class, usage in self._heads():
            if usage is None:
                yielded.add(lease.id)
            elif lease.id in yielded:
                continue
            yield lease, request_class

    def highest_priority(self) -> Priority:
        """Return the highest priority of the waiting requests."""
        self.apply_removals()
        return max((priority for priority, order in self._order.items() if order), default=Priority.LOW)

    def _heads(self) -> Iterator[tuple[Lease, RequestClass, FairShareKey | None]]:
        """Yield what :meth:`heads` yields, with the usage of the tenant, or ``None`` for an overdue request.

        An overdue request comes twice.
        """
        overdue = []
        for _, _, request_class in self.by_first_arrival:
            if not self._is_overdue(request_class.first):
                break
            overdue.append((request_class.first, request_class, None))
        yield from overdue
        for priority in sorted(self._order, reverse=True):
            for usage, tenant_queue in self._tenants(priority):
                firsts = [(tenant_queue.first_of(one), one) for one in tenant_queue.classes]
                firsts.sort(key=_by_arrival)
                yield from ((lease, request_class, usage) for lease, request_class in firsts)

    def _best_of_few(
        self, among: Collection[RequestClass], skip: Collection[str], refused: Refused
    ) -> Candidate | None:
        best: tuple[int, FairShareKey, int] | None = None
        found: tuple[Lease, RequestClass] | None = None
        for request_class in among:
            but = refused.get(request_class, ())
            for tenant_queue in request_class.tenant_queues:
                tenant = tenant_queue.tenant
                if tenant in skip or tenant in but or (best is not None and -tenant_queue.priority > best[0]):
                    continue
                lease = tenant_queue.first_of(request_class)
                rank = -tenant_queue.priority, self._usage(tenant), lease.arrival
                if best is None or rank < best:
                    best, found = rank, (lease, request_class)
        if best is None or found is None:
            return None
        return Candidate(Rank(on_time=True, negative_priority=best[0], usage=best[1], arrival=best[2]), *found)

    def _best_of(
        self, priority: Priority, among: Collection[RequestClass], skip: Collection[str], refused: Refused
    ) -> Candidate | None:
        best: tuple[FairShareKey, int] | None = None
        found: tuple[Lease, RequestClass] | None = None
        outdated: list[tuple[TenantQueue, FairShareKey]] = []
        for usage, arrival, _, tenant_queue in self._ordered(priority):
            if best is not None and (usage, arrival) > best:
                break
            if tenant_queue.classes.keys().isdisjoint(among) or tenant_queue.tenant in skip:
                continue
            mine = tenant_queue.classes.keys() & among
            if refused:
                mine = {one for one in mine if tenant_queue.tenant not in refused.get(one, ())}
                if not mine:
                    continue
            current = max(usage, self._usage(tenant_queue.tenant))
            if current > usage:
                outdated.append((tenant_queue, current))
            if best is not None and current > best[0]:
                continue
            lease, request_class = min(((tenant_queue.first_of(one), one) for one in mine), key=_by_arrival)
            if best is None or (current, lease.arrival) < best:
                best, found = (current, lease.arrival), (lease, request_class)
        for tenant_queue, current in outdated:
            self._place(tenant_queue, current)
        return Candidate(Rank.of(found[0], best[0]), *found) if best and found else None

    def _tenants(self, priority: Priority) -> Iterator[tuple[FairShareKey, TenantQueue]]:
        """Yield the tenant queues of a priority in order, with their present usage."""
        order = self._ordered(priority)
        at = 0
        while at < len(order):
            usage, _, _, tenant_queue = order[at]
            current = self._usage(tenant_queue.tenant)
            if current > usage:
                self._place(tenant_queue, current)
                continue  # now another one is at this place
            yield usage, tenant_queue
            at += 1


def _by_arrival(head: tuple[Lease, RequestClass]) -> int:
    return head[0].arrival
