"""What a driver says of the health of its devices, and what one look at a device means. Pure but for the protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from ...core.model.entities import Health


class HealthEvent(NamedTuple):
    """Something happened on a device, which may be on one instance of it only."""

    device_id: str
    xid: int | None  #: ``None``: it is worth a look
    gpu_instance: int | None = None


class HealthReadings(NamedTuple):
    """What one look at a device showed; ``None`` where it cannot say."""

    recovery_action: int | None = None
    remap_pending: bool = False
    remap_failed: bool = False
    uncorrected_errors: int | None = None  #: since it was last reset
    silent: str | None = None  #: the error with which it answers nothing
    lost: bool = False  #: it answers that it is no longer there


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

    def processes(self, device_id: str, gpu_instance: int | None) -> Sequence[int]:
        """Numbers of the processes on it, or on that instance of it. Raises ``HostFault``."""

    def close(self) -> None:
        """Wait for nothing more; called by the thread that waits."""


@runtime_checkable
class WatchableDriver(Protocol):
    """A driver whose devices can fall ill."""

    def watch(self) -> HealthWatcher:
        """Begin to watch, for the thread that will wait. Raises ``HostFault``."""


#: What the driver wants done about a device, by number: how ill it is, and what helps.
RECOVERY: dict[int, HealthReport] = {
    1: HealthReport(Health.FAULTY, "The driver wants this GPU reset (`nvidia-smi --gpu-reset`)."),
    2: HealthReport(Health.FAULTY, "The driver wants this machine restarted for the sake of this GPU."),
    3: HealthReport(Health.SUSPECT, "The driver wants traffic between GPUs drained from this one."),
    4: HealthReport(Health.SUSPECT, "The driver wants this GPU drained and then reset (`nvidia-smi --gpu-reset`)."),
    5: HealthReport(Health.SUSPECT, "The driver wants the memory domain that this GPU shares with others recovered."),
    6: HealthReport(Health.FAULTY, "The driver wants the bus of this GPU reset."),
    7: HealthReport(Health.FAULTY, "The driver wants this machine restarted for the sake of this GPU."),
}
_OTHER_ACTION = HealthReport(Health.SUSPECT, "The driver wants something done about this GPU: see `nvidia-smi -q`.")


def assess(readings: HealthReadings) -> HealthReport:
    """What a look means, the worst first."""
    if readings.lost:
        return HealthReport(Health.FAULTY, f"The GPU is lost to the driver ({readings.silent}).", lost=True)
    if readings.silent:
        return HealthReport(Health.FAULTY, f"The GPU does not answer ({readings.silent}).")
    if readings.remap_failed:
        return HealthReport(Health.FAULTY, "The GPU has bad memory that it could not replace: it should be exchanged.")
    if readings.recovery_action:
        return RECOVERY.get(readings.recovery_action, _OTHER_ACTION)
    if readings.remap_pending:
        return HealthReport(
            Health.SUSPECT, "The GPU has bad memory that is replaced when it is reset (`nvidia-smi --gpu-reset`)."
        )
    if readings.uncorrected_errors:
        return HealthReport(
            Health.SUSPECT,
            f"The GPU has had {readings.uncorrected_errors} memory errors that could not be corrected since it was "
            "last reset.",
        )
    return HealthReport(Health.HEALTHY)
