"""The fleet of a state: what a request needs of devices, and what of them is free, always as the state has it.

Everything here follows from the state and can be made anew from it at any time; nothing is journalled. A device is told
from others by what its driver says of it (model, memory, price, what can be done with it), not by who holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ...errors import InvalidRequest
from ..model.entities import Device, State, Want
from ..model.size import parse_size
from . import eligibility as placement
from . import mig_partitions as partitions
from .capacity_index import Fleet, Offer
from .demand import Demand, Kept, Placement
from .eligibility import Devices
from .host_filter import Needs
from .mig_index import Divided
from .shadow_prices import learn

#: Requests between two looks at what is usually asked for.
LEARN_EVERY = 1024
#: Processors and memory of a host that says nothing of them: no request is refused there for lack of any.
_NO_LIMIT = 1 << 39


class Books:
    """The fleet that mirrors one state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._demands: dict[Want, Demand | None] = {}
        self._kinds: dict[str, Device] = {}  #: what is said of devices -> one of them
        self._host_of: dict[str, str] = {}
        self._leaving: dict[str, int] = {}
        self.fleet = Fleet()
        those = [device for device in state.devices.values() if partitions.is_divided(device.spec)]
        self._divided = Divided(state, self.fleet, those) if those else None
        self._enter()
        self.learn()

    def _enter(self) -> None:
        state, fleet = self._state, self.fleet
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

    def learn(self) -> None:
        """Set the prices by what is usually asked for; of few requests nothing is learned."""
        asked = self._state.asked
        usual = Counter(asked[: len(asked) - len(asked) % LEARN_EVERY])
        if not usual or not self._state.devices:
            return
        history: Counter[Demand] = Counter()
        for (size, cpu_milli, host_memory_bytes), count in usual.items():
            try:
                want = Want(parse_size(size), cpu_milli=cpu_milli, host_memory_bytes=host_memory_bytes)
            except InvalidRequest:  # pragma: no cover (an older journal may have sizes that are no longer read)
                continue
            demand = self.demand(want)
            if demand is not None:
                history[demand] += count
        sizes = Counter(device.spec.memory_bytes for device in self._state.devices.values())
        self.fleet.set_prices(learn(history, max(sizes, key=lambda size: (sizes[size], size))))

    def demand(self, want: Want) -> Demand | None:
        """What serves the want; ``None`` where no device does."""
        if want not in self._demands:
            self._demands[want] = self._demand(want)
        return self._demands[want]

    def _demand(self, want: Want) -> Demand | None:
        kinds = [kind for kind, device in self._kinds.items() if placement.will_do(self._state, device, want)]
        if not kinds:
            return None
        size = want.size
        numerator, divisor = (size.part or (1, None)) if size.memory_bytes is None else (1, None)
        if size.partition is not None:
            divisor = 1  # which no device of the index has
        return Demand(
            devices=size.devices,
            units=size.memory_bytes,
            divisor=divisor,
            models=None if len(kinds) == len(self._kinds) else frozenset(kinds),
            cpu_milli=want.cpu_milli,
            host_memory_bytes=want.host_memory_bytes,
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
                self.fleet.observe(spec.id, 0, grantable=False, cpu_milli=cpu_milli, memory_bytes=memory_bytes) or more
            )
        if device.leaving_bytes:
            leaving[spec.id] = device.leaving_bytes
        elif spec.id in leaving:
            del leaving[spec.id]
        free_bytes = 0 if device.whole_by else max(0, spec.memory_bytes - device.promised_bytes)
        return self.fleet.observe(spec.id, free_bytes, device.grantable, cpu_milli, memory_bytes)

    def host_of(self, device_id: str) -> str:
        """The host of a device."""
        return self._host_of[device_id]

    def devices(self, found: Placement) -> Devices:
        """The devices of a placement."""
        return tuple([self._state.devices[device_id] for device_id in found.device_ids])

    # -- index and divided devices together ---------------------------------------------------------------------------

    def place(self, want: Want, demand: Demand, without: Mapping[str, Kept]) -> Placement | None:
        """Where the want spoils least: a part on a device that is divided anyway, before another is begun."""
        if self._divided is None:
            return self.fleet.place(demand, without)
        if want.size.whole:
            return self.fleet.place(demand, without) or self._divided.place(want, demand, without)
        return self._divided.place(want, demand, without) or self.fleet.place(demand, without)

    def place_on(self, host_id: str, want: Want, demand: Demand, kept: Kept | None) -> Placement | None:
        """The same, as if there were no other host."""
        if self._divided is None:
            return self.fleet.place_on(host_id, demand, kept)
        without = {host_id: kept} if kept is not None else None
        if want.size.whole:
            found = self.fleet.place_on(host_id, demand, kept)
            return found or self._divided.place(want, demand, without, host_id)
        return self._divided.place(want, demand, without, host_id) or self.fleet.place_on(host_id, demand, kept)

    def nearest(self, want: Want, demand: Demand, without: Mapping[str, Kept]) -> Placement | None:
        """The devices on which least must be given back before they serve the want."""
        found = self.fleet.nearest(demand, without, self._leaving)
        if self._divided is None:
            return found
        part = self._divided.nearest(want, demand, without)
        if found is None or part is None:
            return found or part
        # Where room is being made, it must be kept: or who made it comes back there, again and again.
        sooner = self._lacking_milli(want, found) - self._divided.lacking_milli(want, part.device_ids[0])
        return found if sooner < 0 or (sooner == 0 and want.size.whole) else part

    def _lacking_milli(self, want: Want, found: Placement) -> int:
        """Thousandths of a device that must be given back, beside what is, before those devices serve the want."""
        devices = self.devices(found)
        lacking = (placement.lacking_bytes(device, want.size) - device.leaving_bytes for device in devices)
        most = max(0, *lacking)
        return 1000 * most // devices[0].spec.memory_bytes

    def offer(self, host_id: str, kept: Kept | None = None) -> Offer:
        """What could be placed on a host, ``kept`` left alone: more than this never."""
        offer = self.fleet.offer(host_id, kept)
        return offer if self._divided is None else self._divided.offer(host_id, offer, kept)

    def needs(self, want: Want) -> Needs:
        """What the want takes, to be compared with an offer."""
        needs = Needs(self.fleet, self.demand(want))
        if self._divided is not None and (of_divided := self._divided.needs(want)):
            needs.by_kind |= of_divided
            needs.share = 0
        return needs


def _kind(state: State, device: Device) -> str:
    model, memory_bytes, mechanisms, *more = placement.kind_of(device.spec)
    can = ",".join(mechanism.value for mechanism in mechanisms)
    return "/".join(map(str, (model, memory_bytes, can, *more, device.spec.host_id in state.hosts)))
