"""What users see of the queue: position, pending reason, and an estimate of the wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from ...errors import Message
from ..accounting import budgets, fairshare, reservations
from ..model.entities import Lease, ParkReason, PendingReason, Priority, Requirements, State
from ..model.events import AdviceSilenced, ChangeCounted, Event, Ticked
from ..model.lifecycle import LeaseState
from ..placement import eligibility
from .waiting_order import WaitingOrder

_PENDING_CODES = {reason: f"pending.{reason.value}" for reason in PendingReason}
#: Frequent events that are about no lease and change nothing that a request depends on.
_WITHOUT_EFFECT = {Ticked, ChangeCounted, AdviceSilenced}
#: Number of leases that an estimate needs at least.
SAMPLE_MIN = 3


class QueueEntry(NamedTuple):
    """What is known of the wait of one request."""

    position: int  #: from 1 on
    reason: PendingReason


class QueueReport:
    """Positions, pending reasons and estimates of the waiting leases of ``state``.

    :meth:`update` follows every change of the state. What is reported depends on the state alone: two calls without an
    event between them are equal.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._order = WaitingOrder(state)
        self.estimator = Estimator(state)
        self._forget()

    def _forget(self) -> None:
        """Forget what was derived from the state before it changed."""
        self._entries: dict[str, QueueEntry] | None = None
        self._by_devices: dict[Requirements, PendingReason] = {}
        self._by_tenant: dict[tuple[Requirements, str, Priority], PendingReason] = {}
        self._guard: reservations.ReservationGuard | None = None

    def update(self, events: Iterable[Event]) -> None:
        """Follow ``events``, which have been applied to the state."""
        lease_ids: set[str] = set()
        devices_changed = False
        for event in events:
            lease_id = getattr(event, "lease_id", None)
            if lease_id is not None:
                lease_ids.add(lease_id)
            elif type(event) not in _WITHOUT_EFFECT:
                devices_changed = True  # or something else that is as rare
        self._order.update(lease_ids, devices_changed=devices_changed)
        self.estimator.update(self._state, lease_ids)
        self._forget()

    def find(self, lease_id: str) -> QueueEntry | None:
        """Return the entry of a waiting lease; None for any other lease."""
        if lease_id not in self._state.queue:
            return None
        if self._entries is not None:
            return self._entries[lease_id]
        lease = self._state.leases[lease_id]
        return QueueEntry(self._order.position(lease), self._reason(lease))

    def position_of(self, lease: Lease) -> int:
        """Return the position of a lease that waits, or that one would have if it began to wait now."""
        waits = lease.id in self._state.queue
        return self._order.position(lease) if waits else self._order.position_at_end(lease)

    def reason_of(self, lease: Lease, *, has_room: bool, devices: State) -> PendingReason:
        """Return why a lease would wait: one that waits, with another size, or one that does not exist yet.

        ``has_room``: whether it would be granted at once if no request came before it; ``devices``: a state with a
        device of each kind.
        """
        nominal_milli = 0
        if fairshare.is_limited(self._state, lease.tenant):
            nominal_milli = eligibility.nominal_milli(devices, lease.requirements)
        reason = self._reason_by_limits(lease, nominal_milli)
        if reason is None:
            by_devices = eligibility.pending_reason(self._state, lease.requirements, has_room)
            reason = self._reason_by_reservations(lease, by_devices)
        return self._finer(lease, reason)

    def entries(self) -> Mapping[str, QueueEntry]:
        """Return the entry of every waiting lease, in the order in which they would be served now."""
        if self._entries is None:
            self._entries = {
                lease_id: QueueEntry(position, self._reason(self._state.leases[lease_id]))
                for position, lease_id in enumerate(self._order.in_order(), start=1)
            }
        return self._entries

    def _reason(self, lease: Lease) -> PendingReason:
        requirements = lease.requirements
        alike = requirements, lease.tenant, lease.request.priority
        reason = self._by_tenant.get(alike)
        if reason is None:
            reason = self._by_tenant[alike] = self._reason_of_those_alike(lease)
        return self._finer(lease, reason)

    def _finer(self, lease: Lease, reason: PendingReason) -> PendingReason:
        """Return the reason why one lease waits, from that of all that are like it."""
        if self._yields_to_higher_priority(lease, reason):
            reason = PendingReason.PRIORITY
        if reason in (PendingReason.BEHIND, PendingReason.CAPACITY):
            if lease.prepare_failure is not None:
                return PendingReason.NOT_PREPARED
            if lease.resume_obstacle is not None and lease.has_image:
                return PendingReason.NOT_RESUMED
        return reason

    def _reason_of_those_alike(self, lease: Lease) -> PendingReason:
        state, requirements = self._state, lease.requirements
        reason = self._reason_by_limits(lease, self._order.nominal_milli(requirements))
        if reason is not None:
            return reason
        reason = self._by_devices.get(requirements)
        if reason is None:
            reason = self._by_devices[requirements] = eligibility.pending_reason(state, requirements)
        return self._reason_by_reservations(lease, reason)

    def _reason_by_limits(self, lease: Lease, nominal_milli: int) -> PendingReason | None:
        if not fairshare.within_limits(self._state, lease.tenant, nominal_milli):
            return PendingReason.QUOTA
        may_spend = budgets.may_spend(self._state, lease.tenant, self._state.last.ms)
        return None if may_spend else PendingReason.BUDGET

    def _reason_by_reservations(self, lease: Lease, reason: PendingReason) -> PendingReason:
        if self._guard is None:
            self._guard = reservations.reservation_guard(self._state)
        if reason in (PendingReason.BEHIND, PendingReason.CAPACITY) and not self._guard.may_hope(lease):
            return PendingReason.RESERVED
        return reason

    def _yields_to_higher_priority(self, lease: Lease, reason: PendingReason) -> bool:
        """Return whether free capacity is for a higher priority, or a higher priority has preempted the lease."""
        if reason is PendingReason.BEHIND:
            return self._order.is_behind_higher_priority(lease)
        return reason is PendingReason.CAPACITY and lease.has_image and lease.park_reason is ParkReason.PRIORITY


def positions(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Yield the waiting leases in the order in which they would be served now, with position (from 1) and reason."""
    for lease_id, entry in QueueReport(state).entries().items():
        yield state.leases[lease_id], *entry


@lru_cache(maxsize=4096)
def explain(position: int, reason: PendingReason) -> Message:
    """Return why a request waits at that position of the queue, as a message."""
    ahead = Message.of("queue.next") if position == 1 else Message.of("queue.requests_ahead", count=position - 1)
    return Message(_PENDING_CODES[reason], {"place": ahead})


class Estimate(NamedTuple):
    """The expected wait and its basis; ``wait_ms`` is ``None`` where there is no estimate."""

    wait_ms: int | None
    basis: Message


class Estimator:
    """Estimates from the leases that ended in the last hour, and the number of active leases."""

    def __init__(self, state: State) -> None:
        self._ended_ms: dict[str, int] = {}  #: by lease that ended, how long it was active
        self._sum_ms = 0
        self._active: set[str] = set()
        self.update(state, state.leases)

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Follow a change of these leases."""
        for lease_id in lease_ids:
            lease = state.leases.get(lease_id)
            ended_ms = lease.active_ms if lease is not None and lease.state is LeaseState.ENDED else 0
            self._sum_ms += ended_ms - self._ended_ms.pop(lease_id, 0)
            if ended_ms:
                self._ended_ms[lease_id] = ended_ms
            active = lease is not None and lease.state is LeaseState.ACTIVE
            (self._active.add if active else self._active.discard)(lease_id)

    def of(self, position: int) -> Estimate:
        """Return the estimate for a request at that position of the queue."""
        sample, active = len(self._ended_ms), len(self._active)
        if sample < SAMPLE_MIN or not active:
            return Estimate(None, Message.of("estimate.unknown"))
        # Of n active leases that last m on average, one ends every m / n.
        mean_ms = self._sum_ms // sample
        basis = Message.of("estimate.recent_leases", leases=sample, mean_ms=mean_ms)
        return Estimate(mean_ms * position // active, basis)
