"""Placement once more, as a scan over all devices of a state: whether a want could be served now, and by which."""

from __future__ import annotations

from collections.abc import Collection

from fastgpu_jupyter.core import placement
from fastgpu_jupyter.core.model import Device, State, Want


def place(state: State, want: Want, taken: Collection[str] = ()) -> tuple[Device, ...] | None:
    """The devices of one host that would have the least memory left, devices in ``taken`` left alone."""
    fitting = [
        device
        for device in placement.able(state, want)
        if device.grantable
        and device.spec.id not in taken
        and placement.lacking_bytes(device, want.size) <= 0
        and _host_has_room(state, device, want)
    ]
    fitting.sort(key=lambda device: (device.free_bytes, device.spec.index, device.spec.id))
    by_host: dict[tuple[str, placement.Kind], list[Device]] = {}
    for device in fitting:
        chosen = by_host.setdefault((device.spec.host_id, placement.kind_of(device.spec)), [])
        chosen.append(device)
        if len(chosen) == want.size.devices:
            return tuple(chosen)
    return None


def _host_has_room(state: State, device: Device, want: Want) -> bool:
    host = state.hosts.get(device.spec.host_id)
    return host is None or (
        host.held_cpu_milli + want.cpu_milli <= host.spec.cpu_milli
        and host.held_memory_bytes + want.host_memory_bytes <= host.spec.memory_bytes
    )
