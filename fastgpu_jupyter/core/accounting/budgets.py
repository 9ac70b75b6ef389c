"""Budgets: of tenants by the month, of leases in all. Warnings at thresholds, and what happens at the limit.

Looked at with each tick, so that a limit is passed by what a few seconds cost; a grant looks at the exact sum.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import InvalidRequest, Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import BudgetPolicy, Instant, Lease, ParkReason, State, Tenant
from ..model.events import Event
from ..model.lifecycle import LeaseState
from ..placement import parkability
from . import calendar, fairshare, meter

THRESHOLDS = (50, 80, 100)
#: The last threshold: nothing is left.
SPENT = THRESHOLDS[-1]


def threshold(amount_micro: int, budget_micro: int | None) -> int:
    """The highest threshold, in percent, that the amount has passed; 0 where none."""
    if budget_micro is None:
        return 0
    return max((percent for percent in THRESHOLDS if amount_micro * 100 >= percent * budget_micro), default=0)


def set_budget(state: State, command: c.SetBudget, at: Instant) -> list[Event]:
    """Set what a tenant may spend in a month."""
    if command.budget_micro is not None and command.budget_micro < 0:
        raise InvalidRequest(Message.of("budget.negative"))
    known = state.tenants.get(command.tenant, Tenant())
    policy = known.budget_policy if command.policy is None else command.policy
    if (known.budget_micro, known.budget_policy) == (command.budget_micro, policy):
        return []
    return [e.BudgetSet(command.tenant, command.budget_micro, policy)]


def may_spend(state: State, name: str, now_ms: int) -> bool:
    """Whether anything may still be granted to the tenant."""
    tenant = state.tenants.get(name)
    if tenant is None or tenant.budget_micro is None or tenant.budget_policy is BudgetPolicy.WARN:
        return True
    at = Instant(now_ms, state.last.wall_ms + now_ms - state.last.ms)
    return meter.spent_micro(state, name, at) < tenant.budget_micro


def is_spent(lease: Lease, now_ms: int) -> bool:
    """Whether the lease has cost all that it may."""
    budget = lease.request.budget_micro
    return budget is not None and meter.cost_micro(lease, now_ms) >= budget


def due(state: State, at: Instant) -> Iterator[Event]:
    """What follows from what has been spent by now: a new month, warnings, leases that are parked."""
    turned = [month for month, _ in calendar.turns(state.month, state.last, at)]
    if turned:
        yield e.MonthBegan(calendar.text(turned[-1]))
        return
    to_park: dict[str, Lease] = {}
    for name, tenant in state.tenants.items():
        if tenant.budget_micro is None:
            continue
        passed = threshold(meter.spent_micro(state, name, at), tenant.budget_micro)
        if passed > tenant.budget_percent:
            yield e.BudgetThresholdPassed(name, passed)
        if passed == SPENT and tenant.budget_policy is BudgetPolicy.PARK:
            costly = (state.leases[lease_id] for lease_id in tenant.active)
            to_park.update({lease.id: lease for lease in costly if lease.billed_micro_per_hour})
    for lease in map(state.leases.__getitem__, state.budgeted):
        if lease.state is LeaseState.ACTIVE:
            passed = threshold(meter.cost_micro(lease, at.ms), lease.request.budget_micro)
            if passed > lease.budget_percent:
                yield e.LeaseBudgetThresholdPassed(lease.id, passed)
            if passed == SPENT:
                to_park[lease.id] = lease
    can = (lease for lease in to_park.values() if parkability.may_park(state, lease, at.ms))
    yield from (e.LeaseParking(lease.id, ParkReason.BUDGET) for lease in can)


def why_parked(lease: Lease) -> Message | None:
    """Return why a lease stays parked although its cell waits, or ``None``."""
    if lease.state is not LeaseState.PARKED or lease.budget_percent < SPENT:
        return None
    return Message.of("budget.stays_parked", lease=lease.id)


def message(state: State, lease: Lease) -> Message | None:
    """Return the message about money that concerns the lease, or ``None``."""
    if (stays := why_parked(lease)) is not None:
        return stays
    if lease.budget_percent == SPENT and lease.state is LeaseState.ACTIVE:
        refusal = parkability.obstacle(state, lease)
        if refusal is None:
            return Message.of("budget.lease_spent_parking")
        return Message.of("budget.lease_spent_continues", reason=refusal)
    if lease.budget_percent:
        return Message.of("budget.lease_percent", spent_percent=lease.budget_percent)
    tenant = state.tenants.get(lease.tenant)
    if tenant is None or not tenant.budget_percent:
        return None
    return _tenant_message(state, lease, tenant)


def _tenant_message(state: State, lease: Lease, tenant: Tenant) -> Message:
    name, percent = lease.tenant, tenant.budget_percent
    if percent < SPENT:
        return Message.of("budget.tenant_percent", tenant=name, spent_percent=percent)
    if tenant.budget_policy is BudgetPolicy.WARN:
        return Message.of("budget.tenant_spent_warn", tenant=name, spent_percent=percent)
    refusal = parkability.obstacle(state, lease) if lease.state is LeaseState.ACTIVE else None
    if tenant.budget_policy is BudgetPolicy.PARK and refusal is not None:
        return Message.of("budget.tenant_spent_continues", tenant=name, spent_percent=percent, reason=refusal)
    return Message.of("budget.tenant_spent_stop", tenant=name, spent_percent=percent)


def apply_budget(state: State, event: e.BudgetSet, at: Instant) -> None:
    """Record what the tenant may spend in a month."""
    tenant = fairshare.tenant_of(state, event.tenant)
    tenant.budget_micro, tenant.budget_policy = event.budget_micro, event.policy
    passed = threshold(meter.spent_micro(state, event.tenant, at), event.budget_micro)
    tenant.budget_percent = min(tenant.budget_percent, passed)


def apply_threshold_passed(state: State, event: e.BudgetThresholdPassed, at: Instant) -> None:
    """Record the last threshold that the tenant has passed this month."""
    state.tenants[event.tenant].budget_percent = event.percent
