"""How many changes each tenant made today (UTC). Each is a record of the journal, which must not grow without a limit.

Only commands that a user gives without need are counted. What ends a wait, gives capacity back or says what is so is
never counted and never refused: release, park, bind, cancel, and the reports of kernels, servers and devices.
"""

from __future__ import annotations

from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event

DAY_MS = 86_400_000
#: The changes of administrators are counted together, whatever tenant they are about. No key of a tenant is like it.
ADMINISTRATORS = "administrators"


def counted_tenant(state: State, command: c.Command) -> str | None:
    """Return the tenant to whose changes ``command`` is counted, or ``None`` if it is not counted."""
    if isinstance(command, c.RequestLease):
        return command.tenant
    if type(command) in c.ADMINISTRATIVE_CHANGES:
        return ADMINISTRATORS
    if type(command) in c.CHANGES_OF_A_LEASE:
        lease = state.leases.get(getattr(command, "lease_id", ""))
        return lease.tenant if lease else None
    return None


def made_today(state: State, tenant: str, at: Instant) -> int:
    """Return how many changes of the tenant were counted on the day of ``at``."""
    return state.changes.get(tenant, 0) if day_of(at) == state.changes_day else 0


def day_of(at: Instant) -> int:
    """Return the number of the day (UTC) of ``at``."""
    return at.wall_ms // DAY_MS


def reset_wall_ms(at: Instant) -> int:
    """Return when the count begins again: the first millisecond of the next day, on the wall clock."""
    return (day_of(at) + 1) * DAY_MS


def count_change(state: State, command: c.CountChange, at: Instant) -> list[Event]:
    """Count one change of a tenant."""
    return [e.ChangeCounted(command.tenant)]


def apply_counted(state: State, event: e.ChangeCounted, at: Instant) -> None:
    """Add one to the changes of the tenant on this day; those of other days are forgotten."""
    if day_of(at) != state.changes_day:
        state.changes_day = day_of(at)
        state.changes.clear()
    state.changes[event.tenant] = state.changes.get(event.tenant, 0) + 1
