"""The clocks of the host: boot id, time since boot, and wall time."""

from __future__ import annotations

import time
from pathlib import Path


class SystemClock:
    """The real clocks of the host, as :class:`.protocols.Clock`."""

    def boot_id(self) -> str:
        """Return an id that changes with every boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def boot_ms(self) -> int:
        """Return the milliseconds since boot, suspended time included; never goes back."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970, for display only."""
        return time.time_ns() // 1_000_000
