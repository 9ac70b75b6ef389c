"""What each lease and each reservation cost, from the events alone: usage segments, and statements that sum exactly.

A segment is the time in which a lease was active, for one tenant, in one month, at one rate: that of what the
tenant's reservations do not cover (:mod:`.reservation_coverage`). Its cost in micro-units is a fraction; a statement
adds the fractions up and gives each line what the running sum grew by in whole micro-units. So the lines sum to the
total to the micro-unit, however the segments are cut, and no tenant is charged a rounding.

A reservation costs its rate for as long as it runs on the wall clock, whatever the pool did meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ...units import MS_PER_HOUR
from ..model import events as e
from ..model.entities import NO_MONTH, Instant, LeaseRequest, LogicalGPU, Month, Reservation
from ..model.events import Event
from . import calendar, reservation_coverage
from .last_segments import Activity, LastSegments, new_activity
from .reservation_coverage import DeviceModel
from .segment import Segment

NEVER = Instant(0, 0)
Records = Iterable[tuple[Instant, Iterable[Event]]]


@dataclass(slots=True)
class _Open:
    lease_id: str
    tenant: str
    request: LeaseRequest
    logical_gpu: LogicalGPU | None = None
    active: bool = False
    since: Instant | None = None  #: of the segment that is open: while it is active and no device of it is missing
    rate_micro_per_hour: int = 0
    covered_milli: int = 0
    busy: bool | None = None  #: whether a cell runs; ``None``: unknown
    activity: Activity = field(default_factory=new_activity)  #: of a lease of an engine
    counted_until_ms: int = 0  #: up to here the open segment's time is in one of the next two
    busy_ms: int = 0
    idle_ms: int = 0

    def count_activity(self, until_ms: int) -> None:
        """Add the time since the last call to what the kernel did in it, while a segment is open."""
        if self.since is None:
            return
        passed_ms = max(0, until_ms - max(self.counted_until_ms, self.since.ms))
        self.counted_until_ms = max(self.counted_until_ms, until_ms)
        if self.busy:
            self.busy_ms += passed_ms
        elif self.busy is False:
            self.idle_ms += passed_ms


@dataclass(slots=True)
class Ledger:
    """Reads events in order and gives back the segments that they close."""

    month: Month = NO_MONTH
    last: Instant = NEVER
    reservations: dict[str, Reservation] = field(default_factory=dict)
    _names: dict[str, dict[int, str]] = field(default_factory=dict)  #: of users, by tenant and month
    _leases: dict[str, _Open] = field(default_factory=dict)
    _active: dict[str, dict[str, None]] = field(default_factory=dict)  #: by tenant
    _kinds: dict[str, DeviceModel] = field(default_factory=dict)
    _missing: dict[str, None] = field(default_factory=dict)  #: devices
    _last: LastSegments = field(default_factory=LastSegments)

    def take(self, at: Instant, events: Iterable[Event]) -> Iterator[Segment]:
        """The segments that end with what happened at ``at``."""
        for event in events:
            yield from self.turn(at)
            yield from self._read(event, at)
            self.last = at

    def turn(self, at: Instant) -> Iterator[Segment]:
        """Cut all segments where another month begins."""
        if self.month.begins_wall_ms <= at.wall_ms < self.month.ends_wall_ms:
            return
        for month, turned in calendar.turns(self.month, self.last, at):
            yield from self._last.take_all()  # what was billed in a month that is over stands
            for lease in self._open():
                yield from self._cut(lease, turned)
            self.month = month

    def cut(self, until: Instant) -> Iterator[Segment]:
        """The segments that are open, up to ``until``."""
        yield from self.turn(until)
        yield from self._last.take_all()
        for lease in self._open():
            yield from self._cut(lease, until)

    def name_in(self, tenant: str, month: int) -> str | None:
        """Return the name that the tenant's user had in a month, None if none was known until its end."""
        return next((name for begun, name in reversed(self._names.get(tenant, {}).items()) if begun <= month), None)

    def _open(self) -> list[_Open]:
        return [self._leases[lease_id] for active in self._active.values() for lease_id in active]

    def _cut(self, lease: _Open, at: Instant) -> Iterator[Segment]:
        since, gpu = lease.since, lease.logical_gpu
        if since is None or gpu is None:
            return
        lease.count_activity(at.ms)
        lease.since = Instant(max(at.ms, since.ms), at.wall_ms)
        if lease.since.ms > since.ms:
            yield Segment(
                lease.tenant,
                self.month.number,
                lease.lease_id,
                lease.request.notebook,
                lease.request.name,
                gpu.device_ids,
                lease.rate_micro_per_hour,
                lease.covered_milli,
                since,
                lease.since,
                lease.busy_ms,
                lease.idle_ms,
                lease.request.job,
            )
            lease.busy_ms = lease.idle_ms = 0

    def _start(self, lease: _Open, at: Instant) -> Iterator[Segment]:
        lease.active = True
        gpu = lease.logical_gpu
        if gpu is not None and not self._missing.keys().isdisjoint(gpu.local_device_ids):
            return
        lease.since = at
        self._active.setdefault(lease.tenant, {})[lease.lease_id] = None
        if gpu is not None and not self._running(lease.tenant):
            lease.rate_micro_per_hour = gpu.rate_micro_per_hour  # it changes the rate of no other lease
        else:
            yield from self._cover(lease.tenant, at)

    def _stop(self, lease: _Open, at: Instant) -> Iterator[Segment]:
        lease.active = False
        if lease.since is None:
            return
        yield from self._cut(lease, at)
        lease.since = None
        lease.rate_micro_per_hour = lease.covered_milli = 0
        del self._active[lease.tenant][lease.lease_id]
        if self._running(lease.tenant):
            yield from self._cover(lease.tenant, at)

    def _cover(self, tenant: str, at: Instant) -> Iterator[Segment]:
        """Cut the tenant's segments whose rate is another from here on."""
        active = [self._leases[lease_id] for lease_id in self._active.get(tenant, {})]
        held = sorted(
            ((lease.logical_gpu, lease) for lease in active if lease.logical_gpu is not None),
            key=lambda item: (item[0].generation, item[1].lease_id),
        )
        uses = [reservation_coverage.usage_of(lease.lease_id, gpu, self._kinds) for gpu, lease in held]
        covered = reservation_coverage.allocate_reservations(uses, self._running(tenant)).by_lease
        for use, (gpu, lease) in zip(uses, held, strict=True):
            rate = reservation_coverage.billed(gpu.rate_micro_per_hour, use.milli, covered[use.lease_id])
            if (rate, covered[use.lease_id]) != (lease.rate_micro_per_hour, lease.covered_milli):
                yield from self._cut(lease, at)
                lease.rate_micro_per_hour, lease.covered_milli = rate, covered[use.lease_id]

    def _running(self, tenant: str) -> list[Reservation]:
        """Return the reservations of the tenant that hold capacity now."""
        return [one for one in self.reservations.values() if one.tenant == tenant and one.runs]

    def _read(self, event: Event, at: Instant) -> Iterator[Segment]:
        match event:
            case e.DeviceAppeared() | e.DeviceMissing() | e.DeviceVanished():
                yield from self._read_device(event, at)
            case e.TenantNamed():
                self._names.setdefault(event.tenant, {})[self.month.number] = event.name
            case e.LeaseRequested(lease_id=lease_id):
                self._leases[lease_id] = _Open(lease_id, event.tenant, event.request)
            case e.LeaseGranted(lease_id=lease_id) | e.LeaseResuming(lease_id=lease_id):
                self._leases[lease_id].logical_gpu = event.logical_gpu
            case e.LeasePrepared() | e.LeaseResumed() | e.LeaseParkFailed():
                yield from self._start(self._leases[event.lease_id], at)
            case e.LeaseParking(lease_id=lease_id):
                yield from self._stop(self._leases[lease_id], at)
            case e.LeaseActivityReported() | e.HolderBound() | e.LeaseRenamed():
                self._read_holder(event, at)
            case e.LeaseResized() | e.LeaseTransferred():
                yield from self._change(self._leases[event.lease_id], event, at)
            case e.LeaseDraining(lease_id=lease_id) | e.LeaseEnded(lease_id=lease_id):
                yield from self._read_end(lease_id, event, at)
            case e.ReservationMade() | e.ReservationBegan() | e.ReservationEnded():
                known = self.reservations.get(event.reservation_id)
                one = self.reservations[event.reservation_id] = reservation_coverage.after(known, event, at)
                yield from self._cover(one.tenant, at)

    def _read_end(self, lease_id: str, event: e.LeaseDraining | e.LeaseEnded, at: Instant) -> Iterator[Segment]:
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            closed = self._stop(lease, at)
            kept = lease.request.cluster is not None
            yield from self._last.keep(lease_id, closed, lease.activity) if kept else closed
        if isinstance(event, e.LeaseEnded):
            yield from self._last.take(lease_id, event.billed_until_ms)

    def _read_holder(self, event: e.LeaseActivityReported | e.HolderBound | e.LeaseRenamed, at: Instant) -> None:
        lease = self._leases.get(event.lease_id)
        if lease is None:
            return
        if isinstance(event, e.LeaseRenamed):
            lease.request = replace(lease.request, notebook=event.notebook)
            return
        if isinstance(event, e.HolderBound) and lease.request.cluster is not None:
            return  # a server holds it, and what its kernel reported stands
        lease.count_activity(at.ms)
        # A new holder has not said yet what it does.
        lease.busy = event.busy if isinstance(event, e.LeaseActivityReported) else None
        if lease.request.cluster is not None:
            lease.activity.append((at.ms, lease.busy))

    def _read_device(
        self, event: e.DeviceAppeared | e.DeviceMissing | e.DeviceVanished, at: Instant
    ) -> Iterator[Segment]:
        match event:
            case e.DeviceAppeared(spec=spec):
                self._kinds[spec.id] = DeviceModel(spec.model, spec.memory_bytes)
                if spec.id in self._missing:
                    del self._missing[spec.id]
                    for lease in self._active_on(spec.id):
                        yield from self._start(lease, at)
            case e.DeviceMissing(device_id=device_id):
                self._missing[device_id] = None
                for lease in self._active_on(device_id):
                    yield from self._stop(lease, at)
                    lease.active = True  # it goes on once all of its devices are there
            case e.DeviceVanished(device_id=device_id):
                self._missing.pop(device_id, None)

    def _active_on(self, device_id: str) -> list[_Open]:
        leases = (one for one in self._leases.values() if one.active and one.logical_gpu is not None)
        return [one for one in leases if one.logical_gpu and device_id in one.logical_gpu.local_device_ids]

    def _change(self, lease: _Open, event: e.LeaseResized | e.LeaseTransferred, at: Instant) -> Iterator[Segment]:
        was_active = lease.active
        yield from self._stop(lease, at)
        if isinstance(event, e.LeaseTransferred):
            lease.tenant = event.tenant
        else:
            lease.request = event.request
            lease.logical_gpu = event.logical_gpu or lease.logical_gpu
        if was_active:
            yield from self._start(lease, at)


def segments(records: Records, until: Instant, ledger: Ledger | None = None) -> Iterator[Segment]:
    """All segments in the order in which they ended; those still open are cut at ``until``."""
    ledger = Ledger() if ledger is None else ledger
    for at, events in records:
        yield from ledger.take(at, events)
    yield from ledger.cut(until)


class StatementItem(NamedTuple):
    """A line of a statement without its amount."""

    of: Segment | Reservation  #: a lease's time, or a reservation's
    start_wall_ms: int
    duration_ms: int
    rate_micro_per_hour: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line of a statement."""

    item: StatementItem
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What a tenant used in a month."""

    tenant: str
    name: str | None  #: that its user had then, if it was known
    lines: tuple[StatementLine, ...]
    total_micro: int
    active_ms: int
    busy_micro: int  #: what leases cost while a cell ran
    idle_micro: int  #: what leases cost while none ran


def statements(records: Records, month: Month, until: Instant) -> list[Statement]:
    """A statement for each tenant that used or reserved anything in the month, by name; up to ``until``."""
    ledger = Ledger()
    by_tenant: dict[str, list[StatementItem]] = {}
    for one in segments(records, until, ledger):
        if one.month != month.number:
            continue
        item = StatementItem(one, one.start.wall_ms, one.duration_ms, one.rate_micro_per_hour)
        by_tenant.setdefault(one.tenant, []).append(item)
    for reservation in ledger.reservations.values():
        begin, end = _paid_for(reservation, month, until)
        if end > begin:
            item = StatementItem(reservation, begin, end - begin, reservation.rate_micro_per_hour)
            by_tenant.setdefault(reservation.tenant, []).append(item)
    return [
        _statement(tenant, ledger.name_in(tenant, month.number), items) for tenant, items in sorted(by_tenant.items())
    ]


def _paid_for(one: Reservation, month: Month, until: Instant) -> tuple[int, int]:
    """The part of a month for which a reservation is paid, on the wall clock."""
    if one.began_wall_ms is None:
        return 0, 0
    return max(one.began_wall_ms, month.begins_wall_ms), min(one.end_wall_ms, month.ends_wall_ms, until.wall_ms)


def _statement(tenant: str, name: str | None, items: list[StatementItem]) -> Statement:
    """Return the statement with ``items``, which are in the order in which they ended; those that go on are last.

    In that order an amount depends on nothing that happens later, so that the line of a lease that has ended is final.
    """
    lines: list[StatementLine] = []
    numerator = 0
    for item in items:
        before = numerator // MS_PER_HOUR
        numerator += item.rate_micro_per_hour * item.duration_ms
        lines.append(StatementLine(item, numerator // MS_PER_HOUR - before))
    lines.sort(key=lambda line: _by_begin(line.item))
    leased = [item.of for item in items if isinstance(item.of, Segment)]
    return Statement(
        tenant,
        name,
        tuple(lines),
        numerator // MS_PER_HOUR,
        active_ms=sum(one.duration_ms for one in leased),
        busy_micro=sum(one.rate_micro_per_hour * one.busy_ms for one in leased) // MS_PER_HOUR,
        idle_micro=sum(one.rate_micro_per_hour * one.idle_ms for one in leased) // MS_PER_HOUR,
    )


def _by_begin(item: StatementItem) -> tuple[bool, int, str]:
    """Return the key by which lines are shown: leases by their begin, then reservations in their order."""
    return (False, item.of.start.ms, item.of.lease_id) if isinstance(item.of, Segment) else (True, 0, "")
