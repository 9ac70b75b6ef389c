"""What passes between the loop and its callers and followers: a command that waits for its answer, and what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...core.model import commands as c
from ...core.model.entities import Instant, State
from ...core.model.events import BudgetSet, BudgetThresholdPassed, DeviceHealthChanged, Event
from ...errors import FastGPUError


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
    ill = {event.device_id for event in events if isinstance(event, DeviceHealthChanged)}
    lease_ids |= {name for one in ill if one in state.devices for name in state.devices[one].lease_ids}
    for lease_id in lease_ids:
        lease = state.leases.get(lease_id)
        device_ids.update(lease.logical_gpu.device_ids if lease and lease.logical_gpu else ())
    return Changes(lease_ids, frozenset(filter(None, device_ids)))


def _tenants_of_money(events: Iterable[Event]) -> set[str]:
    """Whose leases say something else about money by now."""
    return {event.tenant for event in events if isinstance(event, BudgetSet | BudgetThresholdPassed)}


class LeaseDeviceTracker:
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


#: What a caller makes of the state once its command is on disk, and of the id of the lease that it was about.
View = Callable[[State, Instant, str], Any]


class Call(NamedTuple):
    """A command on its way through the loop; ``key`` makes a repeated one find the first one's answer."""

    command: c.Command
    key: str | None
    done: asyncio.Future[Any]
    #: Raises where the caller may not have that done.
    allowed: Callable[[State], object] | None = None
    #: What the caller is answered; without one it is the id of the lease.
    view: View | None = None

    def require_allowed(self, state: State) -> None:
        """Raise what ``allowed`` raises."""
        if self.allowed is not None:
            self.allowed(state)

    def answer(self, state: State, at: Instant, lease_id: str | None) -> None:
        """Tell the caller, unless it gave up; its command stands all the same. ``state`` is the one after it."""
        if self.done.done():
            return
        try:
            self.done.set_result(lease_id if self.view is None or lease_id is None else self.view(state, at, lease_id))
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this caller's)
            self.done.set_exception(error)

    def refuse(self, why: FastGPUError) -> None:
        """Tell the caller that nothing comes of it."""
        if not self.done.done():
            self.done.set_exception(why)
