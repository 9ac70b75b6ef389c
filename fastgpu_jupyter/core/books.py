"""The fleet of a state: what a request needs of devices, and what of them is free, always as the state has it.

Everything here follows from the state and can be made anew from it at any time; nothing is journalled. A device is told
from others by what its driver says of it (model, memory, price, what can be done with it), not by who holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..errors import InvalidRequest
from . import placement
from .ask import parse_size
from .demand import Demand, Kept, Placement
from .fleet import Fleet
from .model import Device, State, Want
from .placement import Devices
from .prices import learn

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
        self.follow(state.devices)

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
        return Demand(
            devices=size.devices,
            units=size.memory_bytes,
            divisor=divisor,
            models=None if len(kinds) == len(self._kinds) else frozenset(kinds),
            cpu_milli=want.cpu_milli,
            host_memory_bytes=want.host_memory_bytes,
            numerator=numerator,
        )

    def follow(self, device_ids: Iterable[str]) -> list[str]:
        """Take over what the state says of some devices and their hosts; the hosts that have more room than before."""
        freer = []
        state, leaving, observe = self._state, self._leaving, self.fleet.observe
        for device_id in device_ids:
            device = state.devices[device_id]
            host_id = device.spec.host_id
            host = state.hosts.get(host_id)
            cpu_milli = memory_bytes = _NO_LIMIT
            if host is not None:
                cpu_milli = max(0, host.spec.cpu_milli - host.held_cpu_milli)
                memory_bytes = max(0, host.spec.memory_bytes - host.held_memory_bytes)
            if observe(device_id, max(0, device.free_bytes), device.grantable, cpu_milli, memory_bytes):
                freer.append(host_id)
            if device.leaving_bytes:
                leaving[device_id] = device.leaving_bytes
            else:
                leaving.pop(device_id, None)
        return freer

    def host_of(self, device_id: str) -> str:
        """The host of a device."""
        return self._host_of[device_id]

    def devices(self, found: Placement) -> Devices:
        """The devices of a placement."""
        return tuple([self._state.devices[device_id] for device_id in found.device_ids])

    def nearest(self, demand: Demand, without: Mapping[str, Kept]) -> Placement | None:
        """The devices that will serve the demand soonest."""
        return self.fleet.nearest(demand, without, self._leaving)


def _kind(state: State, device: Device) -> str:
    model, memory_bytes, mechanisms, *more = placement.kind_of(device.spec)
    can = ",".join(mechanism.value for mechanism in mechanisms)
    return "/".join(map(str, (model, memory_bytes, can, *more, device.spec.host_id in state.hosts)))
