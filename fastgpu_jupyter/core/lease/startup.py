"""The start of a pool manager, after a restart of the machine as well."""

from __future__ import annotations

from ...errors import Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Instant, State
from ..model.events import Event
from ..model.lifecycle import EXPOSED_TO_FAULTS, WITHOUT_CAPACITY
from . import cluster, device_health, idle, presence


def start_pool(state: State, command: c.StartPool, at: Instant) -> list[Event]:
    """Begin a new life of the pool; where the machine was restarted every lease on it has ended."""
    if command.boot_id == state.boot_id:
        return [e.PoolStarted(command.boot_id, state.clock_epoch_ms)]
    # No process survives a reboot: every lease ended when the journal last heard of it, and time goes on from there.
    started = e.PoolStarted(command.boot_id, command.boot_clock_ms - state.last.ms)
    events: list[Event] = [started, *device_health.rebooted(state)]
    for lease in state.leases.values():
        if (kept := cluster.without_holder(lease)) is not None:  # its job is on another machine
            events += kept
        elif lease.state in EXPOSED_TO_FAULTS:
            events.append(e.LeaseDraining(lease.id, EndReason.HOLDER_DIED, Message.of("end.machine_restarted")))
        elif lease.state in WITHOUT_CAPACITY:
            events.append(e.LeaseEnded(lease.id, EndReason.HOLDER_DIED, Message.of("end.machine_restarted")))
    return events


def apply_started(state: State, event: e.PoolStarted, at: Instant) -> None:
    """Record the boot of the machine, and the clock that goes on from there."""
    state.before_start, state.started = state.last, at
    state.boot_id, state.clock_epoch_ms = event.boot_id, event.clock_epoch_ms
    presence.restart_countdown(state, at)
    idle.note_start(state, at)
