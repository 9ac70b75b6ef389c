"""What those who wait are told: their place, the reason why, and an estimate where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ...errors import Message
from ..accounting import budgets, fairshare, reservations
from ..model.entities import Lease, ParkReason, PendingReason, Priority, Requirements, State
from ..model.lifecycle import LeaseState
from ..placement import eligibility
from .rank import Rank, aging_grants, is_overdue

_PENDING_CODES = {reason: f"pending.{reason.value}" for reason in PendingReason}
#: Leases that an estimate needs: fewer say nothing.
SAMPLE_MIN = 3


def positions(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Everybody who waits in the order in which they would be served now, with place (1 is next) and reason.

    A function of the state alone: two reads without an event between them are equal.
    """
    reasons: dict[Requirements, PendingReason] = {}
    told: dict[tuple[Requirements, str, Priority], PendingReason] = {}
    guard = reservations.reservation_guard(state)
    nominal: dict[Requirements, int] = {}
    highest: int | None = None  # class of those before
    for place, lease in enumerate(_in_order(state, nominal), start=1):
        requirements = lease.requirements
        if requirements not in reasons:
            reasons[requirements] = eligibility.pending_reason(state, requirements)
        alike = requirements, lease.tenant, lease.request.priority
        if alike not in told:
            told[alike] = _reason(state, lease, nominal[requirements], reasons[requirements], guard)
        reason = told[alike]
        if _goes_to_a_higher_class(lease, reason, highest):
            reason = PendingReason.PRIORITY
        if lease.prepare_failure is not None and reason in (PendingReason.BEHIND, PendingReason.CAPACITY):
            reason = PendingReason.NOT_PREPARED
        highest = max(lease.request.priority, highest or 0)
        yield lease, place, reason


def _reason(
    state: State, lease: Lease, wanted_milli: int, reason: PendingReason, guard: reservations.ReservationGuard
) -> PendingReason:
    if not fairshare.within_limits(state, lease.tenant, wanted_milli):
        return PendingReason.QUOTA
    if not budgets.may_spend(state, lease.tenant, state.last.ms):
        return PendingReason.BUDGET
    if reason in (PendingReason.BEHIND, PendingReason.CAPACITY) and not guard.may_hope(lease):
        return PendingReason.RESERVED
    return reason


def _goes_to_a_higher_class(lease: Lease, reason: PendingReason, highest: int | None) -> bool:
    """Whether what would serve the lease is free and kept for a higher class, or a higher class took it from it."""
    if reason is PendingReason.BEHIND:
        return highest is not None and highest > lease.request.priority
    return reason is PendingReason.CAPACITY and lease.has_image and lease.park_reason is ParkReason.PRIORITY


def _in_order(state: State, nominal: dict[Requirements, int]) -> list[Lease]:
    asked: dict[str, int] = {}  # what a tenant would hold by then, were its earlier tickets granted
    ranked: list[tuple[Rank, Lease]] = []
    aging = aging_grants(state)
    waiting = [state.leases[lease_id] for lease_id in state.queue]
    for lease in sorted(waiting, key=lambda lease: (-lease.request.priority, lease.arrival)):
        requirements = lease.requirements
        if requirements not in nominal:
            nominal[requirements] = eligibility.nominal_milli(state, requirements)
        before = asked.get(lease.tenant, 0)
        asked[lease.tenant] = before + nominal[requirements]
        standing = fairshare.fair_share_key(state, lease.tenant, state.last.ms, before)
        rank = Rank.overdue(lease) if is_overdue(state, lease, aging) else Rank.of(lease, standing)
        ranked.append((rank, lease))
    ranked.sort(key=lambda item: item[0])
    return [lease for _, lease in ranked]


@lru_cache(maxsize=4096)
def explain(place: int, reason: PendingReason) -> Message:
    """Return why a request waits at that position of the queue, as a message."""
    ahead = Message.of("queue.next") if place == 1 else Message.of("queue.requests_ahead", count=place - 1)
    return Message(_PENDING_CODES[reason], {"place": ahead})


class Estimate(NamedTuple):
    """How long a wait may take, and what that is based on; ``wait_ms`` is ``None`` where nothing is known."""

    wait_ms: int | None
    basis: Message


class Estimator:
    """Estimates from the leases that ended lately: how long they lasted, and how many devices there are."""

    def __init__(self, state: State) -> None:
        ended = [lease for lease in state.leases.values() if lease.state is LeaseState.ENDED and lease.active_ms]
        self._sample = len(ended)
        self._mean_ms = sum(lease.active_ms for lease in ended) // self._sample if ended else 0
        self._active = sum(1 for lease in state.leases.values() if lease.state is LeaseState.ACTIVE)

    def of(self, place: int) -> Estimate:
        """For the ticket at ``place``."""
        if self._sample < SAMPLE_MIN or not self._active:
            return Estimate(None, Message.of("estimate.unknown"))
        # With n leases that last m on average, one of them ends every m / n.
        basis = Message.of("estimate.recent_leases", leases=self._sample, mean_ms=self._mean_ms)
        return Estimate(self._mean_ms * place // self._active, basis)
