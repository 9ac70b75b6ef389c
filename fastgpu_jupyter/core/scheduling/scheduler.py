"""The scheduler: which waiting request is granted which devices next.

The documentation of the package (:mod:`fastgpu_jupyter.core.scheduling`) explains the order, the reservations and what
is cached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from itertools import islice

from ..accounting import fairshare, reservations
from ..accounting.fairshare import FairShareKey
from ..accounting.reservations import ReservationGuard
from ..model.entities import Lease, Priority, Requirements, State
from ..placement.demand import Exclusion, Placement
from ..placement.eligibility import Devices
from ..placement.placer import SHADOW_PRICES_EVERY, Placer
from . import defragmentation, tenant_limits
from .backfill import RESERVATIONS_MAX, BackfillReservation, BackfillReservations
from .dirty_hosts import ClassesBySize, DirtyHost, DirtyHosts, that_may_fit
from .queue import Candidate, Queue
from .rank import Rank, aging_grants, is_overdue
from .request_class import RequestClass

#: Number of waiting requests that preemption is considered for at once.
UNSERVED_MAX = 256
#: In a pool that is not small, the grants between two reservations, and the grants that a class must have seen without
#: one of its own before devices are reserved for it: most classes are served sooner than that.
RESERVE_EVERY = 16
#: Number of classes up to which all are compared; of more, overdue requests are looked for first.
FEW_CLASSES = 24


class Scheduler:
    """The queue and the devices of one state, indexed for quick decisions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ms = state.last.ms
        self._aging_grants = aging_grants(state)
        self._usage_now: dict[str, FairShareKey] = {}  #: by tenant, at this instant
        self._waiting = Queue(self._usage, self._is_overdue)
        self._left: list[Lease] = []  #: to be removed from the queue before it is next used
        self._reservations = BackfillReservations(lambda one: self._is_overdue(one.first))
        self._changed = False  #: whether anything happened since the last decision
        self._limited: set[str] = set()  #: tenants at a limit
        self._refused: dict[RequestClass, set[str]] = {}  #: by class, tenants that are refused in this decision
        self._blocked_classes: set[RequestClass] = set()  #: only requests of limited or refused tenants are in them
        self._reserved_at = 0  #: number of grants in the pool at the last reservation
        self._rebuild()
        for lease_id in state.queue:
            self.enqueue(state.leases[lease_id])

    def _rebuild(self) -> None:
        """Compute everything from the state; needed when hosts or devices were added or removed."""
        self._remove_left()
        self._outdated = False
        self._placer = Placer(self._state)
        self._requests_priced = len(self._state.recent_requests)
        self._candidate_classes: set[RequestClass] = set()
        self._dirty_hosts = DirtyHosts()
        self._reservations.clear()
        self._heads: deque[tuple[Rank, RequestClass]] | None = None
        self._by_size = ClassesBySize()
        for request_class in self._queue.classes.values():
            self._add_class(request_class)

    # -- what happened ------------------------------------------------------------------------------------------------

    def enqueue(self, lease: Lease) -> None:
        """Add a request that begins to wait."""
        self._changed = True
        request_class = self._queue.add(lease)
        if len(request_class.leases) == 1:
            self._add_class(request_class)
        elif request_class not in self._candidate_classes and self._precedes_a_reservation(lease):
            self._candidate_classes.add(request_class)
        if lease.tenant in self._limited:
            self._unblock(lease.tenant)  # it may request less than before, or come first
        if request_class in self._blocked_classes:
            self._blocked_classes.discard(request_class)
            self._candidate_classes.add(request_class)
        requests = len(self._state.recent_requests)
        if requests != self._requests_priced and requests % SHADOW_PRICES_EVERY == 0:
            self._update_shadow_prices()

    def dequeue(self, lease: Lease) -> None:
        """Remove a request that waits no longer, because it was granted or withdrawn."""
        self._changed = True
        self._left.append(lease)
        request_class = self._waiting.class_of(lease)
        request_class.last_change = self._state.generations
        if request_class in self._reservations:
            self._dirty_hosts.gained_room(self._reservations.remove(request_class))
        if lease.tenant in self._limited:
            self._unblock(lease.tenant)

    def usage_decreased(self, tenant: str) -> None:
        """Note that a tenant holds less than before, or is entitled to more."""
        known = self._state.tenants.get(tenant)
        group = known.group if known else None
        members = [tenant]
        if group is not None:
            tenants = self._state.tenants
            members = [name for name in self._queue.tenants() if name in tenants and tenants[name].group == group]
        self._usage_now.clear()
        for member in members:
            self._queue.usage_decreased(member)
            if member in self._limited:
                self._unblock(member)

    def entitlements_changed(self) -> None:
        """Note that weights, limits, budgets, reservations or groups of tenants have changed."""
        self._usage_now.clear()
        for tenant in self._queue.tenants():
            self._queue.usage_decreased(tenant)
        self.reconsider()

    def devices_changed(self, device_ids: Collection[str]) -> None:
        """Note that leases hold more or less of some devices, or give it back."""
        if self._outdated:
            return
        self._changed = True
        for device_id in device_ids:
            device = self._state.devices.get(device_id)
            if device is None:
                self.inventory_changed()
                return
            if self._placer.update_device(device):
                self._dirty_hosts.gained_room(device.spec.host_id)
            else:
                self._dirty_hosts.lost_room(device.spec.host_id)

    def availability_changed(self, device_id: str) -> None:
        """Note that a device left service or is back."""
        self.devices_changed((device_id,))
        if self._outdated:
            return
        for request_class in self._reservations.of_device(device_id):
            self._dirty_hosts.gained_room(self._reservations.remove(request_class))
        self._dirty_hosts.gained_room(self._placer.host_of(device_id))

    def inventory_changed(self) -> None:
        """Note that hosts or devices were added, removed or replaced."""
        self._outdated = True

    def reconsider(self) -> None:
        """Drop everything that passing time may have made wrong: reservations, limits, and what follows from them."""
        for host_id in self._reservations.clear():
            self._dirty_hosts.gained_room(host_id)
        self._heads = None
        self._limited.clear()
        self._candidate_classes |= self._blocked_classes
        self._blocked_classes.clear()
        if self._state.reservations:  # what they guard changes with every grant, wherever that is
            self._candidate_classes.update(self._queue.classes.values())
            self._dirty_hosts.by_id.clear()

    # -- decisions ----------------------------------------------------------------------------------------------------

    def next_grant(self, now_ms: int) -> tuple[Lease, Requirements, Devices] | None:
        """Return the request to grant next, its requirements and its devices; ``None`` where all must wait."""
        self._begin(now_ms)
        if not self._candidate_classes and not self._dirty_hosts:
            return None
        guard = reservations.reservation_guard(self._state)
        self._refused.clear()
        while (candidate := self._next_candidate()) is not None:
            lease, request_class = candidate.lease, candidate.request_class
            if not tenant_limits.may_hold_more(self._state, lease, self._now_ms):
                if tenant_limits.blocks_tenant(self._state, lease):
                    self._limited.add(lease.tenant)
                else:
                    self._refused.setdefault(request_class, set()).add(lease.tenant)
                continue
            placement = self._place(candidate, guard)
            if placement is None:
                self._failed({request_class})
                continue
            devices = self._placer.devices(placement)
            if not tenant_limits.may_hold(self._state, lease, devices):
                self._limited.add(lease.tenant)
            elif not guard.leaves_room(lease, devices):
                # Reservations of other tenants forbid it, to this tenant and to all that are like it.
                self._refused.setdefault(request_class, set()).update(guard.affected_tenants(lease))
            else:
                return lease, request_class.requirements, devices
        return None

    def unserved(self, now_ms: int) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        """Yield the requests that would be served next if there were room, with the devices reserved for their class.

        Of each tenant, the first request in each class is among them, up to one that exceeds the tenant's limits.
        """
        self._begin(now_ms)
        guard = reservations.reservation_guard(self._state)
        self._reserve_for_heads(None, guard)
        limited: set[str] = set()
        for lease, request_class in islice(self._queue.heads(), UNSERVED_MAX):
            if lease.tenant in limited:
                continue
            if not tenant_limits.may_hold_more(self._state, lease, self._now_ms):
                limited.update([lease.tenant] if tenant_limits.blocks_tenant(self._state, lease) else [])
            elif guard.may_hope(lease):
                yield lease, self._reservations.devices_for(request_class)

    def highest_priority(self) -> Priority:
        """Return the highest priority of the waiting requests."""
        return self._queue.highest_priority()

    def lease_to_migrate(self, parkable: Iterable[str], now_ms: int) -> Lease | None:
        """Return a lease to migrate so that a waiting request fits; ``None`` where there is none."""
        unserved = (lease for lease, _ in self.unserved(now_ms))
        return defragmentation.select_lease_to_migrate(self._state, self._placer, unserved, parkable, now_ms)

    def do_idle_work(self) -> None:
        """Do a little of what the next decision would have to do first; called when no grant is awaited."""
        self._remove_left()
        if self._outdated:
            return
        grants = self._state.generations
        if grants - self._reserved_at >= RESERVE_EVERY:
            self._reserved_at = grants
            self._reserve_for_next_head(grants)
        self._placer.index.prepare()

    # -- candidates ---------------------------------------------------------------------------------------------------

    def _begin(self, now_ms: int) -> None:
        """Bring everything up to date before a decision."""
        self._now_ms = max(self._now_ms, now_ms)
        self._aging_grants = aging_grants(self._state)
        self._usage_now.clear()
        if self._outdated:
            self._rebuild()
        if self._changed and (self._placer.index.small or self._state.reservations):
            self.reconsider()
        self._changed = False

    def _next_candidate(self) -> Candidate | None:
        """Return the first request, in the order of the queue, that has not been found to be unplaceable."""
        if not self._candidate_classes and len(self._dirty_hosts.by_id) == 1:
            ((host_id, host),) = self._dirty_hosts.by_id.items()
            if not self._reservations.has_any_on(host_id):
                return self._next_candidate_on(host_id, host)
        self._remove_left()
        among = set(self._candidate_classes)
        for host_id, host in list(self._dirty_hosts.by_id.items()):
            fitting = self._fitting(host_id, host)
            if fitting:
                among |= fitting
            else:
                del self._dirty_hosts.by_id[host_id]
        return self._best_of(among)

    def _next_candidate_on(self, host_id: str, host: DirtyHost) -> Candidate | None:
        """Return the same where one host is dirty and nothing of it is reserved, which is the usual case."""
        headroom = host.headroom = host.headroom or self._placer.headroom(host_id)
        entries = self._by_size.candidates(headroom)
        if len(entries) > FEW_CLASSES:
            # Looked for one by one, because soon one fits.
            for request_class in that_may_fit(self._queue.by_first_arrival, headroom):
                lease = request_class.first
                if not self._is_overdue(lease):
                    break
                refused = lease.tenant in self._limited or lease.tenant in self._refused.get(request_class, ())
                if request_class not in host.failed and not refused:
                    return Candidate(Rank.overdue(lease), lease, request_class)
        fitting = [one for one in that_may_fit(entries, headroom) if one not in host.failed]
        if not fitting:
            del self._dirty_hosts.by_id[host_id]
            return None
        if self._left:
            self._remove_left()
            fitting = [one for one in fitting if one.leases]
        return self._best_of(fitting)

    def _best_of(self, among: Collection[RequestClass]) -> Candidate | None:
        found = self._queue.best(among, self._limited, self._refused) if among else None
        if found is None:
            self._blocked_classes.update(among)
            self._failed(among)
        return found

    def _fitting(self, host_id: str, host: DirtyHost) -> set[RequestClass]:
        """Return the classes of which a request may fit on a dirty host."""
        if host.fitting is None:
            host.fitting = self._may_fit_on(host_id, host) - host.failed
        return host.fitting

    def _may_fit_on(self, host_id: str, host: DirtyHost) -> set[RequestClass]:
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
        best = self._queue.best(others, self._limited, self._refused) if others else None
        last = max(self._reservations.rank_of(*each) for each in here)
        return classes if best is not None and best.rank < last else fit

    def _failed(self, classes: Collection[RequestClass]) -> None:
        """Note that no request of some classes can be placed now."""
        self._candidate_classes.difference_update(classes)
        self._dirty_hosts.failed(classes)

    def _place(self, candidate: Candidate, guard: ReservationGuard) -> Placement | None:
        """Return where a candidate is placed, once devices are reserved for the requests that come before it."""
        request_class, rank = candidate.request_class, candidate.rank
        if request_class.demand is None:
            return None
        self._reserve_for_heads(rank, guard)
        requirements, demand = request_class.requirements, request_class.demand
        if request_class not in self._candidate_classes:
            hosts = list(self._dirty_hosts.by_id)
            if len(hosts) > 1:
                dirty = self._dirty_hosts.by_id.items()
                hosts = [host_id for host_id, host in dirty if self._is_fit_for(request_class, host)]
            if len(hosts) == 1:
                exclusion = self._reservations.excluded_on(hosts[0], rank)
                return self._placer.place_on(hosts[0], requirements, demand, exclusion)
        return self._placer.place(requirements, demand, self._reservations.excluded_for(rank))

    @staticmethod
    def _is_fit_for(request_class: RequestClass, host: DirtyHost) -> bool:
        if host.fitting is not None:
            return request_class in host.fitting
        if host.headroom is None or request_class in host.failed:
            return False
        return request_class.host_filter.may_fit(host.headroom)

    # -- reservations -------------------------------------------------------------------------------------------------

    def _reserve_for_heads(self, before: Rank | None, guard: ReservationGuard) -> None:
        """Reserve devices for the first classes of the queue, up to a rank, once after :meth:`reconsider`.

        A decision in a pool that is not small makes no reservation; :meth:`do_idle_work` does.
        """
        if not self._placer.index.small:
            return
        if self._heads is None:
            # No request is behind the last class, so it needs no reservation.
            self._heads = deque([*islice(self._queue.in_order(), RESERVATIONS_MAX + 1)][:-1])
        while self._heads and (before is None or self._heads[0][0] < before):
            _, request_class = self._heads.popleft()
            if request_class not in self._reservations and len(self._reservations) < RESERVATIONS_MAX:
                self._reserve_for_head(request_class, guard)

    def _reserve_for_next_head(self, grants: int) -> None:
        """Reserve devices for the first class that has none and has seen enough grants."""
        if len(self._reservations) < RESERVATIONS_MAX:
            for _, request_class in islice(self._queue.in_order(), RESERVATIONS_MAX):
                if request_class not in self._reservations and grants - request_class.last_change >= RESERVE_EVERY:
                    self._reserve_for_head(request_class, reservations.reservation_guard(self._state))
                    return

    def _reserve_for_head(self, request_class: RequestClass, guard: ReservationGuard) -> None:
        """Reserve the devices that will serve the first request of a class soonest and are not reserved before it."""
        demand, best = request_class.demand, self._best_entitled(request_class, guard)
        if demand is None or best is None:
            return
        excluded = self._reservations.excluded_for(best.rank)
        placement = self._placer.nearest_fit(request_class.requirements, demand, excluded)
        if placement is not None:
            exclusion = Exclusion(frozenset(placement.device_ids), demand.cpu_milli, demand.host_memory_bytes)
            self._reservations.add(request_class, BackfillReservation(placement, exclusion, best.rank))

    def _best_entitled(self, request_class: RequestClass, guard: ReservationGuard) -> Candidate | None:
        """Return the first request of a class whose tenant may hold so much more; nothing is reserved for others."""
        skip = {*self._limited, *self._refused.get(request_class, ())}
        while (found := self._queue.best((request_class,), skip)) is not None:
            if not tenant_limits.may_hold_more(self._state, found.lease, self._now_ms):
                skip.add(found.lease.tenant)
            elif not guard.may_hope(found.lease):
                skip |= {*guard.affected_tenants(found.lease), found.lease.tenant}
            else:
                return found
        return None

    def _precedes_a_reservation(self, lease: Lease) -> bool:
        """Return whether a request may have devices that are reserved for another one."""
        if not len(self._reservations):
            return False
        return self._reservations.precedes_any(Rank.of(lease, self._usage(lease.tenant)))

    # -- the queue ----------------------------------------------------------------------------------------------------

    @property
    def _queue(self) -> Queue:
        """The requests that wait."""
        if self._left:
            self._remove_left()
        return self._waiting

    def _remove_left(self) -> None:
        """Remove from the queue what left it: late, because a caller may wait for the grant that it is part of."""
        for lease in self._left:
            request_class = self._waiting.remove(lease)
            if not request_class.leases:
                self._by_size.remove(request_class)
                self._blocked_classes.discard(request_class)
                self._failed({request_class})
        self._left.clear()

    def _add_class(self, request_class: RequestClass) -> None:
        request_class.demand = self._placer.demand(request_class.requirements)
        request_class.host_filter = self._placer.filter_of(request_class.requirements)
        self._by_size.add(request_class)
        self._candidate_classes.add(request_class)

    def _update_shadow_prices(self) -> None:
        """Place by the shadow prices of recent requests from now on. What could not be placed still cannot."""
        self._requests_priced = len(self._state.recent_requests)
        self._placer.update_shadow_prices()
        self._by_size = ClassesBySize()
        candidates = set(self._candidate_classes)
        for request_class in self._queue.classes.values():
            self._add_class(request_class)
        self._candidate_classes = candidates
        self._dirty_hosts.forget_classes()

    def _unblock(self, tenant: str) -> None:
        """Note that a tenant may perhaps hold more."""
        self._limited.discard(tenant)
        self._candidate_classes |= self._blocked_classes
        self._blocked_classes.clear()

    def _usage(self, tenant: str) -> FairShareKey:
        usage = self._usage_now.get(tenant)
        if usage is None:
            usage = self._usage_now[tenant] = fairshare.fair_share_key(self._state, tenant, self._now_ms)
        return usage

    def _is_overdue(self, lease: Lease) -> bool:
        return is_overdue(self._state, lease, self._aging_grants)
