"""The handlers of devices."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...wire.client import PoolClient
from .base import DEVICES, FastGPUHandler, HistoryHandler


class DevicesHandler(FastGPUHandler):
    """All devices of the pool."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with all devices and the leases that hold them."""
        self.answer({"devices": await self.call(PoolClient.devices)})


class DeviceHistoryHandler(HistoryHandler):
    """The usage of one device over time."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self, device_id: str) -> None:
        """Answer with numbers by the second or by the minute."""
        resolution, since = self.window()
        self.answer(await self.call(lambda client: client.device_history(device_id, resolution, since)))
