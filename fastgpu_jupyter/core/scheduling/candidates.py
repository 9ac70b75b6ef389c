"""The waiting requests that may be placeable now: which classes are tried, and on which hosts.

A request class is tried on every host when it is new, or when it may have gained a right that it did not have. After
that it is tried only on hosts that have gained room since (:mod:`.dirty_hosts`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import reduce

from ..model.entities import Lease
from ..placement.demand import Exclusion, Placement
from ..placement.placer import Placer
from .backfill import BackfillReservations
from .dirty_hosts import ClassesBySize, DirtyHost, DirtyHosts, that_may_fit
from .queue import Candidate, Queue
from .rank import Rank
from .request_class import RequestClass

#: Number of classes up to which all are compared; of more, overdue requests are looked for first.
FEW_CLASSES = 24


class Candidates:
    """The request classes to try, the hosts to try them on, and the tenants that are left out."""

    def __init__(
        self, queue: Queue, placer: Placer, reservations: BackfillReservations, is_overdue: Callable[[Lease], bool]
    ) -> None:
        self._queue = queue
        self._placer = placer
        self._reservations = reservations
        self._is_overdue = is_overdue
        self.everywhere: set[RequestClass] = set()  #: classes that are tried on every host
        self.dirty_hosts = DirtyHosts()  #: hosts with more room, or of which less is reserved
        self._by_size = ClassesBySize()
        self._blocked: set[RequestClass] = set()  #: classes in which only limited and refused tenants wait
        self.limited: set[str] = set()  #: tenants at a limit
        self.refused: dict[RequestClass, set[str]] = {}  #: by class, tenants that are refused in this decision

    # -- what happened ------------------------------------------------------------------------------------------------

    def add_class(self, request_class: RequestClass) -> None:
        """Add a class whose requests have begun to wait."""
        self._add_filter(request_class)
        self.everywhere.add(request_class)

    def remove_class(self, request_class: RequestClass) -> None:
        """Remove a class of which no request waits any more."""
        self._by_size.remove(request_class)
        self._blocked.discard(request_class)
        self.failed({request_class})

    def request_added(self, request_class: RequestClass, tenant: str, *, may_use_reserved: bool) -> None:
        """Note that one more request of a known class waits."""
        if may_use_reserved:
            self.everywhere.add(request_class)
        if tenant in self.limited:
            self.unblock(tenant)  # it may request less than before, or come first
        if request_class in self._blocked:
            self._blocked.discard(request_class)
            self.everywhere.add(request_class)

    def unblock(self, tenant: str) -> None:
        """Note that a limited tenant may perhaps hold more."""
        self.limited.discard(tenant)
        self._unblock_classes()

    def unblock_all(self) -> None:
        """Note that every tenant may perhaps hold more."""
        self.limited.clear()
        self._unblock_classes()

    def try_all(self) -> None:
        """Try every class on every host."""
        self.everywhere.update(self._queue.classes.values())
        self.dirty_hosts.by_id.clear()

    def filters_changed(self) -> None:
        """Compute the filters of all classes again; what could not be placed still cannot."""
        self._by_size = ClassesBySize()
        for request_class in self._queue.classes.values():
            self._add_filter(request_class)
        self.dirty_hosts.forget_classes()

    def may_be_limited(self, request_class: RequestClass) -> bool:
        """Return whether requests of a class are tried again with each change, because tenants are at limits."""
        return request_class in self._blocked or request_class in self.everywhere

    def failed(self, classes: Collection[RequestClass]) -> None:
        """Note that no request of some classes can be placed now."""
        self.everywhere.difference_update(classes)
        self.dirty_hosts.failed(classes)

    def _unblock_classes(self) -> None:
        self.everywhere |= self._blocked
        self._blocked.clear()

    def _add_filter(self, request_class: RequestClass) -> None:
        request_class.demand = self._placer.demand(request_class.requirements)
        request_class.host_filter = self._placer.filter_of(request_class.requirements)
        self._by_size.add(request_class)

    # -- the next candidate -------------------------------------------------------------------------------------------

    def next(self) -> Candidate | None:
        """Return the first request, in the order of the queue, that is not known to be unplaceable."""
        if not self.everywhere and len(self.dirty_hosts.by_id) == 1:
            ((host_id, host),) = self.dirty_hosts.by_id.items()
            if not self._reservations.has_any_on(host_id):
                return self._next_on(host_id, host)
        self._queue.apply_removals()
        among = set(self.everywhere)
        for host_id, host in list(self.dirty_hosts.by_id.items()):
            fitting = self._fitting(host_id, host)
            if fitting:
                among |= fitting
            else:
                del self.dirty_hosts.by_id[host_id]
        return self._best_of(among)

    def place(self, candidate: Candidate) -> Placement | None:
        """Return where a candidate is placed, beside what is reserved for requests that come before it."""
        request_class, rank = candidate.request_class, candidate.rank
        requirements, demand = request_class.requirements, request_class.demand
        if demand is None:
            return None
        if request_class not in self.everywhere:
            hosts = list(self.dirty_hosts.by_id)
            if len(hosts) > 1:
                hosts = [name for name, host in self.dirty_hosts.by_id.items() if _may_fit_on(request_class, host)]
            if len(hosts) == 1:
                exclusion = self._reservations.excluded_on(hosts[0], rank)
                return self._placer.place_on(hosts[0], requirements, demand, exclusion)
        return self._placer.place(requirements, demand, self._reservations.excluded_for(rank))

    def _next_on(self, host_id: str, host: DirtyHost) -> Candidate | None:
        """Return what :meth:`next` returns where only one host is dirty and nothing of it is reserved: the usual
        case.
        """
        headroom = host.headroom = host.headroom or self._placer.headroom(host_id)
        entries = self._by_size.candidates(headroom)
        if len(entries) > FEW_CLASSES:
            # Looked for one by one, because soon one fits.
            for request_class in that_may_fit(self._queue.by_first_arrival, headroom):
                lease = request_class.first
                if not self._is_overdue(lease):
                    break
                left_out = lease.tenant in self.limited or lease.tenant in self.refused.get(request_class, ())
                if request_class not in host.failed and not left_out:
                    return Candidate(Rank.overdue(lease), lease, request_class)
        fitting = [one for one in that_may_fit(entries, headroom) if one not in host.failed]
        if not fitting:
            del self.dirty_hosts.by_id[host_id]
            return None
        if self._queue.apply_removals():
            fitting = [one for one in fitting if one.leases]
        return self._best_of(fitting)

    def _best_of(self, among: Collection[RequestClass]) -> Candidate | None:
        found = self._queue.best(among, self.limited, self.refused) if among else None
        if found is None:
            self._blocked.update(among)
            self.failed(among)
        return found

    def _fitting(self, host_id: str, host: DirtyHost) -> set[RequestClass]:
        """Return the classes of which a request may fit on a dirty host."""
        if host.fitting is None:
            host.fitting = self._compute_fitting(host_id, host) - host.failed
        return host.fitting

    def _compute_fitting(self, host_id: str, host: DirtyHost) -> set[RequestClass]:
        headroom = host.headroom = host.headroom or self._placer.headroom(host_id)
        classes = set(that_may_fit(self._by_size.candidates(headroom), headroom))
        here = self._reservations.on(host_id)
        if not here or not classes:
            return classes
        # What is reserved there is for the classes that hold the reservations, and for requests that precede these.
        reserved = reduce(Exclusion.combined_with, [held.exclusion for _, held in here])
        unreserved = self._placer.headroom(host_id, reserved)
        holders = {request_class for request_class, _ in here}
        fit = {one for one in classes if one in holders or one.host_filter.may_fit(unreserved)}
        others = classes - fit
        best = self._queue.best(others, self.limited, self.refused) if others else None
        last = max(self._reservations.rank_of(*each) for each in here)
        return classes if best is not None and best.rank < last else fit


def _may_fit_on(request_class: RequestClass, host: DirtyHost) -> bool:
    """Return whether a request of a class may fit on a dirty host, as far as that is known."""
    if host.fitting is not None:
        return request_class in host.fitting
    if host.headroom is None or request_class in host.failed:
        return False
    return request_class.host_filter.may_fit(host.headroom)
