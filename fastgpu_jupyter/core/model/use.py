"""What was measured of the notebooks of a tenant, by the day: the basis of advice on sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

#: For how many days measurements are kept.
DAYS_MAX = 14
#: How many notebooks of a tenant are known; beyond this number the ones measured longest ago are forgotten.
NOTEBOOKS_MAX = 256


class MeasuredUse(NamedTuple):
    """What was measured of an active lease since the last record; durations are sums over readings."""

    cells: int = 0  #: that ended
    busy_ms: int = 0  #: while a cell ran
    known_ms: int = 0  #: while the memory in use was known
    unknown_ms: int = 0  #: while it was not
    peak_bytes: int | None = None  #: the most memory that was needed, as far as that is known
    utilization_percent_ms: int = 0  #: percent times milliseconds, while a cell ran and the utilization was known
    utilization_known_ms: int = 0

    def plus(self, other: MeasuredUse) -> MeasuredUse:
        """Return the use of both together."""
        peaks = [one for one in (self.peak_bytes, other.peak_bytes) if one is not None]
        return MeasuredUse(
            self.cells + other.cells,
            self.busy_ms + other.busy_ms,
            self.known_ms + other.known_ms,
            self.unknown_ms + other.unknown_ms,
            max(peaks, default=None),
            self.utilization_percent_ms + other.utilization_percent_ms,
            self.utilization_known_ms + other.utilization_known_ms,
        )


@dataclass(slots=True)
class DayUse:
    """The use of one notebook on one day (UTC), and what was billed for it."""

    use: MeasuredUse = MeasuredUse()  # noqa: RUF009 (a tuple)
    active_ms: int = 0
    cost_numerator: int = 0  #: in micro-units x ms per hour
    first_wall_ms: int = 0
    last_wall_ms: int = 0


@dataclass(slots=True)
class NotebookUse:
    """What is known of one notebook of one tenant."""

    days: dict[int, DayUse] = field(default_factory=dict)  #: by number of the day, :data:`DAYS_MAX` at most
    silenced: bool = False  #: its user wants no advice
