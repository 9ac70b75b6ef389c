"""The clocks of the host: boot id, running time since boot, and wall time."""

from __future__ import annotations

import time
from pathlib import Path


class SystemClock:
    """The real clocks of the host, as :class:`.protocols.Clock`."""

    def boot_id(self) -> str:
        """Return an id that changes with every boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def boot_ms(self) -> int:
        """Return the milliseconds for which the host has run since boot; never goes back.

        Time in which it was suspended does not count (CLOCK_BOOTTIME would include it): no program uses a GPU then, so
        that it is neither billed nor taken for idleness.
        """
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970, for display only."""
        return time.time_ns() // 1_000_000
