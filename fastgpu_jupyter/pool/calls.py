"""What passes between the loop and its callers and followers: a command that waits for its answer, and what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from ..core import commands as c
from ..core.events import BudgetPassed, BudgetSet, Event
from ..core.model import State
from ..errors import FastGPUError


class Changes(NamedTuple):
    """What one write changed, for whoever follows the pool."""

    lease_ids: frozenset[str]
    device_ids: frozenset[str]
    pool: bool = False  #: the pool manager itself, such as whether it grants

    def merged(self, other: Changes) -> Changes:
        """Both as one."""
        return Changes(self.lease_ids | other.lease_ids, self.device_ids | other.device_ids, self.pool or other.pool)


def changes_of(events: Iterable[Event], state: State) -> Changes:
    """What ``events`` were about; ``state`` is the one after them."""
    events = list(events)
    lease_ids = frozenset(filter(None, (getattr(event, "lease_id", None) for event in events)))
    tenants = _tenants_of_money(events)
    if tenants:
        lease_ids |= {lease.id for lease in state.leases.values() if lease.tenant in tenants}
    device_ids = {getattr(event, "device_id", None) for event in events}
    for lease_id in lease_ids:
        lease = state.leases.get(lease_id)
        device_ids.update(lease.logical_gpu.device_ids if lease and lease.logical_gpu else ())
    return Changes(lease_ids, frozenset(filter(None, device_ids)))


def _tenants_of_money(events: Iterable[Event]) -> set[str]:
    """Whose leases say something else about money by now."""
    return {event.tenant for event in events if isinstance(event, BudgetSet | BudgetPassed)}


class Whereabouts:
    """On which devices each lease was last seen: one that is parked has left them, and they are news, too."""

    def __init__(self, state: State) -> None:
        self._devices = {lease_id: _devices_of(state, lease_id) for lease_id in state.leases}

    def follow(self, changes: Changes, state: State) -> Changes:
        """``changes``, and the devices that its leases are on no longer; ``state`` is the one after them."""
        left: set[str] = set()
        for lease_id in changes.lease_ids:
            left.update(self._devices.pop(lease_id, ()))
            if devices := _devices_of(state, lease_id):
                self._devices[lease_id] = devices
        return changes._replace(device_ids=changes.device_ids | left)


def _devices_of(state: State, lease_id: str) -> tuple[str, ...]:
    lease = state.leases.get(lease_id)
    return lease.logical_gpu.device_ids if lease and lease.logical_gpu else ()


class Call(NamedTuple):
    """A command on its way through the loop; ``key`` makes a repeated one find the first one's answer."""

    command: c.Command
    key: str | None
    done: asyncio.Future[str | None]

    def answer(self, result: str | FastGPUError | None) -> None:
        """Tell the caller, unless it gave up; its command stands all the same."""
        if self.done.done():
            return
        if isinstance(result, FastGPUError):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)
