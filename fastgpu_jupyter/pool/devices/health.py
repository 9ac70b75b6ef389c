"""The health of devices as a driver reports it: events, checks, and the protocol of a watcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from ...core.model.entities import DeviceFault, Health


class HealthEvent(NamedTuple):
    """An event on a device, or on one partition of it."""

    device_id: str
    fault: DeviceFault | None  #: ``None``: the event is a reason to check the device
    partition: int | None = None  #: the driver's number of the partition


class HealthReport(NamedTuple):
    """The result of a check of a device."""

    health: Health
    reason: str | None = None
    lost: bool = False  #: the device is gone, with the memory of every lease on it


class HealthWatcher(Protocol):
    """The health of one driver's devices. ``next_event`` has a thread of its own, the rest another; both may block."""

    def next_event(self) -> HealthEvent | None:
        """Return the next event, or ``None`` after less than a second without one."""

    def check(self, device_id: str) -> HealthReport:
        """Return the health of the device now."""

    def processes(self, device_id: str, partition: int | None) -> Sequence[int]:
        """Return the pids of the processes on the device, or on that partition of it. Raises ``HostFault``."""

    def close(self) -> None:
        """Close the watcher; called by the thread that waits for events."""


@runtime_checkable
class WatchableDriver(Protocol):
    """A driver that reports the health of its devices."""

    def watch(self) -> HealthWatcher:
        """Return a watcher, for the thread that will wait for events. Raises ``HostFault``."""
