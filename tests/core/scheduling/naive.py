"""A second model of the pool, as simple as can be: lists, loops and sums over everything that ever happened.

It hears the events and nothing else, decides nothing itself, and says what was wrong about them: capacity that was
not there, a limit that was passed, somebody who was served before somebody who came first, somebody who waits for what
is free. It shares no code with the rules: the sizes that it knows are written out here, the order of the queue is
computed anew from the history of who held what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastgpu_jupyter.core.model import events as e

HALF_LIFE_MS = 86_400_000
AHEAD_MS = 600_000
AGING = 1000
#: Parts of a device in thousandths; a whole one is 1000.
PARTS = {"full": 1000, "half": 500, "quarter": 250, "eighth": 125, "2xany": 1000}


@dataclass
class Device:
    """What a list of its leases says."""

    memory: int
    usable: bool = True
    healthy: bool = True
    drained: bool = False
    held: dict[str, int] = field(default_factory=dict)  #: bytes of each lease

    @property
    def free(self) -> int:
        return self.memory - sum(self.held.values())

    @property
    def open(self) -> bool:
        return self.usable and self.healthy and not self.drained


@dataclass
class Ticket:
    """A lease, as far as its turn goes."""

    tenant: str
    size: str
    priority: int
    arrival: int
    grants_before: int


@dataclass
class Hold:
    """That a tenant held so much from then on."""

    tenant: str
    milli: int
    since: int
    until: int | None = None


class Naive:
    """All that happened, and what was wrong about it."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.waiting: dict[str, Ticket] = {}
        self.holds: dict[str, Hold] = {}
        self.past: list[Hold] = []
        self.weights: dict[str, int] = {}
        self.limits: dict[str, int | None] = {}
        self.grants = 0
        self.arrivals = 0

    def hear(self, events: Iterable[e.Event], now: int) -> Iterator[str]:
        """Everything that is wrong about what a command led to, and about where it left the queue."""
        for event in events:
            yield from self._hear(event, now)
        for name, ticket in self.waiting.items():
            if self._is_first(ticket, now) and self._fits(ticket):
                yield f"{name} is first in the queue and waits, although it would fit"

    def _hear(self, event: e.Event, now: int) -> Iterator[str]:
        match event:
            case e.DeviceAppeared(spec=spec):
                self.devices.setdefault(spec.id, Device(spec.memory_bytes))
            case e.DeviceHealthChanged(device_id=device_id, health=health):
                self.devices[device_id].healthy = health.value == "healthy"
            case e.DeviceDrained(device_id=device_id, drained=drained):
                self.devices[device_id].drained = drained
            case e.TenantSet(tenant=tenant, weight=weight, limit_milli=limit):
                self.weights[tenant], self.limits[tenant] = weight, limit
            case e.LeaseRequested(lease_id=name, tenant=tenant, request=request):
                self.arrivals += 1
                size, priority = request.profile or "", int(request.priority)
                self.waiting[name] = Ticket(tenant, size, priority, self.arrivals, self.grants)
            case e.LeaseGranted(lease_id=name):
                yield from self._granted(event, now)
            case e.LeaseEnded(lease_id=name):
                self.waiting.pop(name, None)
                self._end(name, now)

    def _granted(self, event: e.LeaseGranted, now: int) -> Iterator[str]:
        gpu, ticket = event.logical_gpu, self.waiting.pop(event.lease_id)
        for other_name, other in self.waiting.items():
            if self._excluded(other, ticket, now) and self._may_have(other, now) and self._fits(other):
                yield f"{event.lease_id} was served before {other_name}, which came first and would have fitted"
        part = PARTS[ticket.size]
        for device_id in gpu.device_ids:
            device = self.devices[device_id]
            if not device.open:
                yield f"{event.lease_id} was given {device_id}, which is out of service"
            device.held[event.lease_id] = device.memory * part // 1000
            if device.free < 0:
                yield f"{device_id} was given away more than once"
        milli = part * len(gpu.device_ids)
        if not self._within_limit(ticket):
            yield f"{event.lease_id} was granted beyond its tenant's limit"
        self.grants += 1
        self.holds[event.lease_id] = Hold(ticket.tenant, milli, now)

    def _end(self, name: str, now: int) -> None:
        hold = self.holds.pop(name, None)
        if hold is not None:
            hold.until = now
            self.past.append(hold)
            for device in self.devices.values():
                device.held.pop(name, None)

    # -- the order ----------------------------------------------------------------------------------------------------

    def _excluded(self, one: Ticket, other: Ticket, now: int) -> bool:
        """Whether ``one`` is clearly to be served before ``other``."""
        late, other_late = self._late(one), self._late(other)
        if late or other_late:
            return late and (not other_late or one.arrival < other.arrival)
        if one.priority != other.priority:
            return one.priority > other.priority
        if one.tenant == other.tenant:
            return one.arrival < other.arrival
        used, other_used = self._used(one.tenant, now), self._used(other.tenant, now)
        if abs(used - other_used) <= 1e-6 * max(used, other_used):
            return used == other_used == 0.0 and one.arrival < other.arrival
        return used < other_used

    def _late(self, ticket: Ticket) -> bool:
        return self.grants - ticket.grants_before >= AGING

    def _used(self, tenant: str, now: int) -> float:
        """What it had of devices, and has, and will have for a while, each moment by how long ago it is."""
        total = 0.0
        for hold in [*self.past, *self.holds.values()]:
            if hold.tenant == tenant:
                until = now if hold.until is None else hold.until
                total += hold.milli * (_faded(now - until) - _faded(now - hold.since))
                if hold.until is None:
                    total += hold.milli * AHEAD_MS * 0.6931471805599453 / HALF_LIFE_MS
        return total / self.weights.get(tenant, 100)

    # -- room ---------------------------------------------------------------------------------------------------------

    def _is_first(self, ticket: Ticket, now: int) -> bool:
        if not self._may_have(ticket, now):
            return False
        others = [other for other in self.waiting.values() if other is not ticket and self._within_limit(other)]
        return all(self._excluded(ticket, other, now) for other in others)

    def _may_have(self, ticket: Ticket, now: int) -> bool:
        """Whether its limit allows it, and all that its tenant asked for before: nobody need pass its own.

        What is more than the limit alone, because that was lowered, is waited for by nobody.
        """
        earlier = [
            other
            for other in self.waiting.values()
            if other.tenant == ticket.tenant and (other is ticket or self._excluded(other, ticket, now))
        ]
        return all(self._within_limit(other) or (other is not ticket and self._is_hopeless(other)) for other in earlier)

    def _is_hopeless(self, ticket: Ticket) -> bool:
        limit = self.limits.get(ticket.tenant)
        return limit is not None and _wanted(ticket) > limit

    def _within_limit(self, ticket: Ticket) -> bool:
        limit = self.limits.get(ticket.tenant)
        wanted = _wanted(ticket)
        held = sum(hold.milli for hold in self.holds.values() if hold.tenant == ticket.tenant)
        return limit is None or held + wanted <= limit

    def _fits(self, ticket: Ticket) -> bool:
        part = PARTS[ticket.size]
        wanted = 2 if ticket.size == "2xany" else 1
        room = sum(
            device.open and device.free >= device.memory * part // 1000 and (part < 1000 or not device.held)
            for device in self.devices.values()
        )
        return room >= wanted


def _wanted(ticket: Ticket) -> int:
    return PARTS[ticket.size] * (2 if ticket.size == "2xany" else 1)


def _faded(ago: int) -> float:
    return float(0.5 ** (ago / HALF_LIFE_MS))
