"""The sliding window in which the readings of a device show whether it is idle."""

from __future__ import annotations

#: Readings that are further apart do not belong together: what happened between them is unknown.
GAP_MS_MAX = 5000


class IdleWindow:
    """The readings of the device of one lease, as far as they matter: since when all are low."""

    def __init__(self) -> None:
        self._low_since_ms: int | None = None
        self._last_ms: int | None = None

    def add(self, at_ms: int, percent: int | None, below_percent: int) -> None:
        """Add the reading at ``at_ms``; ``None`` is an unknown one, which is not low."""
        last_ms, self._last_ms = self._last_ms, at_ms
        if percent is None or percent >= below_percent:
            self._low_since_ms = None
        elif self._low_since_ms is None or last_ms is None or not 0 <= at_ms - last_ms <= GAP_MS_MAX:
            self._low_since_ms = at_ms

    def pass_over(self, at_ms: int) -> None:
        """Record that there is no reading at ``at_ms``, for a reason other than the use of the device."""
        self._last_ms = at_ms

    @property
    def low_since_ms(self) -> int | None:
        """Return since when all readings are low and without a gap; ``None`` if the last one is not."""
        return self._low_since_ms

    def idle_since_ms(self, window_ms: int) -> int | None:
        """Return since when the device is idle; ``None`` unless the low readings fill the window."""
        low_ms, last_ms = self._low_since_ms, self._last_ms
        return low_ms if low_ms is not None and last_ms is not None and last_ms - low_ms >= window_ms else None
