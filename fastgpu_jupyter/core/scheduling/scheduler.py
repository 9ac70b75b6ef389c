"""The scheduler: which waiting request is granted which devices next.

The documentation of the package (:mod:`fastgpu_jupyter.core.scheduling`) explains the order, the reservations and what
is cached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from ..accounting import fairshare, reservations
from ..accounting.fairshare import FairShareKey
from ..accounting.reservations import ReservationGuard
from ..model.entities import Lease, Priority, Requirements, State
from ..placement.demand import Exclusion, Placement
from ..placement.device_share import Devices
from ..placement.parkability import ParkDecision
from ..placement.placer import SHADOW_PRICES_EVERY, Placer
from . import defragmentation, parking_ahead, tenant_limits
from .backfill import RESERVATIONS_MAX, BackfillReservation, BackfillReservations
from .beside_reservations import other_devices
from .candidates import Candidates
from .expected_decision import QueueContext
from .queue import Candidate, Queue
from .rank import Rank, aging_grants, is_overdue
from .request_class import RequestClass

#: Number of waiting requests that preemption is considered for at once.
UNSERVED_MAX = 256
#: In a pool that is not small, the grants between two reservations, and the grants that a class must have seen without
#: one of its own before devices are reserved for it: most classes are served sooner than that.
RESERVE_EVERY = 16


class Scheduler:
    """The queue and the devices of one state, indexed for quick decisions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ms = state.last.ms
        self._aging_grants = aging_grants(state)
        self._usage_now: dict[str, FairShareKey] = {}  #: by tenant, at this instant
        self._reservations = BackfillReservations(self._is_overdue)
        self._queue = Queue(self._usage, self._is_overdue, self._class_emptied)
        self._changed = False  #: whether anything happened since the last decision
        self._reserved_at = 0  #: number of grants in the pool when :meth:`do_idle_work` last reserved
        self._rebuild()
        for lease_id in state.queue:
            self.enqueue(state.leases[lease_id])

    def _rebuild(self) -> None:
        """Compute everything from the state; needed when hosts or devices were added or removed."""
        self._queue.apply_removals()
        self._outdated = False
        self._placer = Placer(self._state)
        self._small = self._placer.index.small  #: whether reservations are made again after every change
        self._requests_priced = len(self._state.recent_requests)
        self._reservations.clear()
        self._heads: deque[tuple[Rank, RequestClass]] | None = None
        self._candidates = Candidates(self._queue, self._placer, self._reservations, self._is_overdue)
        for request_class in self._queue.classes.values():
            self._candidates.add_class(request_class)

    # -- what happened ------------------------------------------------------------------------------------------------

    def enqueue(self, lease: Lease) -> None:
        """Add a request that begins to wait."""
        self._changed = True
        request_class = self._queue.add(lease)
        if len(request_class.leases) == 1:
            self._candidates.add_class(request_class)
        may_use_reserved = request_class not in self._candidates.everywhere and self._precedes_reservation(lease)
        self._candidates.request_added(request_class, lease.tenant, may_use_reserved=may_use_reserved)
        requests = len(self._state.recent_requests)
        if requests != self._requests_priced and requests % SHADOW_PRICES_EVERY == 0:
            self._requests_priced = requests
            self._placer.update_shadow_prices()
            self._candidates.filters_changed()

    def dequeue(self, lease: Lease) -> None:
        """Remove a request that waits no longer, because it was granted or withdrawn."""
        self._changed = True
        request_class = self._queue.remove(lease)
        request_class.last_change = self._state.generations
        self._drop_reservation(request_class)
        if lease.tenant in self._candidates.limited:
            self._candidates.unblock(lease.tenant)

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
            if member in self._candidates.limited:
                self._candidates.unblock(member)

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
                self._candidates.dirty_hosts.gained_room(device.spec.host_id)
            else:
                self._candidates.dirty_hosts.lost_room(device.spec.host_id)

    def availability_changed(self, device_id: str) -> None:
        """Note that a device left service or is back."""
        self.devices_changed((device_id,))
        if self._outdated:
            return
        for request_class in self._reservations.of_device(device_id):
            self._drop_reservation(request_class)
        self._candidates.dirty_hosts.gained_room(self._placer.host_of(device_id))

    def inventory_changed(self) -> None:
        """Note that hosts or devices were added, removed or replaced."""
        self._outdated = True

    def reconsider(self) -> None:
        """Drop what passing time may have made wrong: the reservations and what is known of tenants at their limits."""
        for host_id in self._reservations.clear():
            self._candidates.dirty_hosts.gained_room(host_id)
        self._heads = None
        self._candidates.unblock_all()
        if self._state.reservations:  # what they guard changes with every grant, wherever it is
            self._candidates.try_all()

    # -- decisions ----------------------------------------------------------------------------------------------------

    def next_grant(self, now_ms: int) -> tuple[Lease, Requirements, Devices] | None:
        """Return the request to grant next, its requirements and its devices; ``None`` where all must wait."""
        if not self._state.queue and not self._outdated:
            self._candidates.dirty_hosts.by_id.clear()  # a request that comes later is tried everywhere
            return None
        self._begin_decision(now_ms)
        candidates = self._candidates
        if not candidates.everywhere and not candidates.dirty_hosts.by_id:
            return None
        guard = reservations.reservation_guard(self._state)
        candidates.refused.clear()
        while (candidate := candidates.next()) is not None:
            lease, request_class = candidate.lease, candidate.request_class
            if not tenant_limits.may_hold_more(self._state, lease, self._now_ms):
                if tenant_limits.blocks_tenant(self._state, lease):
                    candidates.limited.add(lease.tenant)
                else:
                    candidates.refused.setdefault(request_class, set()).add(lease.tenant)
                continue
            if self._small:
                self._reserve_for_heads(candidate.rank, guard)
            placement = candidates.place(candidate)
            if placement is None:
                candidates.failed({request_class})
                continue
            devices = self._placer.devices(placement)
            if not tenant_limits.may_hold(self._state, lease, devices):
                candidates.limited.add(lease.tenant)
            elif guard.leaves_room(lease, devices):
                return lease, request_class.requirements, devices
            elif (others := self._other_devices(lease, placement, guard, candidate.rank)) is not None:
                return lease, request_class.requirements, others
            else:
                # Reservations of other tenants forbid it, to this tenant and to all that are like it.
                candidates.refused.setdefault(request_class, set()).update(guard.affected_tenants(lease))
        return None

    def _other_devices(self, lease: Lease, forbidden: Placement, guard: ReservationGuard, rank: Rank) -> Devices | None:
        excluded = self._reservations.excluded_for(rank)
        return other_devices(self._state, self._placer, lease, forbidden, guard=guard, excluded=excluded)

    def unserved(self, now_ms: int) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        """Yield the requests that would be served next if there were room, with the devices reserved for their class.

        Of each tenant, the first request in each class is among them, up to one that exceeds the tenant's limits.
        """
        self._begin_decision(now_ms)
        guard = reservations.reservation_guard(self._state)
        if self._small:
            self._reserve_for_heads(None, guard)
        yield from self._unserved(self._reservations, guard)

    def _unserved(
        self, reserved: BackfillReservations, guard: ReservationGuard
    ) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        limited: set[str] = set()
        for lease, request_class in islice(self._queue.heads(), UNSERVED_MAX):
            if lease.tenant in limited:
                continue
            if not tenant_limits.may_hold_more(self._state, lease, self._now_ms):
                limited.update([lease.tenant] if tenant_limits.blocks_tenant(self._state, lease) else [])
            elif guard.may_hope(lease):
                yield lease, reserved.devices_for(request_class)

    def highest_priority(self) -> Priority:
        """Return the highest priority of the waiting requests."""
        return self._queue.highest_priority()

    def lease_to_migrate(self, parkable: Iterable[str], now_ms: int) -> Lease | None:
        """Return a lease to migrate so that a waiting request fits; ``None`` where there is none."""
        unserved = (lease for lease, _ in self.unserved(now_ms))
        return defragmentation.select_lease_to_migrate(self._state, self._placer, unserved, parkable, now_ms)

    def plan_ahead(self, parkable: Iterable[str], parked: Iterable[str], now_ms: int) -> list[ParkDecision]:
        """Return the leases to park so that the largest parked one could resume at once."""
        self._begin_decision(now_ms)
        return parking_ahead.plan_ahead(self._state, self._placer, parkable, parked, now_ms)

    # -- questions, which change nothing that a decision depends on ---------------------------------------------------

    def queue_context(self, lease: Lease, now_ms: int, devices: State) -> QueueContext:
        """Return what the place of a lease in the queue gives it, whether it waits or would begin to wait now.

        ``devices``: a state with a device of each kind.
        """
        self._begin_decision(now_ms)
        guard = reservations.reservation_guard(self._state)
        rank = self._rank(lease)
        reserved = self._reservations
        if self._small:  # they are made again with each change, as that by which the lease would begin to wait
            reserved = BackfillReservations(self._is_overdue)
            for head_rank, request_class in islice(self._queue.in_order(), RESERVATIONS_MAX):
                if head_rank >= rank:
                    break
                self._reserve_for_head(request_class, guard, reserved)
        return QueueContext(rank, guard, reserved, self._is_blocked(lease, rank, reserved), devices)

    def _is_blocked(self, lease: Lease, rank: Rank, reserved: BackfillReservations) -> bool:
        """Return whether an earlier request of its tenant exceeds the limits now and blocks the later ones."""
        if not fairshare.is_limited(self._state, lease.tenant):
            return False
        for other, request_class in self._queue.heads():
            if other.tenant == lease.tenant and self._candidates.may_be_limited(request_class):
                other_rank = self._rank(other)
                if other_rank >= rank:
                    return False
                if self._blocks(other, request_class, reserved.excluded_for(other_rank)):
                    return True
        return False

    def _blocks(self, lease: Lease, request_class: RequestClass, excluded: dict[str, Exclusion]) -> bool:
        """Return whether :meth:`next_grant` would not grant a request because of its tenant's limits."""
        if not tenant_limits.may_hold_more(self._state, lease, self._now_ms):
            return tenant_limits.blocks_tenant(self._state, lease)
        if request_class.demand is None:
            return False
        placement = self._placer.place(request_class.requirements, request_class.demand, excluded)
        if placement is None:
            return False
        return not tenant_limits.may_hold(self._state, lease, self._placer.devices(placement))

    def _rank(self, lease: Lease) -> Rank:
        return Rank.overdue(lease) if self._is_overdue(lease) else Rank.of(lease, self._usage(lease.tenant))

    def devices_for(self, lease: Lease, context: QueueContext) -> tuple[Devices | None, bool]:
        """Return the devices that a lease would be granted at once, and whether any are free beside reservations."""
        if not tenant_limits.may_hold_more(self._state, lease, self._now_ms, context.devices):
            return None, False
        requirements = lease.requirements
        demand = self._placer.make_demand(requirements)
        if demand is None:
            return None, False
        excluded = context.reserved.excluded_for(context.rank)
        placement = self._placer.place(requirements, demand, excluded)
        if placement is None:
            return None, bool(excluded) and self._placer.place(requirements, demand, {}) is not None
        devices = self._placer.devices(placement)
        if context.blocked or not tenant_limits.may_hold(self._state, lease, devices):
            return None, True
        guard = context.guard
        if not guard.leaves_room(lease, devices):
            return other_devices(self._state, self._placer, lease, placement, guard=guard, excluded=excluded), True
        return devices, True

    def may_make_room_for(self, lease: Lease, context: QueueContext) -> bool:
        """Return whether other leases may be parked for a request, as far as its tenant decides that."""
        if context.blocked:
            return False
        may_hold = tenant_limits.may_hold_more(self._state, lease, self._now_ms, context.devices)
        return may_hold and context.guard.may_hope(lease)

    def unserved_before(self, context: QueueContext) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        """Yield of :meth:`unserved` what comes before that place of the queue."""
        for other, devices in self._unserved(context.reserved, context.guard):
            if self._rank(other) >= context.rank:
                return
            yield other, devices

    def do_idle_work(self) -> None:
        """Do a little of what the next decision would have to do first; called when no caller awaits a grant."""
        self._queue.apply_removals()
        if self._outdated:
            return
        grants = self._state.generations
        if grants - self._reserved_at >= RESERVE_EVERY:
            self._reserved_at = grants
            self._reserve_for_next_head(grants)
        self._placer.index.prepare()

    def _begin_decision(self, now_ms: int) -> None:
        """Bring everything up to date."""
        self._now_ms = max(self._now_ms, now_ms)
        self._aging_grants = aging_grants(self._state)
        self._usage_now.clear()
        if self._outdated:
            self._rebuild()
        if self._changed and (self._small or self._state.reservations):
            self.reconsider()
        self._changed = False

    # -- reservations for the first requests of the queue -------------------------------------------------------------

    def _reserve_for_heads(self, before: Rank | None, guard: ReservationGuard) -> None:
        """Reserve devices for the first classes of the queue, up to a rank, once after :meth:`reconsider`.

        In a pool that is not small, a decision makes no reservations; :meth:`do_idle_work` does.
        """
        if self._heads is None:
            # No request is behind the last class, so it needs no reservation.
            in_order = self._queue.in_order() if len(self._queue.classes) > 1 else ()
            self._heads = deque([*islice(in_order, RESERVATIONS_MAX + 1)][:-1])
        while self._heads and (before is None or self._heads[0][0] < before):
            _, request_class = self._heads.popleft()
            if request_class not in self._reservations and len(self._reservations) < RESERVATIONS_MAX:
                self._reserve_for_head(request_class, guard, self._reservations)

    def _reserve_for_next_head(self, grants: int) -> None:
        """Reserve devices for the first class that has none and has seen enough grants."""
        if len(self._reservations) < RESERVATIONS_MAX:
            for _, request_class in islice(self._queue.in_order(), RESERVATIONS_MAX):
                if request_class not in self._reservations and grants - request_class.last_change >= RESERVE_EVERY:
                    guard = reservations.reservation_guard(self._state)
                    self._reserve_for_head(request_class, guard, self._reservations)
                    return

    def _reserve_for_head(
        self, request_class: RequestClass, guard: ReservationGuard, reserved: BackfillReservations
    ) -> None:
        """Reserve the devices that will serve the first request of a class soonest and are not reserved before it."""
        demand, best = request_class.demand, self._best_entitled(request_class, guard)
        if demand is None or best is None:
            return
        excluded = reserved.excluded_for(best.rank)
        placement = self._placer.nearest_fit(request_class.requirements, demand, excluded)
        if placement is not None:
            exclusion = Exclusion(frozenset(placement.device_ids), demand.cpu_milli, demand.host_memory_bytes)
            reserved.add(request_class, BackfillReservation(placement, exclusion, best.rank))

    def _best_entitled(self, request_class: RequestClass, guard: ReservationGuard) -> Candidate | None:
        """Return the first request of a class whose tenant may hold so much more; nothing is reserved for others."""
        skip = {*self._candidates.limited, *self._candidates.refused.get(request_class, ())}
        while (found := self._queue.best((request_class,), skip)) is not None:
            if not tenant_limits.may_hold_more(self._state, found.lease, self._now_ms):
                skip.add(found.lease.tenant)
            elif not guard.may_hope(found.lease):
                skip |= {*guard.affected_tenants(found.lease), found.lease.tenant}
            else:
                return found
        return None

    def _drop_reservation(self, request_class: RequestClass) -> None:
        if request_class in self._reservations:
            self._candidates.dirty_hosts.gained_room(self._reservations.remove(request_class))

    def _precedes_reservation(self, lease: Lease) -> bool:
        """Return whether a request may have devices that are reserved for another one."""
        if not len(self._reservations):
            return False
        return self._reservations.precedes_any(Rank.of(lease, self._usage(lease.tenant)))

    # -- what the queue asks for --------------------------------------------------------------------------------------

    def _usage(self, tenant: str) -> FairShareKey:
        usage = self._usage_now.get(tenant)
        if usage is None:
            usage = self._usage_now[tenant] = fairshare.fair_share_key(self._state, tenant, self._now_ms)
        return usage

    def _is_overdue(self, lease: Lease) -> bool:
        return is_overdue(self._state, lease, self._aging_grants)

    def _class_emptied(self, request_class: RequestClass) -> None:
        self._candidates.remove_class(request_class)
