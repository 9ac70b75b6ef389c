"""The boot this host is in, and a clock that no administrator and no suspend disturbs."""

from __future__ import annotations

import time
from pathlib import Path


class Clock:
    """The real clocks; tests bring their own."""

    def boot_id(self) -> str:
        """An id that changes with every boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def boot_ms(self) -> int:
        """Milliseconds since boot, suspended time included; never goes back."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        """Milliseconds since 1970: to be shown, never to be computed with."""
        return time.time_ns() // 1_000_000
