"""Cells that run without a device while their lease waits for its first grant.

The request keeps its position, and its kernel reports such cells as no activity, because they need no device: they take
no other lease's device, and the rules for idle leases apply from the grant on. A lease whose memory is parked is not
served so: objects of its program are in that memory.
"""

from __future__ import annotations

from ...errors import Conflict, Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, Lease, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from .lookup import find_live_lease
from .transition import advance


def set_cpu_meanwhile(state: State, command: c.SetCpuMeanwhile, at: Instant) -> list[Event]:
    """Set whether cells run without a device until the grant. Raises :class:`Conflict` unless the lease waits for it.

    To let them wait is never refused.
    """
    lease = find_live_lease(state, command.lease_id)
    if command.on and lease.has_image:
        raise Conflict(Message.of("cpu_meanwhile.parked"))
    if command.on and lease.state is not LeaseState.WAITING:
        raise Conflict(Message.of("cpu_meanwhile.granted", state=lease.state.value))
    return [] if lease.cpu_meanwhile is command.on else [e.LeaseCpuMeanwhileSet(lease.id, command.on)]


def apply_set(state: State, event: e.LeaseCpuMeanwhileSet, at: Instant) -> None:
    """Record whether cells run without a device until the grant."""
    advance(state, event.lease_id, event).cpu_meanwhile = event.on


def message(lease: Lease) -> Message | None:
    """Return that cells run without a device, or ``None`` where they wait or have one."""
    return Message.of("cpu_meanwhile.on") if lease.cpu_meanwhile and lease.state is LeaseState.WAITING else None
