"""Who is granted what, next: the order of the queue and the devices that are kept for its head.

The order is that of :class:`~fastgpu_jupyter.core.line.Rank`: first who waited too long (:data:`AGING_GRANTS`), then by
priority class, then the tenant that has used least per weight, then by arrival. Requests of one size stand in one
line, because what serves one of them serves any; only the best of each line is ever compared.

Where the best of a line cannot be served, devices are *kept* for it: nobody behind it is placed on them, so that it
gets them when they drain. Others go past it only on devices that it could not have anyway (conservative backfill).

All of this follows from the state and can be made anew from it at any time; nothing here is journalled.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import fairshare, placement
from .ask import Size
from .line import Line, Rank
from .model import Lease, PendingReason, State, Tenant
from .placement import Devices

#: A request that has seen so many grants to others goes before everybody else.
AGING_GRANTS = 1000
#: Lines that devices are kept for at once.
KEPT_LINES_MAX = 16
#: What a tenant holds counts as if used for so long already: a burst is not free while its use is still to come.
ADVANCE_MS = 600_000


class Scheduler:
    """The queue and the devices of one state, indexed for quick decisions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ms = state.last.ms
        self._lines: dict[Size, Line] = {}
        #: Lines that may have become servable since they were last looked at.
        self._hopeful: set[Size] = set()
        self._kept: dict[Size, tuple[str, ...]] = {}
        for lease_id in state.queue:
            self.requested(state.leases[lease_id])

    # -- what happened ------------------------------------------------------------------------------------------------

    def requested(self, lease: Lease) -> None:
        """``lease`` begins to wait."""
        size = lease.request.size
        if size not in self._lines:
            self._lines[size] = Line(self._used, self._is_overdue)
        self._lines[size].add(lease)
        self._hopeful.add(size)

    def left(self, lease: Lease) -> None:
        """``lease`` waits no longer: it was granted, or gave up."""
        size = lease.request.size
        line = self._lines[size]
        line.remove(lease)
        if not len(line):
            del self._lines[size]
        if self._kept.pop(size, None) is not None or size not in self._lines:
            self._hopeful.update(self._lines)
        self._hopeful.add(size)

    def freed(self, tenant: str | None = None) -> None:
        """There is more room: on a device, or below a tenant's limit."""
        self._hopeful.update(self._lines)
        if tenant is not None:
            for line in self._lines.values():
                line.refresh(tenant)

    # -- what follows -------------------------------------------------------------------------------------------------

    def next_grant(self, now_ms: int) -> tuple[Lease, Devices] | None:
        """The one to be granted next and its devices, or ``None`` where everybody who waits has to."""
        self._now_ms = max(now_ms, self._now_ms)
        self._hopeful &= self._lines.keys()
        if not self._hopeful:
            return None
        limited: set[str] = set()
        while True:
            found = self._first_placeable(limited)
            if found is None:
                return None
            lease, devices = found
            if self._within_limit(lease, devices):
                return found
            limited.add(lease.tenant)

    def _first_placeable(self, limited: set[str]) -> tuple[Lease, Devices] | None:
        taken: set[str] = set()  # devices kept for lines that come first
        for _, lease, size in sorted(self._heads(limited)):
            if size in self._hopeful:
                devices = placement.place(self._state, size, taken)
                if devices is not None:
                    return lease, devices
                if not limited:
                    self._hopeful.discard(size)
                self._keep(size, taken)
            taken.update(self._kept.get(size, ()))
        return None

    def _heads(self, limited: set[str]) -> Iterator[tuple[Rank, Lease, Size]]:
        for size, line in self._lines.items():
            best = line.best(limited)
            if best is not None:
                yield *best, size

    def _keep(self, size: Size, taken: set[str]) -> None:
        """Choose the devices that will serve the best of the line soonest, unless others came first."""
        if size not in self._kept and len(self._kept) >= KEPT_LINES_MAX:
            return
        devices = placement.soonest(self._state, size, taken)
        if devices:
            self._kept[size] = devices
        else:
            self._kept.pop(size, None)

    def _within_limit(self, lease: Lease, devices: Devices) -> bool:
        tenant = self._state.tenants.get(lease.tenant)
        if tenant is None or tenant.limit_milli is None:
            return True
        return tenant.held_milli + placement.milli(lease.request.size, devices) <= tenant.limit_milli

    def _used(self, name: str) -> float:
        return used_in_advance(self._state, name, self._now_ms, 0)

    def _is_overdue(self, lease: Lease) -> bool:
        return self._state.generations - lease.grants_before >= AGING_GRANTS


def used_in_advance(state: State, name: str, now_ms: int, more_milli: int) -> float:
    """The tenant's use per weight, with what it holds and ``more_milli`` besides counted for a while ahead."""
    tenant = state.tenants.get(name) or Tenant()
    ahead = fairshare.scaled(state, (tenant.held_milli + more_milli) * ADVANCE_MS, now_ms)
    return fairshare.key(state, name, now_ms) + ahead / tenant.weight


def places(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Everybody who waits in the order in which they would be served now, with place (1 is next) and reason.

    A function of the state alone: two reads without an event between them are equal.
    """
    reasons: dict[Size, PendingReason] = {}
    for place, lease in enumerate(_in_order(state), start=1):
        size = lease.request.size
        if size not in reasons:
            reasons[size] = placement.why_not(state, size)
        yield lease, place, _reason(state, lease, reasons[size])


def _in_order(state: State) -> list[Lease]:
    asked: dict[str, int] = {}  # what a tenant would hold by then, were its earlier tickets granted
    ranked: list[tuple[Rank, Lease]] = []
    waiting = [state.leases[lease_id] for lease_id in state.queue]
    for lease in sorted(waiting, key=lambda lease: (-lease.request.priority, lease.arrival)):
        before = asked.get(lease.tenant, 0)
        asked[lease.tenant] = before + placement.nominal_milli(state, lease.request.size)
        overdue = state.generations - lease.grants_before >= AGING_GRANTS
        lower, used = -lease.request.priority, used_in_advance(state, lease.tenant, state.last.ms, before)
        rank = Rank(on_time=True, lower=lower, used=used, arrival=lease.arrival)
        ranked.append((Rank(on_time=False, lower=0, used=0.0, arrival=lease.arrival) if overdue else rank, lease))
    ranked.sort(key=lambda item: item[0])
    return [lease for _, lease in ranked]


def _reason(state: State, lease: Lease, reason: PendingReason) -> PendingReason:
    tenant = state.tenants.get(lease.tenant)
    if tenant is not None and tenant.limit_milli is not None:
        wanted = placement.nominal_milli(state, lease.request.size)
        if tenant.held_milli + wanted > tenant.limit_milli:
            return PendingReason.QUOTA
    return reason
