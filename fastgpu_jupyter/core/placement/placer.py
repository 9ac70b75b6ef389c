"""The fleet of a state: what a request needs of devices, and what of them is free, always as the state has it.

Everything here follows from the state and can be made anew from it at any time; nothing is journalled. A device is told
from others by what its driver says of it (model, memory, price, what can be done with it), not by who holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ...errors import InvalidRequest
from ..model.entities import Device, Requirements, State
from ..model.size import parse_size
from . import eligibility, mig_partitions
from .capacity_index import CapacityIndex, HostHeadroom
from .demand import Demand, Exclusion, Placement
from .eligibility import Devices
from .host_filter import HostFilter
from .mig_index import MigIndex
from .shadow_prices import estimate_shadow_prices

#: Requests between two looks at what is usually asked for.
SHADOW_PRICES_EVERY = 1024
#: Processors and memory of a host that says nothing of them: no request is refused there for lack of any.
_NO_LIMIT = 1 << 39


class Placer:
    """The fleet that mirrors one state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._demands: dict[Requirements, Demand | None] = {}
        self._kinds: dict[str, Device] = {}  #: what is said of devices -> one of them
        self._host_of: dict[str, str] = {}
        self._leaving: dict[str, int] = {}
        self.index = CapacityIndex()
        those = [device for device in state.devices.values() if mig_partitions.is_partitioned(device.spec)]
        self._divided = MigIndex(state, self.index, those) if those else None
        self._enter()
        self.estimate_shadow_prices()

    def _enter(self) -> None:
        state, fleet = self._state, self.index
        hosts = dict.fromkeys([*state.hosts, *(device.spec.host_id for device in state.devices.values())])
        for host_id in hosts:
            known = state.hosts.get(host_id)
            fleet.add_host(host_id, *((known.spec.cpu_milli, known.spec.memory_bytes) if known else (_NO_LIMIT,) * 2))
        for device in state.devices.values():
            spec = device.spec
            kind = _kind(state, device)
            self._kinds.setdefault(kind, device)
            self._host_of[spec.id] = spec.host_id
            fleet.add_device(spec.id, spec.host_id, kind, spec.memory_bytes, spec.index)
        for device in state.devices.values():
            self.follow(device)

    def estimate_shadow_prices(self) -> None:
        """Set the prices by what is usually asked for; of few requests nothing is learned."""
        asked = self._state.recent_requests
        usual = Counter(asked[: len(asked) - len(asked) % SHADOW_PRICES_EVERY])
        if not usual or not self._state.devices:
            return
        history: Counter[Demand] = Counter()
        for (size, cpu_milli, host_memory_bytes), count in usual.items():
            try:
                requirements = Requirements(parse_size(size), cpu_milli=cpu_milli, host_memory_bytes=host_memory_bytes)
            except InvalidRequest:  # pragma: no cover (an older journal may have sizes that are no longer read)
                continue
            demand = self.demand(requirements)
            if demand is not None:
                history[demand] += count
        sizes = Counter(device.spec.memory_bytes for device in self._state.devices.values())
        self.index.set_shadow_prices(estimate_shadow_prices(history, max(sizes, key=lambda size: (sizes[size], size))))

    def demand(self, requirements: Requirements) -> Demand | None:
        """What serves the want; ``None`` where no device does."""
        if requirements not in self._demands:
            self._demands[requirements] = self._demand(requirements)
        return self._demands[requirements]

    def _demand(self, requirements: Requirements) -> Demand | None:
        kinds = [
            kind for kind, device in self._kinds.items() if eligibility.could_serve(self._state, device, requirements)
        ]
        if not kinds:
            return None
        size = requirements.size
        numerator, divisor = (size.part or (1, None)) if size.memory_bytes is None else (1, None)
        if size.partition is not None:
            divisor = 1  # which no device of the index has
        return Demand(
            devices=size.devices,
            units=size.memory_bytes,
            divisor=divisor,
            models=None if len(kinds) == len(self._kinds) else frozenset(kinds),
            cpu_milli=requirements.cpu_milli,
            host_memory_bytes=requirements.host_memory_bytes,
            numerator=numerator,
        )

    def follow(self, device: Device) -> bool:
        """Take over what the state says of a device and its host; whether that has more room than before."""
        spec, leaving = device.spec, self._leaving
        host = self._state.hosts.get(spec.host_id)
        cpu_milli = memory_bytes = _NO_LIMIT
        if host is not None:
            has = host.spec
            cpu_milli = has.cpu_milli - host.held_cpu_milli
            memory_bytes = has.memory_bytes - host.held_memory_bytes
            if cpu_milli < 0 or memory_bytes < 0:  # it has become smaller than what is promised of it
                cpu_milli, memory_bytes = max(0, cpu_milli), max(0, memory_bytes)
        if self._divided is not None and spec.id in self._divided:
            more = self._divided.follow(spec.id)
            # To the index it is never free.
            return (
                self.index.update(spec.id, 0, grantable=False, cpu_milli=cpu_milli, memory_bytes=memory_bytes) or more
            )
        if device.releasing_bytes:
            leaving[spec.id] = device.releasing_bytes
        elif spec.id in leaving:
            del leaving[spec.id]
        free_bytes = 0 if device.whole_lease_id else max(0, spec.memory_bytes - device.promised_bytes)
        return self.index.update(spec.id, free_bytes, device.grantable, cpu_milli, memory_bytes)

    def host_of(self, device_id: str) -> str:
        """The host of a device."""
        return self._host_of[device_id]

    def devices(self, found: Placement) -> Devices:
        """The devices of a placement."""
        return tuple([self._state.devices[device_id] for device_id in found.device_ids])

    # -- index and divided devices together ---------------------------------------------------------------------------

    def place(self, requirements: Requirements, demand: Demand, without: Mapping[str, Exclusion]) -> Placement | None:
        """Where the want spoils least: a part on a device that is divided anyway, before another is begun."""
        if self._divided is None:
            return self.index.place(demand, without)
        if requirements.size.whole:
            return self.index.place(demand, without) or self._divided.place(requirements, demand, without)
        return self._divided.place(requirements, demand, without) or self.index.place(demand, without)

    def place_on(
        self, host_id: str, requirements: Requirements, demand: Demand, kept: Exclusion | None
    ) -> Placement | None:
        """The same, as if there were no other host."""
        if self._divided is None:
            return self.index.place_on(host_id, demand, kept)
        without = {host_id: kept} if kept is not None else None
        if requirements.size.whole:
            found = self.index.place_on(host_id, demand, kept)
            return found or self._divided.place(requirements, demand, without, host_id)
        return self._divided.place(requirements, demand, without, host_id) or self.index.place_on(host_id, demand, kept)

    def nearest(self, requirements: Requirements, demand: Demand, without: Mapping[str, Exclusion]) -> Placement | None:
        """The devices on which least must be given back before they serve the want."""
        found = self.index.nearest(demand, without, self._leaving)
        if self._divided is None:
            return found
        part = self._divided.nearest(requirements, demand, without)
        if found is None or part is None:
            return found or part
        # Where room is being made, it must be kept: or who made it comes back there, again and again.
        sooner = self._lacking_milli(requirements, found) - self._divided.lacking_milli(
            requirements, part.device_ids[0]
        )
        return found if sooner < 0 or (sooner == 0 and requirements.size.whole) else part

    def _lacking_milli(self, requirements: Requirements, found: Placement) -> int:
        """Thousandths of a device that must be given back, beside what is, before those devices serve the want."""
        devices = self.devices(found)
        lacking = (eligibility.missing_bytes(device, requirements.size) - device.releasing_bytes for device in devices)
        most = max(0, *lacking)
        return 1000 * most // devices[0].spec.memory_bytes

    def headroom(self, host_id: str, kept: Exclusion | None = None) -> HostHeadroom:
        """What could be placed on a host, ``kept`` left alone: more than this never."""
        offer = self.index.headroom(host_id, kept)
        return offer if self._divided is None else self._divided.headroom(host_id, offer, kept)

    def host_filter(self, requirements: Requirements) -> HostFilter:
        """What the want takes, to be compared with an offer."""
        needs = HostFilter(self.index, self.demand(requirements))
        if self._divided is not None and (of_divided := self._divided.host_filter(requirements)):
            needs.by_kind |= of_divided
            needs.share = 0
        return needs


def _kind(state: State, device: Device) -> str:
    model, memory_bytes, mechanisms, *more = eligibility.signature_of(device.spec)
    can = ",".join(mechanism.value for mechanism in mechanisms)
    return "/".join(map(str, (model, memory_bytes, can, *more, device.spec.host_id in state.hosts)))
