"""The handlers of devices."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...wire.client import PoolClient
from .base import DEVICES, FastGPUHandler, HistoryHandler


class DevicesHandler(FastGPUHandler):
    """The devices."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """All devices and who holds what of them."""
        self.answer({"devices": await self.ask(PoolClient.devices)})


class DeviceHistoryHandler(HistoryHandler):
    """What was used of a device."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self, device_id: str) -> None:
        """By the second or by the minute."""
        resolution, since = self.window()
        self.answer(await self.ask(lambda client: client.device_history(device_id, resolution, since)))
