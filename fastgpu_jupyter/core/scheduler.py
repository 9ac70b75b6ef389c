"""Who is granted what, next: the order of the queue and the devices that are kept for its head.

The order is that of :class:`~fastgpu_jupyter.core.line.Rank`: first who waited too long (:data:`AGING_GRANTS`), then by
priority class, then the tenant that stands first (:mod:`.fairshare`), then by arrival. Requests that want the same
stand in one line, because what serves one of them serves any; only the best of each line is ever compared.

Where the best of a line cannot be served, devices are *kept* for it: nobody behind it is placed on them, so that it
gets them when they drain. Others go past it only on devices that it could not have anyway (conservative backfill).

All of this follows from the state and can be made anew from it at any time; nothing here is journalled.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from . import budgets, fairshare, placement, reserved
from .fairshare import Standing
from .line import Line, Rank
from .model import Lease, PendingReason, Priority, State, Want
from .placement import Devices

#: A request that has seen so many grants to others goes before everybody else.
AGING_GRANTS = 1000
#: For how many of those who wait room is made at once.
UNSERVED_MAX = 256
#: Lines that devices are kept for at once.
KEPT_LINES_MAX = 16


class Scheduler:
    """The queue and the devices of one state, indexed for quick decisions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ms = state.last.ms
        self._lines: dict[Want, Line] = {}
        #: Lines that may have become servable since they were last looked at.
        self._hopeful: set[Want] = set()
        self._kept: dict[Want, tuple[str, ...]] = {}
        for lease_id in state.queue:
            self.requested(state.leases[lease_id])

    # -- what happened ------------------------------------------------------------------------------------------------

    def requested(self, lease: Lease) -> None:
        """``lease`` begins to wait."""
        want = lease.want
        if want not in self._lines:
            self._lines[want] = Line(self._standing, self._is_overdue)
        self._lines[want].add(lease)
        self._hopeful.add(want)

    def left(self, lease: Lease) -> None:
        """``lease`` waits no longer: it was granted, or gave up."""
        want = lease.want
        line = self._lines[want]
        line.remove(lease)
        if not len(line):
            del self._lines[want]
        if self._kept.pop(want, None) is not None or want not in self._lines:
            self._hopeful.update(self._lines)
        self._hopeful.add(want)

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
        refused = _Refused(self._state)
        while True:
            before = refused.count
            found = self._first_placeable(refused)
            if found is not None:
                lease, devices = found
                if not self._within_limit(lease, devices):
                    refused.tenant(lease)
                elif not refused.lending.leaves_room(lease, devices):
                    refused.like(lease)
                else:
                    return found
            elif refused.count == before:
                return None

    def highest(self) -> Priority:
        """The highest priority class of those who wait."""
        return max((line.highest() for line in self._lines.values()), default=Priority.LOW)

    def unserved(self, now_ms: int) -> Iterator[tuple[Lease, tuple[str, ...]]]:
        """Those who would be served next if there were room, one of each tenant, and the devices kept for its like."""
        self._now_ms = max(now_ms, self._now_ms)
        lending = reserved.Lending(self._state)
        for _, lease in heapq.merge(*(line.first(UNSERVED_MAX) for line in self._lines.values())):
            if self._may_have_more(lease) and lending.may_hope(lease):
                yield lease, self._kept.get(lease.want, ())

    def _first_placeable(self, refused: _Refused) -> tuple[Lease, Devices] | None:
        """The first that fits; ``None`` also where another was refused, so that others may go before it."""
        taken: set[str] = set()  # devices kept for lines that come first
        for _, lease, want in sorted(self._heads(refused)):
            # Who may have no more keeps nothing from others.
            if not self._may_have_more(lease):
                refused.tenant(lease)
                return None
            if want in self._hopeful:
                devices = placement.place(self._state, want, taken)
                if devices is not None:
                    return lease, devices
                if not refused.lending.may_hope(lease):
                    refused.like(lease)
                    return None
                if not refused.count:
                    self._hopeful.discard(want)
                self._keep(want, taken)
            taken.update(self._kept.get(want, ()))
        return None

    def _heads(self, refused: _Refused) -> Iterator[tuple[Rank, Lease, Want]]:
        for want, line in self._lines.items():
            best = line.best(refused.of(want))
            if best is not None:
                yield *best, want

    def _keep(self, want: Want, taken: set[str]) -> None:
        """Choose the devices that will serve the best of the line soonest, unless others came first."""
        if want not in self._kept and len(self._kept) >= KEPT_LINES_MAX:
            return
        devices = placement.soonest(self._state, want, taken)
        if self._kept.get(want, devices) != devices:
            self._hopeful.update(self._lines)  # what it had is for others again
        if devices:
            self._kept[want] = devices
        else:
            self._kept.pop(want, None)

    def _within_limit(self, lease: Lease, devices: Devices) -> bool:
        milli = placement.milli(lease.request.size, devices)
        return fairshare.within_limits(self._state, lease.tenant, milli)

    def _may_have_more(self, lease: Lease) -> bool:
        """Whether its tenant may have so much more, and has the money for it."""
        wanted = placement.nominal_milli(self._state, lease.want)
        return fairshare.within_limits(self._state, lease.tenant, wanted) and budgets.may_spend(
            self._state, lease.tenant, self._now_ms
        )

    def _standing(self, name: str) -> Standing:
        return fairshare.standing(self._state, name, self._now_ms)

    def _is_overdue(self, lease: Lease) -> bool:
        return self._state.generations - lease.grants_before >= AGING_GRANTS


class _Refused:
    """Who is left out while one grant is looked for: tenants, and tenants where they want a certain thing."""

    def __init__(self, state: State) -> None:
        self.lending = reserved.Lending(state)
        self.count = 0  #: grows with each refusal
        self._tenants: set[str] = set()
        self._wants: dict[Want, set[str]] = {}

    def of(self, want: Want) -> set[str]:
        """The tenants to leave out of the line for that."""
        return self._tenants | self._wants[want] if want in self._wants else self._tenants

    def tenant(self, lease: Lease) -> None:
        """Its tenant may have no more."""
        self.count += 1
        self._tenants.add(lease.tenant)

    def like(self, lease: Lease) -> None:
        """What others have reserved is in its way, and in that of its like."""
        self.count += 1
        self._wants.setdefault(lease.want, set()).update(self.lending.outsiders(lease))


def places(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Everybody who waits in the order in which they would be served now, with place (1 is next) and reason.

    A function of the state alone: two reads without an event between them are equal.
    """
    reasons: dict[Want, PendingReason] = {}
    told: dict[tuple[Want, str, Priority], PendingReason] = {}
    lending = reserved.Lending(state)
    for place, lease in enumerate(_in_order(state), start=1):
        want = lease.want
        if want not in reasons:
            reasons[want] = placement.why_not(state, want)
        alike = want, lease.tenant, lease.request.priority
        if alike not in told:
            told[alike] = _reason(state, lease, reasons[want], lending)
        yield lease, place, told[alike]


def _in_order(state: State) -> list[Lease]:
    asked: dict[str, int] = {}  # what a tenant would hold by then, were its earlier tickets granted
    ranked: list[tuple[Rank, Lease]] = []
    waiting = [state.leases[lease_id] for lease_id in state.queue]
    for lease in sorted(waiting, key=lambda lease: (-lease.request.priority, lease.arrival)):
        before = asked.get(lease.tenant, 0)
        asked[lease.tenant] = before + placement.nominal_milli(state, lease.want)
        overdue = state.generations - lease.grants_before >= AGING_GRANTS
        standing = fairshare.standing(state, lease.tenant, state.last.ms, before)
        ranked.append((Rank.overdue(lease) if overdue else Rank.of(lease, standing), lease))
    ranked.sort(key=lambda item: item[0])
    return [lease for _, lease in ranked]


def _reason(state: State, lease: Lease, reason: PendingReason, lending: reserved.Lending) -> PendingReason:
    wanted = placement.nominal_milli(state, lease.want)
    if not fairshare.within_limits(state, lease.tenant, wanted):
        return PendingReason.QUOTA
    if not budgets.may_spend(state, lease.tenant, state.last.ms):
        return PendingReason.BUDGET
    if reason in (PendingReason.BEHIND, PendingReason.CAPACITY) and not lending.may_hope(lease):
        return PendingReason.RESERVED
    return reason
