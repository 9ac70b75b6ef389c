"""What leases have used and cost, and what their tenants spend. Exact integers: cutting an interval anywhere never
changes a sum.

Money is an integral: a rate that holds until an event changes it, in micro-units x milliseconds per hour. Each lease
has one, and each tenant has one of all its leases for each month, so that what it has spent is known at any instant
without adding anything up.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...units import MS_PER_HOUR
from ..model import events as e
from ..model.entities import ClosedSegment, Instant, Lease, Reservation, State, Tenant
from ..model.lifecycle import HOLDING_CAPACITY, RELEASING_CAPACITY
from . import calendar, reservation_coverage
from .reservation_coverage import DeviceModel, Usage


def open_segment(state: State, lease: Lease, now_ms: int) -> None:
    """The logical GPU is the lease's, and its tenant pays for it, from here; not while a device of it is missing."""
    gpu, lease.metered_ms, lease.last_segment = lease.logical_gpu, now_ms, None
    if gpu is not None and any(state.devices[name].missing for name in gpu.local_device_ids):
        return
    lease.active_since_ms = now_ms
    tenant = state.tenants[lease.tenant]
    tenant.active[lease.id] = None
    if tenant.reserved_milli:
        recut(state, lease.tenant, now_ms)
    else:
        _bill(state, lease, 0, gpu.rate_micro_per_hour if gpu else 0, now_ms)


def close_segment(state: State, lease: Lease, now_ms: int) -> None:
    """The logical GPU is no longer the lease's; nothing where no segment is open."""
    if lease.active_since_ms is None:
        return
    from_ms, rate = lease.metered_ms, lease.billed_micro_per_hour
    _bill(state, lease, 0, 0, now_ms)
    lease.last_segment = None if lease.cluster_job is None else ClosedSegment(from_ms, rate)
    lease.active_since_ms = None
    tenant = state.tenants[lease.tenant]
    del tenant.active[lease.id]
    if tenant.reserved_milli:
        recut(state, lease.tenant, now_ms)


def shorten(state: State, lease: Lease, until_ms: int) -> None:
    """Take back what was billed after ``until_ms`` in the last segment of a lease that is not active any more.

    What was billed in an earlier month, or to an earlier tenant, stands.
    """
    segment = lease.last_segment
    if segment is None:
        return
    too_long_ms = lease.metered_ms - max(until_ms, segment.from_ms)
    lease.last_segment = None
    if too_long_ms <= 0:
        return
    numerator = segment.rate_micro_per_hour * too_long_ms
    lease.metered_ms -= too_long_ms
    lease.active_ms -= too_long_ms
    lease.cost_numerator -= numerator
    if numerator:
        state.tenants[lease.tenant].spent[state.month.number] -= numerator


def recut(state: State, name: str, now_ms: int) -> None:
    """What the tenant's reservations cover may be different from here on."""
    tenant = state.tenants[name]
    active = [state.leases[lease_id] for lease_id in tenant.active]
    uses = usages_of(state, active)
    covered = reservation_coverage.allocate_reservations(uses, running(state, name)).by_lease
    milli = {use.lease_id: use.milli for use in uses}
    for lease in active:
        rate = lease.logical_gpu.rate_micro_per_hour if lease.logical_gpu else 0
        billed = reservation_coverage.billed(rate, milli[lease.id], covered[lease.id])
        if (covered[lease.id], billed) != (lease.covered_milli, lease.billed_micro_per_hour):
            _bill(state, lease, covered[lease.id], billed, now_ms)


def usages_of(state: State, leases: Iterable[Lease]) -> list[Usage]:
    """What the leases have of their devices, in order of grant."""
    held = [(lease.logical_gpu, lease.id) for lease in leases if lease.logical_gpu is not None]
    kinds = {
        device_id: DeviceModel(spec.model, spec.memory_bytes)
        for gpu, _ in held
        for device_id in gpu.local_device_ids
        for spec in [state.devices[device_id].spec]
    }
    held.sort(key=lambda item: (item[0].generation, item[1]))
    return [reservation_coverage.usage_of(lease_id, gpu, kinds) for gpu, lease_id in held]


def unused(state: State, name: str, leases: Iterable[Lease]) -> dict[str, int]:
    """What the tenant does not hold, with those leases, of each of its reservations that run."""
    mine = [lease for lease in leases if lease.tenant == name and lease.state in HOLDING_CAPACITY - RELEASING_CAPACITY]
    return reservation_coverage.allocate_reservations(usages_of(state, mine), running(state, name)).left


def running(state: State, name: str) -> list[Reservation]:
    """The tenant's reservations that hold capacity now."""
    return [one for one in state.reservations.values() if one.tenant == name and one.runs]


def active_ms(lease: Lease, now_ms: int) -> int:
    """Milliseconds for which the lease has been active."""
    return lease.active_ms + _open_ms(lease, now_ms)


def cost_micro(lease: Lease, now_ms: int) -> int:
    """Cost so far in millionths of the currency; parts of a micro-unit are carried, not charged."""
    return cost_numerator(lease, now_ms) // MS_PER_HOUR


def cost_numerator(lease: Lease, now_ms: int) -> int:
    """Cost so far in micro-units x milliseconds per hour."""
    return lease.cost_numerator + lease.billed_micro_per_hour * _open_ms(lease, now_ms)


def spent_micro(state: State, name: str, at: Instant) -> int:
    """What the tenant has spent in the month of ``at``: by use, and for its reservations. As its statement says."""
    tenant = state.tenants.get(name)
    if tenant is None:
        return 0
    month, since_ms = state.month, tenant.spent_until_ms
    for turn in calendar.turns(state.month, state.last, at):
        month, since_ms = turn.month, max(turn.at.ms, since_ms)
    numerator = tenant.spent.get(month.number, 0) + tenant.billed_micro_per_hour * max(0, at.ms - since_ms)
    for one in state.reservations.values():
        if one.tenant == name:
            numerator += charge(one, month.begins_wall_ms, min(month.ends_wall_ms, at.wall_ms))
    return numerator // MS_PER_HOUR


def charge(one: Reservation, from_wall_ms: int, to_wall_ms: int) -> int:
    """What a reservation costs between two wall-clock times, in micro-units x milliseconds per hour."""
    if one.began_wall_ms is None:
        return 0
    begin, end = max(one.began_wall_ms, from_wall_ms), min(one.end_wall_ms, to_wall_ms)
    return one.rate_micro_per_hour * max(0, end - begin)


def turn_month(state: State, at: Instant) -> None:
    """Count what is used to the month of ``at`` from where that begins."""
    if state.month.begins_wall_ms <= at.wall_ms < state.month.ends_wall_ms:
        return
    for month, turned in calendar.turns(state.month, state.last, at):
        for tenant in state.tenants.values():
            _settle(state, tenant, turned.ms)
        for lease in state.leases.values():
            _close_month(lease, turned.ms)
        state.month = month
    for tenant in state.tenants.values():
        tenant.budget_percent = 0
    long_ago = calendar.after(state.month, -2).begins_wall_ms  # the clock may be set back, but hardly so far
    for one in list(state.reservations.values()):
        if one.ended and one.end_wall_ms <= long_ago:
            del state.reservations[one.id]


def _close_month(lease: Lease, turned_ms: int) -> None:
    """Let nothing that a lease was billed in the month that ends be taken back."""
    lease.last_segment = None
    if lease.active_since_ms is not None and lease.cluster_job is not None:
        _count(lease, turned_ms)


def _bill(state: State, lease: Lease, covered_milli: int, rate_micro_per_hour: int, now_ms: int) -> None:
    """From here on the active lease costs that."""
    tenant = state.tenants[lease.tenant]
    _settle(state, tenant, now_ms)
    _count(lease, now_ms)
    tenant.billed_micro_per_hour += rate_micro_per_hour - lease.billed_micro_per_hour
    lease.billed_micro_per_hour, lease.covered_milli = rate_micro_per_hour, covered_milli


def _count(lease: Lease, now_ms: int) -> None:
    """Count the open segment up to here."""
    lease.cost_numerator = cost_numerator(lease, now_ms)
    lease.active_ms = active_ms(lease, now_ms)
    lease.metered_ms = max(now_ms, lease.metered_ms)


def _settle(state: State, tenant: Tenant, now_ms: int) -> None:
    """Close the tenant's integral up to here, into the current month."""
    spent = tenant.billed_micro_per_hour * max(0, now_ms - tenant.spent_until_ms)
    if spent:
        tenant.spent[state.month.number] = tenant.spent.get(state.month.number, 0) + spent
    tenant.spent_until_ms = max(now_ms, tenant.spent_until_ms)


def _open_ms(lease: Lease, now_ms: int) -> int:
    return 0 if lease.active_since_ms is None else max(0, now_ms - lease.metered_ms)


def apply_month(state: State, event: e.MonthBegan, at: Instant) -> None:
    """Do nothing: the time of the record has begun the month already."""
