"""The last segments of leases of an engine, until it is known when their jobs ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..model.entities import Instant
from .segment import Segment

#: From when on a cell ran or not, or that was unknown; the newest changes only.
Activity = deque[tuple[int, bool | None]]
#: After the end of a job its server reports at most that no cell runs any more.
_CHANGES_MAX = 4


def new_activity() -> Activity:
    """Return that nothing is known yet."""
    return deque(maxlen=_CHANGES_MAX)


class LastSegments:
    """Segments that are closed and may be shortened, by lease."""

    def __init__(self) -> None:
        self._segments: dict[str, tuple[Segment, Activity]] = {}

    def keep(self, lease_id: str, closed: Iterable[Segment], activity: Activity) -> Iterator[Segment]:
        """Keep the lease's own segment of those that were closed with it, and yield the others."""
        for segment in closed:
            if segment.lease_id == lease_id:
                self._segments[lease_id] = (segment, activity)
            else:
                yield segment

    def take(self, lease_id: str, until_ms: int | None) -> Iterator[Segment]:
        """Yield the segment of a lease that is over, up to ``until_ms`` where that is known; none where it is empty."""
        segment, activity = self._segments.pop(lease_id, (None, None))
        if segment is None or activity is None:
            return
        if until_ms is not None and until_ms < segment.end.ms:
            segment = _shortened(segment, activity, max(until_ms, segment.start.ms))
        if segment.duration_ms:
            yield segment

    def take_all(self) -> Iterator[Segment]:
        """Yield all segments as they are."""
        for lease_id in list(self._segments):
            yield from self.take(lease_id, None)


def _shortened(segment: Segment, activity: Activity, until_ms: int) -> Segment:
    """Return the segment up to ``until_ms``, without what its kernel is said to have done after that."""
    busy_ms, idle_ms, end_ms = segment.busy_ms, segment.idle_ms, segment.end.ms
    for since_ms, busy in reversed(activity):
        counted_ms = max(0, end_ms - max(since_ms, until_ms))
        busy_ms -= counted_ms * (busy is True)
        idle_ms -= counted_ms * (busy is False)
        end_ms = min(end_ms, since_ms)
    duration_ms = until_ms - segment.start.ms
    busy_ms = min(max(0, busy_ms), duration_ms)
    return replace(
        segment,
        end=Instant(until_ms, segment.end.wall_ms - (segment.end.ms - until_ms)),
        busy_ms=busy_ms,
        idle_ms=min(max(0, idle_ms), duration_ms - busy_ms),
    )
