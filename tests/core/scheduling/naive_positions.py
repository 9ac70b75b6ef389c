"""Positions and pending reasons computed from the whole state, one request after the other, to compare with."""

from __future__ import annotations

from collections.abc import Iterator

from fastgpu_jupyter.core.accounting import budgets, fairshare, reservations
from fastgpu_jupyter.core.model.entities import Lease, ParkReason, PendingReason, Priority, Requirements, State
from fastgpu_jupyter.core.placement import eligibility
from fastgpu_jupyter.core.scheduling.rank import Rank, aging_grants, is_overdue


def positions(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Yield the waiting leases in the order in which they would be served now, with position (from 1) and reason.

    The result depends on the state alone: two calls without an event between them are equal.
    """
    by_devices: dict[Requirements, PendingReason] = {}
    by_tenant: dict[tuple[Requirements, str, Priority], PendingReason] = {}
    guard = reservations.reservation_guard(state)
    nominal: dict[Requirements, int] = {}
    highest: int | None = None  # priority of the leases before
    for position, lease in enumerate(_in_order(state, nominal), start=1):
        requirements = lease.requirements
        if requirements not in by_devices:
            by_devices[requirements] = eligibility.pending_reason(state, requirements)
        alike = requirements, lease.tenant, lease.request.priority
        if alike not in by_tenant:
            by_tenant[alike] = _reason(state, lease, nominal[requirements], by_devices[requirements], guard)
        reason = by_tenant[alike]
        if _yields_to_higher_priority(lease, reason, highest):
            reason = PendingReason.PRIORITY
        if lease.prepare_failure is not None and reason in (PendingReason.BEHIND, PendingReason.CAPACITY):
            reason = PendingReason.NOT_PREPARED
        highest = max(lease.request.priority, highest or 0)
        yield lease, position, reason


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


def _yields_to_higher_priority(lease: Lease, reason: PendingReason, highest: int | None) -> bool:
    """Return whether free capacity is reserved for a higher priority, or a higher priority has preempted the lease."""
    if reason is PendingReason.BEHIND:
        return highest is not None and highest > lease.request.priority
    return reason is PendingReason.CAPACITY and lease.has_image and lease.park_reason is ParkReason.PRIORITY


def _in_order(state: State, nominal: dict[Requirements, int]) -> list[Lease]:
    """Return the waiting leases in order, each ranked as if the earlier ones of its tenant had been granted."""
    requested: dict[str, int] = {}  # by tenant, the thousandths of its earlier requests
    ranked: list[tuple[Rank, Lease]] = []
    aging = aging_grants(state)
    waiting = [state.leases[lease_id] for lease_id in state.queue]
    for lease in sorted(waiting, key=lambda lease: (-lease.request.priority, lease.arrival)):
        requirements = lease.requirements
        if requirements not in nominal:
            nominal[requirements] = eligibility.nominal_milli(state, requirements)
        before = requested.get(lease.tenant, 0)
        requested[lease.tenant] = before + nominal[requirements]
        usage = fairshare.fair_share_key(state, lease.tenant, state.last.ms, before)
        rank = Rank.overdue(lease) if is_overdue(state, lease, aging) else Rank.of(lease, usage)
        ranked.append((rank, lease))
    ranked.sort(key=lambda item: item[0])
    return [lease for _, lease in ranked]
