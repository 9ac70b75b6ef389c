"""What is due as time passes."""

from __future__ import annotations

from itertools import islice

from ..accounting import budgets, reservations
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Instant, State
from ..model.events import Event
from . import cluster, device_health, history, idle

#: How many leases a tick forgets at most: no command has many to forget.
FORGOTTEN_PER_TICK = 16
#: How much a sudden restart of the machine can leave unbilled.
TICK_MS = 60_000


def tick(state: State, command: c.Tick, at: Instant) -> list[Event]:
    """Return what is due: expired and forgotten leases, reservations, budgets, leases to migrate, and a time stamp."""
    stale = islice(history.stale_leases(state, at), FORGOTTEN_PER_TICK)
    expired = [
        e.LeaseEnded(lease_id, EndReason.EXPIRED)
        for lease_id, expires_ms in state.expiring.items()
        if at.ms >= expires_ms
    ]
    due = at.ms - state.last.ms >= TICK_MS
    running = due and any(tenant.active for tenant in state.tenants.values())
    events = [*stale, *expired, *reservations.due(state, at), *budgets.due(state, at), *cluster.due(state, at)]
    if not any(isinstance(event, e.LeaseParking) for event in events):  # one reason to go is enough
        events += device_health.due(state, at)
    events += idle.due(state, at, {getattr(event, "lease_id", "") for event in events})
    return [*events, e.Ticked()] if running else events


def apply_tick(state: State, event: e.Ticked, at: Instant) -> None:
    """Do nothing: only the time of the record matters."""
