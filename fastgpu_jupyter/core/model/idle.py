"""The idle policy: what happens to leases that nothing uses, and when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IdleStep(StrEnum):
    """What is done about an idle lease, from the least to the most that is lost."""

    NOTIFY = "notify"  #: its user gets a message
    PARK = "park"  #: its device memory moves to host memory
    RELEASE = "release"  #: it ends, and its kernel goes on without a device
    SHUT_DOWN = "shut_down"  #: its kernel is shut down, by the Jupyter server that started it


#: All of them in order; to iterate over the enumeration itself takes several times as long.
STEPS = tuple(IdleStep)


@dataclass(frozen=True, slots=True)
class IdleTimes:
    """How long a lease must have been idle for each step; ``None``: the step is never taken."""

    notify_ms: int | None = None
    park_ms: int | None = None
    release_ms: int | None = None
    shut_down_ms: int | None = None

    def by_step(self) -> dict[IdleStep, int]:
        """Return the time of each step that is taken, in the order of :class:`IdleStep`."""
        times = (self.notify_ms, self.park_ms, self.release_ms, self.shut_down_ms)
        return {step: time for step, time in zip(STEPS, times, strict=True) if time is not None}


#: No step is ever taken.
NO_STEPS = IdleTimes()


@dataclass(frozen=True, slots=True)
class IdlePolicy:
    """When a lease is idle, and which steps follow.

    A device is idle while each reading of the last ``window_ms`` is known and below ``utilization_percent``.
    """

    times: IdleTimes = IdleTimes(notify_ms=30 * 60_000)
    by_size: dict[str, IdleTimes] | None = None  #: times of leases of some sizes, by the shortest text of the size
    window_ms: int = 60_000
    utilization_percent: int = 5
    warning_ms: int = 5 * 60_000  #: how long before a step its user is warned; at most half of the step's time
    snooze_ms_max: int = 8 * 3_600_000  #: for how long the steps can be put off, in all, while a lease stays idle

    def times_of(self, size: str) -> IdleTimes:
        """Return the times of leases of a size."""
        return self.times if self.by_size is None else self.by_size.get(size, self.times)


#: The policy of a pool for which none was set: users are notified.
ONLY_NOTIFY = IdlePolicy()
