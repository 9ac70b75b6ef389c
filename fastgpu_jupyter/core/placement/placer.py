"""The placement of requests on the devices of one state.

:class:`Placer` translates between the state and the indexes: requirements become a :class:`~.demand.Demand`, devices of
the state become devices of :class:`~.capacity_index.CapacityIndex` or, in MIG mode, of :class:`~.mig_index.MigIndex`.
Everything here follows from the state and can be computed from it at any time; nothing is journalled. Devices are alike
if their drivers say the same of them (model, memory, rate, capabilities), whatever leases hold them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ...errors import InvalidRequest
from ..model.entities import Device, Requirements, State
from ..model.size import parse_size
from . import device_share, eligibility, mig_partitions
from .capacity_index import CapacityIndex
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement
from .device_share import Devices
from .host_filter import NEVER_FITS, HostFilter, HostHeadroom
from .mig_index import MigIndex
from .nearest_fit import nearest_fit
from .shadow_prices import estimate_shadow_prices

#: Number of requests between two estimates of the shadow prices.
SHADOW_PRICES_EVERY = 1024
#: Processors and memory of a host that reports neither: no request is refused there for lack of any.
_NO_LIMIT = 1 << 39


class Placer:
    """The devices of one state, and where a request is placed on them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._demands: dict[Requirements, Demand | None] = {}
        self._examples: dict[str, Device] = {}  #: by model name in the index, one of its devices
        self._host_of: dict[str, str] = {}
        self._being_freed: dict[str, int] = {}  #: by device, the bytes that leases are giving back
        self.index = CapacityIndex()
        in_mig_mode = [device for device in state.devices.values() if mig_partitions.is_partitioned(device.spec)]
        self._mig = MigIndex(state, self.index, in_mig_mode) if in_mig_mode else None
        self._add_devices()
        self.update_shadow_prices()

    def _add_devices(self) -> None:
        state, index = self._state, self.index
        hosts = dict.fromkeys([*state.hosts, *(device.spec.host_id for device in state.devices.values())])
        for host_id in hosts:
            known = state.hosts.get(host_id)
            index.add_host(host_id, *((known.spec.cpu_milli, known.spec.memory_bytes) if known else (_NO_LIMIT,) * 2))
        for device in state.devices.values():
            spec = device.spec
            model = _model_name(state, device)
            self._examples.setdefault(model, device)
            self._host_of[spec.id] = spec.host_id
            index.add_device(spec.id, spec.host_id, model, spec.memory_bytes, spec.index)
        for device in state.devices.values():
            self.update_device(device)

    def update_shadow_prices(self) -> None:
        """Set the shadow prices by what was requested lately; few requests leave the prices at their defaults."""
        recent = self._state.recent_requests
        usual = Counter(recent[: len(recent) - len(recent) % SHADOW_PRICES_EVERY])
        if not usual or not self._state.devices:
            return
        history: Counter[Demand] = Counter()
        for (size, cpu_milli, host_memory_bytes), count in usual.items():
            try:
                requirements = Requirements(parse_size(size), cpu_milli=cpu_milli, host_memory_bytes=host_memory_bytes)
            except InvalidRequest:  # pragma: no cover (an older journal may have sizes that are no longer accepted)
                continue
            demand = self.demand(requirements)
            if demand is not None:
                history[demand] += count
        sizes = Counter(device.spec.memory_bytes for device in self._state.devices.values())
        most_common = max(sizes, key=lambda size: (sizes[size], size))
        self.index.set_shadow_prices(estimate_shadow_prices(history, most_common))

    def demand(self, requirements: Requirements) -> Demand | None:
        """Return the demand of a request on the index; ``None`` where no device could ever serve it."""
        if requirements not in self._demands:
            self._demands[requirements] = self.make_demand(requirements)
        return self._demands[requirements]

    def make_demand(self, requirements: Requirements) -> Demand | None:
        """Return what :meth:`demand` returns, without keeping it."""
        models = [
            model
            for model, device in self._examples.items()
            if eligibility.could_serve(self._state, device, requirements)
        ]
        if not models:
            return None
        size = requirements.size
        numerator, divisor = (size.part or (1, None)) if size.memory_bytes is None else (1, None)
        if size.partition is not None:
            divisor = 1  # only devices in MIG mode have partitions, and the index has nothing free on these
        return Demand(
            devices=size.devices,
            units=size.memory_bytes,
            divisor=divisor,
            models=None if len(models) == len(self._examples) else frozenset(models),
            cpu_milli=requirements.cpu_milli,
            host_memory_bytes=requirements.host_memory_bytes,
            numerator=numerator,
        )

    def update_device(self, device: Device) -> bool:
        """Take over a device and its host as the state has them; return whether there is more room than before."""
        spec, being_freed = device.spec, self._being_freed
        host = self._state.hosts.get(spec.host_id)
        cpu_milli = memory_bytes = _NO_LIMIT
        if host is not None:
            has = host.spec
            cpu_milli = has.cpu_milli - host.held_cpu_milli
            memory_bytes = has.memory_bytes - host.held_memory_bytes
            if cpu_milli < 0 or memory_bytes < 0:  # the host has become smaller than what leases hold of it
                cpu_milli, memory_bytes = max(0, cpu_milli), max(0, memory_bytes)
        if self._mig is not None and spec.id in self._mig:
            more = self._mig.update_device(spec.id)
            # In the index it is never free: only the MIG index places on it.
            freer = self.index.update(spec.id, 0, grantable=False, cpu_milli=cpu_milli, memory_bytes=memory_bytes)
            return freer or more
        if device.releasing_bytes:
            being_freed[spec.id] = device.releasing_bytes
        elif spec.id in being_freed:
            del being_freed[spec.id]
        free_bytes = 0 if device.whole_lease_id else max(0, spec.memory_bytes - device.promised_bytes)
        return self.index.update(spec.id, free_bytes, device.grantable, cpu_milli, memory_bytes)

    def host_of(self, device_id: str) -> str:
        """Return the id of the host of a device."""
        return self._host_of[device_id]

    def devices(self, placement: Placement) -> Devices:
        """Return the devices of a placement as the state has them."""
        return tuple([self._state.devices[device_id] for device_id in placement.device_ids])

    # -- both indexes together ----------------------------------------------------------------------------------------

    def place(self, requirements: Requirements, demand: Demand, excluded: Mapping[str, Exclusion]) -> Placement | None:
        """Return the placement with the lowest cost: parts on devices in MIG mode first, whole devices there last."""
        if self._mig is None:
            return self.index.place(demand, excluded)
        if requirements.size.whole:
            return self.index.place(demand, excluded) or self._mig.place(requirements, demand, excluded)
        return self._mig.place(requirements, demand, excluded) or self.index.place(demand, excluded)

    def place_on(
        self, host_id: str, requirements: Requirements, demand: Demand, exclusion: Exclusion = NO_EXCLUSION
    ) -> Placement | None:
        """Return what :meth:`place` returns where there is no other host."""
        if self._mig is None:
            return self.index.place_on(host_id, demand, exclusion)
        excluded = {host_id: exclusion}
        if requirements.size.whole:
            found = self.index.place_on(host_id, demand, exclusion)
            return found or self._mig.place(requirements, demand, excluded, host_id)
        found = self._mig.place(requirements, demand, excluded, host_id)
        return found or self.index.place_on(host_id, demand, exclusion)

    def nearest_fit(
        self, requirements: Requirements, demand: Demand, excluded: Mapping[str, Exclusion]
    ) -> Placement | None:
        """Return the devices on which least must be given back before they can serve."""
        found = nearest_fit(self.index, demand, excluded, self._being_freed)
        if self._mig is None:
            return found
        part = self._mig.nearest_fit(requirements, demand, excluded)
        if found is None or part is None:
            return found or part
        # The device where leases are being parked must be the one that is reserved; otherwise the parked lease would
        # come back there, and be parked again, without end.
        sooner = self._missing_milli(requirements, found) - self._mig.missing_milli(requirements, part.device_ids[0])
        return found if sooner < 0 or (sooner == 0 and requirements.size.whole) else part

    def _missing_milli(self, requirements: Requirements, found: Placement) -> int:
        """Return the thousandths of a device that must be given back, beside what is being, on the device with most."""
        devices = self.devices(found)
        missing = (device_share.missing_bytes(device, requirements.size) - device.releasing_bytes for device in devices)
        most = max(0, *missing)
        return 1000 * most // devices[0].spec.memory_bytes

    def headroom(self, host_id: str, exclusion: Exclusion = NO_EXCLUSION) -> HostHeadroom:
        """Return what could at most be placed on a host beside what is excluded."""
        headroom = self.index.headroom(host_id, exclusion)
        return headroom if self._mig is None else self._mig.add_headroom(host_id, headroom, exclusion)

    def filter_of(self, requirements: Requirements) -> HostFilter:
        """Return the filter that tells where a request may fit."""
        demand = self.demand(requirements)
        host_filter = NEVER_FITS if demand is None else self.index.filter_of(demand)
        if self._mig is not None and (in_mig_mode := self._mig.units_by_class(requirements)):
            return host_filter.also_on(in_mig_mode)
        return host_filter


def _model_name(state: State, device: Device) -> str:
    """Return a text that is equal for devices that are alike, by which the index tells them apart."""
    model, memory_bytes, mechanisms, *more = eligibility.signature_of(device.spec)
    can = ",".join(mechanism.value for mechanism in mechanisms)
    return "/".join(map(str, (model, memory_bytes, can, *more, device.spec.host_id in state.hosts)))
