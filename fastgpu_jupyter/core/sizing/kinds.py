"""The kinds of device that a pool has, each with a few of its devices: questions about all devices become cheap."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..model.entities import Device, State
from ..model.size import DEVICES_MAX
from ..placement import eligibility


class ModelCount(NamedTuple):
    """The devices of one model and memory."""

    model: str
    memory_bytes: int
    devices: int  #: how many the pool has, in use or not


class DeviceKinds:
    """The kinds of the present devices of ``state``; valid until a host or a device comes, goes or changes."""

    def __init__(self, state: State) -> None:
        by_kind: dict[tuple[object, ...], dict[str, list[Device]]] = {}
        counts: dict[tuple[str, int], int] = {}
        for device in state.devices.values():
            if not device.present:
                continue
            spec = device.spec
            counts[spec.model, spec.memory_bytes] = counts.get((spec.model, spec.memory_bytes), 0) + 1
            host = state.hosts.get(spec.host_id)
            room = (host.spec.cpu_milli, host.spec.memory_bytes) if host else None
            hosts = by_kind.setdefault((eligibility.signature_of(spec), room), {})
            hosts.setdefault(spec.host_id, []).append(device)
        self.models = [ModelCount(*kind, count) for kind, count in sorted(counts.items())]
        #: Of each kind, as many devices of one host as a lease can have.
        self.devices = [max(hosts.values(), key=len)[:DEVICES_MAX] for hosts in by_kind.values()]

    def view_of(self, state: State) -> State:
        """Return a state like ``state``, but without leases and, of each kind, only with the devices of one host.

        Whether a request could ever be served is the same for both, and what it takes at least.
        """
        devices = {device.spec.id: device for devices in self.devices for device in devices}
        return replace(state, devices=devices, leases={}, queue={}, ended={})
