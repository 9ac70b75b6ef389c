"""The use of notebooks: recorded by the day for each tenant and notebook, within limits."""

from __future__ import annotations

from ...errors import Conflict, Message
from ..accounting import changes, meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, Lease, State
from ..model.events import Event
from ..model.use import DAYS_MAX, NOTEBOOKS_MAX, DayUse, MeasuredUse, NotebookUse
from .lookup import find_lease


def record_use(state: State, command: c.RecordUse, at: Instant) -> list[Event]:
    """Record what was measured of a lease, with what it was billed since the last record."""
    lease = state.leases.get(command.lease_id)
    if lease is None or not is_measured(lease):
        return []
    use, (active_ms, cost_numerator) = command.use, unrecorded(lease, at)
    if not (use.cells or use.known_ms or use.unknown_ms or active_ms):
        return []
    return [e.LeaseUseRecorded(lease.id, *use, active_ms=active_ms, cost_numerator=cost_numerator)]


def is_measured(lease: Lease) -> bool:
    """Return whether the lease is of a notebook's own kernel; what a job of the notebook needs says nothing of that."""
    return lease.request.notebook is not None and lease.request.job is None


def unrecorded(lease: Lease, at: Instant) -> tuple[int, int]:
    """Return for how long the lease was billed, and how much, since the last record."""
    active_ms = meter.active_ms(lease, at.ms) - lease.recorded_active_ms
    return max(0, active_ms), max(0, meter.cost_numerator(lease, at.ms) - lease.recorded_cost_numerator)


def apply_recorded(state: State, event: e.LeaseUseRecorded, at: Instant) -> None:
    """Add the use to that of the lease's notebook on this day; the oldest days and notebooks are forgotten."""
    lease = state.leases[event.lease_id]
    lease.recorded_active_ms += event.active_ms
    lease.recorded_cost_numerator += event.cost_numerator
    notebook = _notebook(state, lease.tenant, lease.request.notebook or "")
    day = notebook.days.setdefault(changes.day_of(at), DayUse(first_wall_ms=at.wall_ms - event.active_ms))
    day.use = day.use.plus(use_of(event))
    day.active_ms += event.active_ms
    day.cost_numerator += event.cost_numerator
    day.last_wall_ms = max(day.last_wall_ms, at.wall_ms)
    while len(notebook.days) > DAYS_MAX:
        del notebook.days[min(notebook.days)]


def take_back(state: State, lease: Lease) -> None:
    """Take back, from the newest days on, what was recorded of the lease and is not billed."""
    active_ms = max(0, lease.recorded_active_ms - lease.active_ms)
    cost_numerator = max(0, lease.recorded_cost_numerator - lease.cost_numerator)
    lease.recorded_active_ms -= active_ms
    lease.recorded_cost_numerator -= cost_numerator
    notebook = state.notebooks.get(lease.tenant, {}).get(lease.request.notebook or "")
    for _, day in sorted(notebook.days.items(), reverse=True) if notebook is not None else ():
        taken_ms, taken = min(active_ms, day.active_ms), min(cost_numerator, day.cost_numerator)
        day.active_ms, day.cost_numerator = day.active_ms - taken_ms, day.cost_numerator - taken
        active_ms, cost_numerator = active_ms - taken_ms, cost_numerator - taken


def use_of(event: e.LeaseUseRecorded) -> MeasuredUse:
    """Return the measurements of a record."""
    return MeasuredUse(*(getattr(event, name) for name in MeasuredUse._fields))


def silence_advice(state: State, command: c.SilenceAdvice, at: Instant) -> list[Event]:
    """Set whether there is advice for the notebook of a lease. Raises :class:`Conflict` where it has none."""
    lease = find_lease(state, command.lease_id)
    name = lease.request.notebook
    if name is None or not is_measured(lease):
        raise Conflict(Message.of("advice.no_notebook"))
    known = state.notebooks.get(lease.tenant, {}).get(name)
    if (known is not None and known.silenced) is command.silenced:
        return []
    return [e.AdviceSilenced(lease.tenant, name, command.silenced)]


def apply_silenced(state: State, event: e.AdviceSilenced, at: Instant) -> None:
    """Record whether there is advice for a notebook."""
    _notebook(state, event.tenant, event.notebook).silenced = event.silenced


def _notebook(state: State, tenant: str, name: str) -> NotebookUse:
    """Return what is known of a notebook, as the last one that was measured."""
    of_tenant = state.notebooks.setdefault(tenant, {})
    notebook = of_tenant.pop(name, None) or NotebookUse()
    of_tenant[name] = notebook
    if len(of_tenant) > NOTEBOOKS_MAX:
        del of_tenant[next(iter(of_tenant))]
    return notebook
