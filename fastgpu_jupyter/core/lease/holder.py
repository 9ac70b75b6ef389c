"""The process that holds a lease, and what it reports about its cells."""

from __future__ import annotations

from ..accounting import budgets
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from . import cluster, idle, migration, parking
from .lookup import find_live_lease
from .transition import advance


def bind_holder(state: State, command: c.BindHolder, at: Instant) -> list[Event]:
    """Let another process hold the lease."""
    lease = find_live_lease(state, command.lease_id)
    if lease.holder == command.holder and lease.orphaned_since_ms is None:
        return []
    return [*migration.rebound(state, lease), e.HolderBound(lease.id, command.holder)]


def apply_bound(state: State, event: e.HolderBound, at: Instant) -> None:
    """Record the new holder; nothing is known of its cells and libraries yet.

    A lease of an engine is held by a server, and what its kernel reported stands.
    """
    lease = advance(state, event.lease_id, event)
    if lease.cluster_job is not None:
        lease.holder = event.holder
        cluster.forget_orphan(state, lease)
        return
    lease.holder, lease.busy, lease.fault = event.holder, None, None
    lease.resize_unacknowledged, lease.libraries_needing_restart = False, ()
    parking.forget_failures(lease)
    idle.note_cell(state, lease, at)


def report_activity(state: State, command: c.ReportActivity, at: Instant) -> list[Event]:
    """Record whether a cell runs; one that begins requests a parked lease back."""
    lease = find_live_lease(state, command.lease_id)
    events: list[Event] = []
    if lease.busy is not command.busy:
        events.append(e.LeaseActivityReported(lease.id, command.busy))
    wakes = command.busy and lease.state is LeaseState.PARKED and not budgets.is_spent(lease, at.ms)
    return [*events, e.LeaseResumeRequested(lease.id)] if wakes else events


def apply_activity(state: State, event: e.LeaseActivityReported, at: Instant) -> None:
    """Record what the kernel reported about its cells."""
    lease = advance(state, event.lease_id, event)
    if lease.busy is not None or event.busy:  # else the kernel says that it has been idle since its start
        lease.last_activity_ms = at.ms
    lease.busy = event.busy
    if event.busy:
        idle.note_cell(state, lease, at)
