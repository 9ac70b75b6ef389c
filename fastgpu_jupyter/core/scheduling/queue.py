"""The queue: tickets in lines of equal wants, and who of some lines is served first.

Requests that want the same stand in one line, because what serves one of them serves any. Who is first is the order of
:class:`Rank`: first who waited too long, then by priority class, then the tenant that stands first, then by arrival.

It is quick however many wait: each line and each seat (a tenant's tickets of one class) has its tickets by arrival, of
which those that left are dropped when they come to the front, and each class has one list of tenants.
A tenant's place there is what it had used when it was last looked at, and of equals when its first ticket came. Use
only grows while time passes, so nobody stands before that place; who would be best is looked at anew. Use that fell
moves the tenant at once.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from ..accounting.fairshare import FairShareKey
from ..model.entities import AGING_GRANTS, AGING_GRANTS_EACH, Lease, Priority, Requirements, State
from ..placement.host_filter import HostFilter

NOTHING = FairShareKey(beyond=False, group=0.0, tenant=0.0)
#: Seats that are compared one by one; of more the list of tenants is followed.
FEW_TENANT_QUEUES = 64

_NOBODY: Mapping[RequestClass, set[str]] = {}

_Ticket = tuple[int, int, Lease]  #: arrival, and a number that tells those apart who come back


class Rank(NamedTuple):
    """Where a ticket stands among all that wait; the smallest is served first."""

    on_time: bool  #: False for who waited too long: they go first, by arrival
    lower: int  #: the negative priority class
    standing: FairShareKey  #: what the tenant has had
    arrival: int

    @classmethod
    def of(cls, lease: Lease, standing: FairShareKey) -> Rank:
        """The rank of one that has not waited too long."""
        return cls(on_time=True, lower=-lease.request.priority, standing=standing, arrival=lease.arrival)

    @classmethod
    def overdue(cls, lease: Lease) -> Rank:
        """The rank of one that has."""
        return cls(on_time=False, lower=0, standing=NOTHING, arrival=lease.arrival)


#: After everybody.
LAST = Rank(on_time=True, lower=1, standing=FairShareKey(beyond=True, group=math.inf, tenant=math.inf), arrival=0)


def aging_grants(state: State) -> int:
    """Grants to others after which one that waits goes before everybody else."""
    if state.policy.quantum_ms is None:
        return AGING_GRANTS
    return max(AGING_GRANTS, AGING_GRANTS_EACH * len(state.queue))


def is_overdue(state: State, lease: Lease, aging: int) -> bool:
    """Whether one that waits has seen so many grants to others (see :func:`aging_grants`)."""
    return state.generations - lease.grants_before >= aging


class RequestClass:
    """Tickets for one want. What the scheduler knows of the want is kept here, too."""

    __slots__ = (
        "_by_arrival",
        "first",
        "first_arrival",
        "host_filter",
        "number",
        "requirements",
        "seats",
        "since",
        "tickets",
    )

    first: Lease  #: who has waited longest
    host_filter: HostFilter  #: what it needs of devices, for the scheduler

    def __init__(self, requirements: Requirements, number: int) -> None:
        self.requirements = requirements
        self.number = number  #: lines are numbered as they come
        self.tickets: dict[str, Lease] = {}
        self.seats: dict[TenantQueue, list[_Ticket]] = {}
        self.first_arrival = 0
        self.since = 0  #: how many grants there had been when somebody left it last
        self._by_arrival: deque[_Ticket] = deque()

    def settle(self) -> Lease:
        """Find who has waited longest."""
        self.first = _first_of(self._by_arrival, self.tickets)
        return self.first

    def add(self, ticket: _Ticket) -> None:
        """One more waits."""
        self.tickets[ticket[2].id] = ticket[2]
        _put(self._by_arrival, ticket)


class TenantQueue:
    """A tenant's tickets of one priority class."""

    __slots__ = ("_by_arrival", "entry", "lines", "priority", "tenant", "tickets")

    def __init__(self, priority: Priority, tenant: str) -> None:
        self.priority, self.tenant = priority, tenant
        self.tickets: dict[str, Lease] = {}
        self.lines: dict[RequestClass, int] = {}  #: with how many tickets each
        self.entry: _Entry | None = None  #: its place in the list of its class
        self._by_arrival: deque[_Ticket] = deque()

    def first_arrival(self) -> int:
        """Of who has waited longest."""
        return _first_of(self._by_arrival, self.tickets).arrival

    def first_of(self, line: RequestClass) -> Lease:
        """Who of that line has waited longest."""
        heap = line.seats[self]
        while (
            heap[0][2].arrival != heap[0][0] or heap[0][2].id not in self.tickets or heap[0][2].id not in line.tickets
        ):
            heapq.heappop(heap)
        return heap[0][2]

    def add(self, ticket: _Ticket, line: RequestClass) -> None:
        """One more waits."""
        self.tickets[ticket[2].id] = ticket[2]
        _put(self._by_arrival, ticket)
        self.lines[line] = self.lines.get(line, 0) + 1
        heapq.heappush(line.seats.setdefault(self, []), ticket)

    def remove(self, lease: Lease, line: RequestClass) -> None:
        """One waits no longer."""
        del self.tickets[lease.id]
        self.lines[line] -= 1
        if not self.lines[line]:
            del self.lines[line], line.seats[self]


class _Entry(NamedTuple):
    standing: FairShareKey  #: it stands no better than that
    arrival: int  #: nor has any of its tickets waited longer
    number: int
    seat: TenantQueue


class Candidate(NamedTuple):
    """Somebody who waits."""

    rank: Rank
    lease: Lease
    line: RequestClass


class Queue:
    """All lines."""

    def __init__(self, standing: Callable[[str], FairShareKey], is_overdue: Callable[[Lease], bool]) -> None:
        self.lines: dict[Requirements, RequestClass] = {}
        self._standing = standing
        self._is_overdue = is_overdue
        self._where: dict[str, tuple[RequestClass, TenantQueue]] = {}
        self.by_first: list[tuple[int, int, RequestClass]] = []  #: lines by the arrival of who waited longest there
        self._seats: dict[tuple[Priority, str], TenantQueue] = {}
        self._order: dict[Priority, list[_Entry]] = {}  #: those who wait in each class
        self._fell: set[str] = set()  #: tenants that may stand before their place
        self._numbers = 0

    # -- who comes and goes -------------------------------------------------------------------------------------------

    def add(self, lease: Lease) -> RequestClass:
        """``lease`` begins to wait; its line."""
        requirements = lease.requirements
        line = self.lines.get(requirements)
        if line is None:
            self._numbers += 1
            line = self.lines[requirements] = RequestClass(requirements, self._numbers)
        place = lease.request.priority, lease.tenant
        seat = self._seats.get(place)
        if seat is None:
            seat = self._seats[place] = TenantQueue(*place)
        self._numbers += 1
        ticket = lease.arrival, self._numbers, lease
        self._where[lease.id] = line, seat
        line.add(ticket)
        seat.add(ticket, line)
        if not line.first_arrival or lease.arrival < line.first_arrival:
            self._note_first(line)
        if seat.entry is None or lease.arrival < seat.entry.arrival:
            self._enter(seat, self._standing(seat.tenant))
        return line

    def remove(self, lease: Lease) -> RequestClass:
        """``lease`` waits no longer; the line in which it stood."""
        line, seat = self._where.pop(lease.id)
        del line.tickets[lease.id]
        seat.remove(lease, line)
        if not line.tickets:
            del self.lines[line.requirements]
        if not seat.tickets:
            self._forget(seat)
            del self._seats[seat.priority, seat.tenant]
        if lease is line.first:
            self._note_first(line)
        return line

    def line_of(self, lease: Lease) -> RequestClass:
        """The line in which somebody waits."""
        return self._where[lease.id][0]

    def refresh(self, tenant: str) -> None:
        """What ``tenant`` has used fell."""
        self._fell.add(tenant)

    def tenants(self) -> set[str]:
        """Those who wait."""
        return {seat.tenant for seat in self._seats.values()}

    def _note_first(self, line: RequestClass) -> None:
        arrival = line.settle().arrival if line.tickets else 0
        if arrival != line.first_arrival:
            if line.first_arrival:
                del self.by_first[bisect_left(self.by_first, (line.first_arrival, line.number))]
            line.first_arrival = arrival
            if arrival:
                insort(self.by_first, (arrival, line.number, line))

    def _enter(self, seat: TenantQueue, standing: FairShareKey) -> None:
        self._forget(seat)
        self._numbers += 1
        seat.entry = _Entry(standing, seat.first_arrival(), self._numbers, seat)
        insort(self._order.setdefault(seat.priority, []), seat.entry)

    def _those_waiting(self, priority: Priority) -> list[_Entry]:
        """Those who wait in a class; nobody stands before its place."""
        for tenant in self._fell:
            for each in self._order:
                seat = self._seats.get((each, tenant))
                if seat is not None:
                    self._enter(seat, self._standing(tenant))
        self._fell.clear()
        return self._order[priority]

    def _forget(self, seat: TenantQueue) -> None:
        if seat.entry is not None:
            order = self._order[seat.priority]
            del order[bisect_left(order, seat.entry)]
            seat.entry = None

    # -- who is first -------------------------------------------------------------------------------------------------

    def best(
        self,
        among: Collection[RequestClass],
        skip: Collection[str] = (),
        refused: Mapping[RequestClass, set[str]] = _NOBODY,
    ) -> Candidate | None:
        """Who of those lines is served first; ``None`` where nobody is.

        Tenants in ``skip`` are left out, and in some lines those in ``refused``.
        """
        late: Lease | None = None
        for line in among:
            if late is None or line.first_arrival < late.arrival:
                lease = line.first
                if self._is_overdue(lease) and lease.tenant not in skip and lease.tenant not in refused.get(line, ()):
                    late, of = lease, line
        if late is not None:
            return Candidate(Rank.overdue(late), late, of)
        if sum(len(line.seats) for line in among) <= FEW_TENANT_QUEUES:
            return self._best_of_few(among, skip, refused)
        lines = among if isinstance(among, (set, frozenset)) else set(among)
        for priority in sorted(self._order, reverse=True):
            found = self._best_of(priority, lines, skip, refused)
            if found is not None:
                return found
        return None

    def ahead(self, rank: Rank, most: int) -> list[RequestClass]:
        """The first lines whose best is served before that rank, in that order; ``most`` of them at most."""
        lines: dict[RequestClass, None] = {}
        for line in self._in_order(rank):
            lines[line] = None
            if len(lines) >= most:
                break
        return list(lines)

    def late(self) -> Iterator[RequestClass]:
        """Lines in which somebody waits for too long, by arrival."""
        for _, _, line in self.by_first:
            if not self._is_overdue(line.first):
                return
            yield line

    def highest_priority(self) -> Priority:
        """The highest priority class of those who wait."""
        return max((priority for priority, order in self._order.items() if order), default=Priority.LOW)

    def heads(self) -> Iterator[tuple[Lease, RequestClass]]:
        """Who is first in each line, tenant by tenant, in the order in which they are served."""
        late = [(line.first, line) for line in self.late()]
        yield from late
        before = {lease.id for lease, _ in late}
        for priority in sorted(self._order, reverse=True):
            for _, seat in self._tenants(priority):
                firsts = sorted(((seat.first_of(line), line) for line in seat.lines), key=_by_arrival)
                yield from (head for head in firsts if head[0].id not in before)

    def _in_order(self, until: Rank) -> Iterator[RequestClass]:
        for line in self.late():
            if not until.on_time and line.first_arrival >= until.arrival:
                return
            yield line
        if not until.on_time:
            return
        for priority in sorted(self._order, reverse=True):
            if -priority > until.lower:
                return
            for standing, seat in self._tenants(priority):
                for line in sorted(seat.lines, key=lambda line: (seat.first_of(line).arrival, line.number)):
                    if Rank.of(seat.first_of(line), standing) >= until:
                        break
                    yield line
                if (-priority, standing) > (until.lower, until.standing):
                    return

    def _best_of_few(
        self, among: Collection[RequestClass], skip: Collection[str], refused: Mapping[RequestClass, set[str]]
    ) -> Candidate | None:
        best: tuple[int, FairShareKey, int] | None = None
        found: tuple[Lease, RequestClass] | None = None
        for line in among:
            but = refused.get(line, ())
            for seat in line.seats:
                if seat.tenant in skip or seat.tenant in but or (best is not None and -seat.priority > best[0]):
                    continue
                lease = seat.first_of(line)
                rank = -seat.priority, self._standing(seat.tenant), lease.arrival
                if best is None or rank < best:
                    best, found = rank, (lease, line)
        return (
            Candidate(Rank(on_time=True, lower=best[0], standing=best[1], arrival=best[2]), *found)
            if best and found
            else None
        )

    def _best_of(
        self,
        priority: Priority,
        among: Collection[RequestClass],
        skip: Collection[str],
        refused: Mapping[RequestClass, set[str]],
    ) -> Candidate | None:
        best: tuple[FairShareKey, int] | None = None
        found: tuple[Lease, RequestClass] | None = None
        moved: list[tuple[TenantQueue, FairShareKey]] = []
        for standing, arrival, _, seat in self._those_waiting(priority):
            if best is not None and (standing, arrival) > best:
                break
            if seat.lines.keys().isdisjoint(among) or seat.tenant in skip:
                continue
            mine = seat.lines.keys() & among
            if refused:
                mine = {line for line in mine if seat.tenant not in refused.get(line, ())}
                if not mine:
                    continue
            current = max(standing, self._standing(seat.tenant))
            if current > standing:
                moved.append((seat, current))
            if best is not None and current > best[0]:
                continue
            lease, line = min(((seat.first_of(line), line) for line in mine), key=_by_arrival)
            if best is None or (current, lease.arrival) < best:
                best, found = (current, lease.arrival), (lease, line)
        for seat, current in moved:
            self._enter(seat, current)
        return Candidate(Rank.of(found[0], best[0]), *found) if best and found else None

    def _tenants(self, priority: Priority) -> Iterator[tuple[FairShareKey, TenantQueue]]:
        """Those who wait in a class, in order."""
        order = self._those_waiting(priority)
        at = 0
        while at < len(order):
            standing, _, _, seat = order[at]
            current = self._standing(seat.tenant)
            if current > standing:
                self._enter(seat, current)
                continue  # the next one stands there now
            yield standing, seat
            at += 1


def _put(tickets: deque[_Ticket], ticket: _Ticket) -> None:
    """Where it belongs by arrival, which is nearly always the end."""
    if not tickets or tickets[-1] < ticket:
        tickets.append(ticket)
    else:
        tickets.insert(bisect_left(tickets, ticket), ticket)


def _first_of(tickets: deque[_Ticket], waiting: Mapping[str, Lease]) -> Lease:
    """The first that still waits; those before it are dropped."""
    while True:
        arrival, _, lease = tickets[0]
        if lease.arrival == arrival and lease.id in waiting:
            return lease
        tickets.popleft()


def _by_arrival(ticket: tuple[Lease, RequestClass]) -> int:
    return ticket[0].arrival
