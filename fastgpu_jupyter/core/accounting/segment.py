"""Usage segments: for how long, and at which rate, a lease was active for one tenant in one month."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.entities import Instant


@dataclass(frozen=True, slots=True)
class Segment:
    """A lease was active from ``start`` to ``end``."""

    tenant: str
    month: int  #: number of the month that it is counted to
    lease_id: str
    notebook: str | None
    size: str
    device_ids: tuple[str, ...]
    rate_micro_per_hour: int  #: what is paid by use
    covered_milli: int  #: what reservations pay, in thousandths of devices
    start: Instant
    end: Instant
    busy_ms: int = 0  #: for which a cell of the lease's kernel ran
    idle_ms: int = 0  #: for which none ran; what is left of the duration is unknown
    job: str | None = None  #: the shown name of the job that it was for

    @property
    def duration_ms(self) -> int:
        """How long; on the clock that never jumps."""
        return self.end.ms - self.start.ms

    @property
    def numerator(self) -> int:
        """What it cost, in micro-units x milliseconds per hour."""
        return self.rate_micro_per_hour * self.duration_ms
