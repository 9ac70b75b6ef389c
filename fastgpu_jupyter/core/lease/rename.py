"""Renames: the notebook that a lease is for has another name."""

from __future__ import annotations

from dataclasses import replace

from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event
from .lookup import find_live_lease
from .transition import advance


def rename_lease(state: State, command: c.RenameLease, at: Instant) -> list[Event]:
    """Give the lease the name of its notebook. Raises :class:`Conflict` where it is over, because its bill is final."""
    lease = find_live_lease(state, command.lease_id)
    return [] if lease.request.notebook == command.notebook else [e.LeaseRenamed(lease.id, command.notebook)]


def apply_renamed(state: State, event: e.LeaseRenamed, at: Instant) -> None:
    """Record the name of the notebook."""
    lease = advance(state, event.lease_id, event)
    lease.request = replace(lease.request, notebook=event.notebook)
