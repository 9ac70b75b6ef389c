"""The budget of a single lease; those of tenants are in :mod:`core.accounting.budgets`."""

from __future__ import annotations

from dataclasses import replace

from ...errors import InvalidRequest, Message
from ..accounting import budgets, meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from .lookup import find_live_lease
from .transition import advance


def set_lease_budget(state: State, command: c.SetLeaseBudget, at: Instant) -> list[Event]:
    """Set what the lease may cost in all; one that is parked because its budget is spent is resumed."""
    lease = find_live_lease(state, command.lease_id)
    budget = command.budget_micro
    if budget is not None and budget <= meter.cost_micro(lease, at.ms):
        raise InvalidRequest(Message.of("budget.below_cost"))
    if lease.request.budget_micro == budget:
        return []
    stopped = lease.state is LeaseState.PARKED and budgets.is_spent(lease, at.ms)
    wakes = stopped and lease.busy is not False
    event = e.LeaseBudgetSet(lease.id, budget)
    return [event, e.LeaseResumeRequested(lease.id)] if wakes else [event]


def apply_budget(state: State, event: e.LeaseBudgetSet, at: Instant) -> None:
    """Record the budget of the lease."""
    lease = advance(state, event.lease_id, event)
    lease.request = replace(lease.request, budget_micro=event.budget_micro)
    if event.budget_micro is None:
        state.budgeted.pop(lease.id, None)
    else:
        state.budgeted[lease.id] = None
    passed = budgets.threshold(meter.cost_micro(lease, at.ms), event.budget_micro)
    lease.budget_percent = min(lease.budget_percent, passed)


def apply_threshold_passed(state: State, event: e.LeaseBudgetThresholdPassed, at: Instant) -> None:
    """Record the last threshold that the lease has passed."""
    advance(state, event.lease_id, event).budget_percent = event.percent
