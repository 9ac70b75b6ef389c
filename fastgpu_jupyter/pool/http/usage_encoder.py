"""Encode the last readings once, and put together from the same bytes what each audience is sent."""

from __future__ import annotations

import msgspec

from ...core.model.entities import Instant, Lease, State
from ..devices.driver import DeviceUsage, Sample
from .views.context import UNKNOWN_USAGE, AccessScope
from .views.device import device_reading
from .views.lease import lease_reading

_ENCODER = msgspec.json.Encoder()


class UsageEncoder:
    """The readings of devices and leases at one instant, encoded."""

    def __init__(self, state: State, at: Instant, sample: Sample) -> None:
        self._state, self._at = state, at
        self._devices = _ENCODER.encode([device_reading(name, usage) for name, usage in sample.devices.items()])
        self._leases = {
            lease_id: self._encode(lease, usage)
            for lease_id, usage in sample.leases.items()
            if (lease := state.leases.get(lease_id)) is not None
        }

    def _encode(self, lease: Lease, usage: DeviceUsage) -> bytes:
        return _ENCODER.encode(lease_reading(lease, self._at, usage))

    def message(self, access: AccessScope, lease_id: str | None) -> bytes:
        """Return the message with the readings of all leases within ``access``, or of one of them."""
        wanted = self._leases if lease_id is None else [lease_id]
        leases = []
        for one in wanted:
            lease = self._state.leases.get(one)
            if lease is not None and access.includes(lease):
                # A lease that waits or is parked has no reading, and uses nothing.
                leases.append(self._leases.get(one) or self._encode(lease, UNKNOWN_USAGE))
        return b'{"type":"usage","devices":%b,"leases":[%b]}\n' % (self._devices, b",".join(leases))
