"""A second, naive model of the pool: lists, loops and sums over everything that ever happened.

It reads the events and nothing else, decides nothing itself, and reports what was wrong about them: capacity that was
not free, an exceeded limit, a request that was served before one that came first, a request that waits although it
fits. It shares no code with the rules: the sizes that it knows are written out here, and the order of the queue is
computed from the whole history of what each tenant held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastgpu_jupyter.core.model import events as e

HALF_LIFE_MS = 86_400_000
AHEAD_MS = 600_000
OVERDUE_GRANTS = 1000
#: Parts of a device in thousandths; a whole one is 1000.
PARTS = {"full": 1000, "half": 500, "quarter": 250, "eighth": 125, "2xany": 1000}


@dataclass
class Device:
    """A device and the leases that hold it."""

    memory: int
    usable: bool = True
    healthy: bool = True
    drained: bool = False
    held: dict[str, int] = field(default_factory=dict)  #: bytes of each lease

    @property
    def free(self) -> int:
        return self.memory - sum(self.held.values())

    @property
    def in_service(self) -> bool:
        return self.usable and self.healthy and not self.drained


@dataclass
class WaitingRequest:
    """A waiting lease, with what its position depends on."""

    tenant: str
    size: str
    priority: int
    arrival: int
    grants_before: int


@dataclass
class Hold:
    """What a tenant held, and from when to when."""

    tenant: str
    milli: int
    since: int
    until: int | None = None


class NaiveModel:
    """Everything that happened, and what was wrong about it."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.waiting: dict[str, WaitingRequest] = {}
        self.holds: dict[str, Hold] = {}
        self.past: list[Hold] = []
        self.weights: dict[str, int] = {}
        self.limits: dict[str, int | None] = {}
        self.grants = 0
        self.arrivals = 0

    def check(self, events: Iterable[e.Event], now: int) -> Iterator[str]:
        """Yield what is wrong about the events of a command, and about the queue after it."""
        for event in events:
            yield from self._check(event, now)
        for name, waiting in self.waiting.items():
            if self._is_first(waiting, now) and self._fits(waiting):
                yield f"{name} is first in the queue and waits, although it would fit"

    def _check(self, event: e.Event, now: int) -> Iterator[str]:
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
                self.waiting[name] = WaitingRequest(tenant, size, priority, self.arrivals, self.grants)
            case e.LeaseGranted(lease_id=name):
                yield from self._granted(event, now)
            case e.LeaseEnded(lease_id=name):
                self.waiting.pop(name, None)
                self._end(name, now)

    def _granted(self, event: e.LeaseGranted, now: int) -> Iterator[str]:
        gpu, waiting = event.logical_gpu, self.waiting.pop(event.lease_id)
        for other_name, other in self.waiting.items():
            if self._precedes(other, waiting, now) and self._may_be_granted(other, now) and self._fits(other):
                yield f"{event.lease_id} was served before {other_name}, which came first and would have fitted"
        part = PARTS[waiting.size]
        for device_id in gpu.device_ids:
            device = self.devices[device_id]
            if not device.in_service:
                yield f"{event.lease_id} was given {device_id}, which is out of service"
            device.held[event.lease_id] = device.memory * part // 1000
            if device.free < 0:
                yield f"{device_id} was given away more than once"
        milli = part * len(gpu.device_ids)
        if not self._within_limit(waiting):
            yield f"{event.lease_id} was granted beyond its tenant's limit"
        self.grants += 1
        self.holds[event.lease_id] = Hold(waiting.tenant, milli, now)

    def _end(self, name: str, now: int) -> None:
        hold = self.holds.pop(name, None)
        if hold is not None:
            hold.until = now
            self.past.append(hold)
            for device in self.devices.values():
                device.held.pop(name, None)

    # -- the order ----------------------------------------------------------------------------------------------------

    def _precedes(self, one: WaitingRequest, other: WaitingRequest, now: int) -> bool:
        """Return whether ``one`` must be served before ``other``; False where rounding could decide."""
        overdue, other_overdue = self._is_overdue(one), self._is_overdue(other)
        if overdue or other_overdue:
            return overdue and (not other_overdue or one.arrival < other.arrival)
        if one.priority != other.priority:
            return one.priority > other.priority
        if one.tenant == other.tenant:
            return one.arrival < other.arrival
        usage, other_usage = self._usage(one.tenant, now), self._usage(other.tenant, now)
        if abs(usage - other_usage) <= 1e-6 * max(usage, other_usage):
            return usage == other_usage == 0.0 and one.arrival < other.arrival
        return usage < other_usage

    def _is_overdue(self, waiting: WaitingRequest) -> bool:
        return self.grants - waiting.grants_before >= OVERDUE_GRANTS

    def _usage(self, tenant: str, now: int) -> float:
        """Return the decayed usage per weight, what is held now counted ahead for a while."""
        total = 0.0
        for hold in [*self.past, *self.holds.values()]:
            if hold.tenant == tenant:
                until = now if hold.until is None else hold.until
                total += hold.milli * (_decayed(now - until) - _decayed(now - hold.since))
                if hold.until is None:
                    total += hold.milli * AHEAD_MS * 0.6931471805599453 / HALF_LIFE_MS
        return total / self.weights.get(tenant, 100)

    # -- room ---------------------------------------------------------------------------------------------------------

    def _is_first(self, waiting: WaitingRequest, now: int) -> bool:
        if not self._may_be_granted(waiting, now):
            return False
        others = [other for other in self.waiting.values() if other is not waiting and self._within_limit(other)]
        return all(self._precedes(waiting, other, now) for other in others)

    def _may_be_granted(self, waiting: WaitingRequest, now: int) -> bool:
        """Return whether the limit allows the request and all earlier ones of its tenant, which it must not overtake.

        A request that exceeds the limit by itself, because the limit was lowered, is overtaken.
        """
        earlier = [
            other
            for other in self.waiting.values()
            if other.tenant == waiting.tenant and (other is waiting or self._precedes(other, waiting, now))
        ]
        return all(
            self._within_limit(other) or (other is not waiting and self._exceeds_limit_alone(other))
            for other in earlier
        )

    def _exceeds_limit_alone(self, waiting: WaitingRequest) -> bool:
        limit = self.limits.get(waiting.tenant)
        return limit is not None and _requested_milli(waiting) > limit

    def _within_limit(self, waiting: WaitingRequest) -> bool:
        limit = self.limits.get(waiting.tenant)
        requested = _requested_milli(waiting)
        held = sum(hold.milli for hold in self.holds.values() if hold.tenant == waiting.tenant)
        return limit is None or held + requested <= limit

    def _fits(self, waiting: WaitingRequest) -> bool:
        part = PARTS[waiting.size]
        requested = 2 if waiting.size == "2xany" else 1
        room = sum(
            device.in_service and device.free >= device.memory * part // 1000 and (part < 1000 or not device.held)
            for device in self.devices.values()
        )
        return room >= requested


def _requested_milli(waiting: WaitingRequest) -> int:
    return PARTS[waiting.size] * (2 if waiting.size == "2xany" else 1)


def _decayed(ago: int) -> float:
    return float(0.5 ** (ago / HALF_LIFE_MS))
