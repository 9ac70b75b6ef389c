"""What each lease cost, from the events alone: usage segments, and statements by month that sum exactly.

A segment is the time in which a lease was active, at one rate. Its cost in micro-units is a fraction; a statement adds
the fractions up and gives each line what the running sum grew by in whole micro-units. So the lines sum to the total to
the micro-unit, however the segments are cut, and nobody is charged a rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..units import MS_PER_HOUR
from . import events as e
from .events import Event
from .model import Instant, LeaseRequest, LogicalGPU


@dataclass(frozen=True, slots=True)
class Segment:
    """A lease was active from ``start`` to ``end``."""

    tenant: str
    lease_id: str
    notebook: str | None
    size: str
    device_ids: tuple[str, ...]
    rate_micro_per_hour: int
    start: Instant
    end: Instant

    @property
    def duration_ms(self) -> int:
        """How long; on the clock that never jumps."""
        return self.end.ms - self.start.ms

    def within(self, from_wall_ms: int, to_wall_ms: int) -> Segment | None:
        """The part of it between two wall-clock times, or ``None``; parts of adjoining times add up to the whole."""
        start, end = self._at(from_wall_ms), self._at(to_wall_ms)
        if end.ms <= start.ms:
            return None
        return Segment(
            self.tenant, self.lease_id, self.notebook, self.size, self.device_ids, self.rate_micro_per_hour, start, end
        )

    def _at(self, wall_ms: int) -> Instant:
        # The wall clock at the start decides; if it was set meanwhile, the end of the segment is where it was.
        ms = min(max(self.start.ms, self.start.ms + wall_ms - self.start.wall_ms), self.end.ms)
        return Instant(ms, self.start.wall_ms + ms - self.start.ms)


@dataclass(slots=True)
class _Open:
    lease_id: str
    tenant: str
    request: LeaseRequest
    logical_gpu: LogicalGPU | None = None
    since: Instant | None = None


def segments(records: Iterable[tuple[Instant, Iterable[Event]]], until: Instant) -> Iterator[Segment]:
    """All segments in the order in which they ended; those still open are cut at ``until``."""
    leases: dict[str, _Open] = {}
    for at, events in records:
        for event in events:
            match event:
                case e.LeaseRequested(lease_id=lease_id):
                    leases[lease_id] = _Open(lease_id, event.tenant, event.request)
                case e.LeaseGranted(logical_gpu=logical_gpu) | e.LeaseResuming(logical_gpu=logical_gpu):
                    leases[event.lease_id].logical_gpu = logical_gpu
                case e.LeasePrepared() | e.LeaseResumed() | e.LeaseNotParked():
                    leases[event.lease_id].since = at
                case e.LeaseParking(lease_id=lease_id):
                    yield from _close(leases[lease_id], at)
                    leases[lease_id].since = None
                case e.LeaseResized(lease_id=lease_id, request=request, logical_gpu=resized):
                    lease = leases[lease_id]
                    yield from _close(lease, at)
                    lease.request, lease.logical_gpu = request, resized
                    lease.since = at if lease.since else None
                case e.LeaseTransferred(lease_id=lease_id, tenant=tenant):
                    lease = leases[lease_id]
                    yield from _close(lease, at)
                    lease.tenant, lease.since = tenant, at if lease.since else None
                case e.LeaseDraining(lease_id=lease_id) | e.LeaseEnded(lease_id=lease_id):
                    yield from _close(leases.pop(lease_id, None), at)
    for lease in leases.values():
        yield from _close(lease, until)


def _close(lease: _Open | None, end: Instant) -> Iterator[Segment]:
    if lease is None or lease.since is None or lease.logical_gpu is None:
        return
    gpu = lease.logical_gpu
    yield Segment(
        lease.tenant,
        lease.lease_id,
        lease.request.notebook,
        lease.request.name,
        gpu.device_ids,
        gpu.rate_micro_per_hour,
        lease.since,
        Instant(max(end.ms, lease.since.ms), end.wall_ms),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement."""

    segment: Segment
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What a tenant used between two wall-clock times."""

    tenant: str
    lines: tuple[Line, ...]
    total_micro: int
    active_ms: int


def statements(found: Iterable[Segment], from_wall_ms: int, to_wall_ms: int) -> list[Statement]:
    """A statement for each tenant that used anything between the two times, by name."""
    by_tenant: dict[str, list[Segment]] = {}
    for segment in found:
        part = segment.within(from_wall_ms, to_wall_ms)
        if part is not None:
            by_tenant.setdefault(part.tenant, []).append(part)
    return [_statement(tenant, parts) for tenant, parts in sorted(by_tenant.items())]


def _statement(tenant: str, parts: list[Segment]) -> Statement:
    lines, numerator = [], 0
    for part in sorted(parts, key=lambda part: (part.start.ms, part.lease_id)):
        before = numerator // MS_PER_HOUR
        numerator += part.rate_micro_per_hour * part.duration_ms
        lines.append(Line(part, numerator // MS_PER_HOUR - before))
    return Statement(tenant, tuple(lines), numerator // MS_PER_HOUR, sum(part.duration_ms for part in parts))
