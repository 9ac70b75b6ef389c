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
    """What that means; ``lost``: what was on it is gone."""

    health: Health
    reason: str | None = None
    lost: bool = False


class HealthWatcher(Protocol):
    """The health of one driver's devices. ``wait`` has a thread of its own, the rest another one; both may block."""

    def wait(self) -> HealthEvent | None:
        """What happened next, or ``None`` after less than a second in which nothing did."""

    def look(self, device_id: str) -> HealthReport:
        """How the device is now."""

    def processes(self, device_id: str, partition: int | None) -> Sequence[int]:
        """Return the pids of the processes on the device, or on that partition of it. Raises ``HostFault``."""

    def close(self) -> None:
        """Wait for nothing more; called by the thread that waits."""


@runtime_checkable
class WatchableDriver(Protocol):
    """A driver whose devices can fall ill."""

    def watch(self) -> HealthWatcher:
        """Begin to watch, for the thread that will wait. Raises ``HostFault``."""
