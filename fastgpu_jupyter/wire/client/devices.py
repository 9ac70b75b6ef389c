"""Calls about devices: list, history, drain, MIG mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..ids import device_id_of
from .leases import history_query
from .transport import Transport

if TYPE_CHECKING:
    from ..schemas import DeviceView, HistoryView, PartitionModeView


#: A driver may take that long for one of these calls.
DRIVER_TIMEOUT_S = 30.0


class DeviceCalls(Transport):
    """Calls about devices and their MIG mode."""

    def devices(self) -> list[DeviceView]:
        """Return all devices and the leases that hold them."""
        return cast("list[DeviceView]", self._call("GET", "/v1/devices")["devices"])

    def device_history(self, device_id: str, resolution: str = "1s", since: int | None = None) -> HistoryView:
        """Return the usage of a device by the second (``1s``) or the minute (``1m``), from ``since`` on."""
        return cast("HistoryView", self._call("GET", _path(device_id, "history") + history_query(resolution, since)))

    def drain(self, device_id: str, *, drained: bool) -> DeviceView:
        """Drain a device, or return it to service; for administrators."""
        return cast(
            "DeviceView", self._change("PUT", _path(device_id), {"drained": drained}, timeout_s=DRIVER_TIMEOUT_S)
        )

    def forget_device(self, device_id: str) -> list[DeviceView]:
        """Give a missing device up, so that its leases end; return the devices that are left. For administrators."""
        return cast("list[DeviceView]", self._change("DELETE", _path(device_id))["devices"])

    def use_driver(self, *, used: bool) -> list[DeviceView]:
        """Make the pool manager release the GPU driver, or use it again; return the devices. For administrators."""
        answer = self._change("PUT", "/v1/driver", {"used": used}, timeout_s=DRIVER_TIMEOUT_S)
        return cast("list[DeviceView]", answer["devices"])

    def partition_mode(self, device_id: str) -> PartitionModeView:
        """Return MIG mode of a device, and what a switch of it would disturb; for administrators."""
        return cast("PartitionModeView", self._call("GET", _path(device_id, "mig"), timeout_s=DRIVER_TIMEOUT_S))

    def set_partition_mode(self, device_id: str, *, on: bool) -> PartitionModeView:
        """Switch MIG mode of an unused device; for administrators."""
        return cast(
            "PartitionModeView", self._call("PUT", _path(device_id, "mig"), {"on": on}, timeout_s=DRIVER_TIMEOUT_S)
        )


def _path(device_id: str, part: str = "") -> str:
    return f"/v1/devices/{device_id_of(device_id)}" + (f"/{part}" if part else "")
