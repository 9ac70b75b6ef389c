"""The handlers of leases and of the queue."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import InvalidRequest
from ...wire.client import PoolClient
from .base import LEASES, FastGPUHandler, HistoryHandler


class LeasesHandler(FastGPUHandler):
    """The user's leases."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Live leases, and those that ended in the last hour."""
        self.answer({"leases": await self.ask(PoolClient.leases)})


class QueueHandler(FastGPUHandler):
    """The queue."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Who waits, in order of grant; other users without names."""
        self.answer({"queue": await self.ask(PoolClient.queue)})


class LeaseHandler(FastGPUHandler):
    """One lease."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """Its present state."""
        self.answer(await self.ask(lambda client: client.lease(lease_id)))

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def delete(self, lease_id: str) -> None:
        """Release it; its kernel goes on without a GPU."""
        self.answer(await self.ask(lambda client: client.release(lease_id)))


class LeaseHistoryHandler(HistoryHandler):
    """What a lease used."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """By the second or by the minute."""
        resolution, since = self.window()
        self.answer(await self.ask(lambda client: client.lease_history(lease_id, resolution, since)))


class ParkHandler(FastGPUHandler):
    """Giving a lease's device to others for a while."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Park it: its device memory goes to the host's, its kernel and variables stay."""
        self.answer(await self.ask(lambda client: client.park(lease_id)))


class ResumeHandler(FastGPUHandler):
    """Wanting a parked lease back."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Let it wait for a device, without a cell that wants it."""
        self.answer(await self.ask(lambda client: client.resume(lease_id)))


class ResizeHandler(FastGPUHandler):
    """The size of a lease."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Give it the size that the body's ``profile`` names; whether that holds already says ``size_applied``."""
        body = self.get_json_body()
        size = body.get("size") if isinstance(body, dict) else None
        if not isinstance(size, str):
            raise InvalidRequest("size must be the new size, such as half or 24GiB.")
        self.answer(await self.ask(lambda client: client.resize(lease_id, size)))


class MigrateHandler(FastGPUHandler):
    """A lease whose device is not well."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Take it elsewhere, or with the next restart of its kernel."""
        self.answer(await self.ask(lambda client: client.migrate(lease_id)))


class PinHandler(FastGPUHandler):
    """Whether an idle lease may be parked for others."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Hold it, or let it be parked, as the body's ``pinned`` says."""
        body = self.get_json_body()
        pinned = body.get("pinned") if isinstance(body, dict) else None
        if not isinstance(pinned, bool):
            raise InvalidRequest("pinned must be true or false.")
        self.answer(await self.ask(lambda client: client.pin(lease_id, pinned=pinned)))
