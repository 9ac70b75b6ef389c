"""The REST interface for the browser, below ``{base_url}fastgpu/api/``.

Handlers are thin: who may, then one call to the pool, then JSON. Every route is authenticated, and authorized by
action and resource, both always written out (the bare form of ``authorized`` remembers the first request's). Errors
have one shape: ``{"message", "code", "detail"}``. Requests do not count as activity, because a page that is merely open
must not keep an idle server alive.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import responses
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from ..errors import FastGPUError, InvalidRequest
from ..wire.client import PoolClient

if TYPE_CHECKING:
    from .access import PoolAccess

T = TypeVar("T")
PREFIX = "fastgpu/api"
POOL, DEVICES, LEASES, EVENTS = "fastgpu:pool", "fastgpu:devices", "fastgpu:leases", "fastgpu:events"
#: No body of these requests is longer than a few words.
BODY_BYTES_MAX = 64 * 1024
_DEVICE_ID = r"(?P<device_id>[A-Za-z0-9_.:-]{1,80})"
_LEASE_ID = r"(?P<lease_id>[A-Za-z0-9_.-]{1,100})"


class FastGPUHandler(APIHandler):
    """What all routes share: the way to the pool, errors and limits."""

    _track_activity = False

    @property
    def access(self) -> PoolAccess:
        """The extension's way to the pool."""
        found: PoolAccess = self.settings["fastgpu_access"]
        return found

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse a body that is too large, after the usual checks."""
        await super().prepare()
        if len(self.request.body) > BODY_BYTES_MAX:
            raise web.HTTPError(413, f"The body may have at most {BODY_BYTES_MAX} bytes.")

    async def ask(self, function: Callable[[PoolClient], T]) -> T:
        """One call to the pool."""
        return await self.access.call(function)

    def answer(self, value: Any, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal of the pool is no fault of the server: one line is enough."""
        if isinstance(value, FastGPUError):
            self.log.info("%s: %s", self.request.uri, value)
        else:
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish with the one shape of errors."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        message = responses.get(status_code, "Unknown error")
        code, detail = f"http_{status_code}", ""
        if isinstance(error, FastGPUError):
            status_code, code, message = error.status, error.code, str(error)
            detail = type(error).__name__
        elif isinstance(error, web.HTTPError):
            message = error.log_message or error.reason or message
        self.set_status(status_code)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"message": message, "code": code, "detail": detail}))


class PoolHandler(FastGPUHandler):
    """The pool manager itself."""

    @web.authenticated
    @authorized(action="read", resource=POOL)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Version, scope, whether it is simulated, and what it has to say."""
        self.answer(await self.ask(PoolClient.pool))


class DevicesHandler(FastGPUHandler):
    """The devices."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """All devices and who holds what of them."""
        self.answer({"devices": await self.ask(PoolClient.devices)})


class _HistoryHandler(FastGPUHandler):
    """What was used, as arrays."""

    def asked(self) -> tuple[str, int | None]:
        """The resolution, and from when on; whether there is such a resolution the pool says."""
        since = self.get_query_argument("since", None)
        try:
            return self.get_query_argument("resolution", "1s"), None if since is None else int(since)
        except ValueError:
            raise InvalidRequest("since must be a whole number.") from None


class DeviceHistoryHandler(_HistoryHandler):
    """What was used of a device."""

    @web.authenticated
    @authorized(action="read", resource=DEVICES)  # type: ignore[untyped-decorator]
    async def get(self, device_id: str) -> None:
        """By the second or by the minute."""
        resolution, since = self.asked()
        self.answer(await self.ask(lambda client: client.device_history(device_id, resolution, since)))


class LeaseHistoryHandler(_HistoryHandler):
    """What a lease used."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """By the second or by the minute."""
        resolution, since = self.asked()
        self.answer(await self.ask(lambda client: client.lease_history(lease_id, resolution, since)))


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
        profile = body.get("profile") if isinstance(body, dict) else None
        if not isinstance(profile, str):
            raise InvalidRequest("profile must say the new size, like half or 24GiB.")
        self.answer(await self.ask(lambda client: client.resize(lease_id, profile)))


class MoveHandler(FastGPUHandler):
    """A lease whose device is not well."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Take it elsewhere, or with the next restart of its kernel."""
        self.answer(await self.ask(lambda client: client.move(lease_id)))


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


class QuotaHandler(FastGPUHandler):
    """What the user may hold."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """What the user, and the group that the user belongs to, are entitled to and hold."""

        def ask(client: PoolClient) -> dict[str, Any]:
            return {"tenants": client.tenants(), "groups": client.groups()}

        self.answer(await self.ask(ask))


class UnknownHandler(FastGPUHandler):
    """Anything else below the prefix: the shape of errors holds there, too."""

    @web.authenticated
    @authorized(action="read", resource=POOL)  # type: ignore[untyped-decorator]
    async def get(self, path: str) -> None:
        """Refuse."""
        raise web.HTTPError(404, f"There is no {PREFIX}/{path[:100]}.")


def routes(base_url: str) -> list[tuple[str, type[FastGPUHandler]]]:
    """Every route with its handler."""
    from .events import EventsHandler

    table: list[tuple[str, type[FastGPUHandler]]] = [
        ("pool", PoolHandler),
        ("devices", DevicesHandler),
        ("leases", LeasesHandler),
        ("queue", QueueHandler),
        (f"devices/{_DEVICE_ID}/history", DeviceHistoryHandler),
        (f"leases/{_LEASE_ID}", LeaseHandler),
        (f"leases/{_LEASE_ID}/history", LeaseHistoryHandler),
        (f"leases/{_LEASE_ID}/park", ParkHandler),
        (f"leases/{_LEASE_ID}/resume", ResumeHandler),
        (f"leases/{_LEASE_ID}/resize", ResizeHandler),
        (f"leases/{_LEASE_ID}/move", MoveHandler),
        (f"leases/{_LEASE_ID}/pin", PinHandler),
        ("quota", QuotaHandler),
        ("events", EventsHandler),
        ("(.*)", UnknownHandler),
    ]
    return [(url_path_join(base_url, PREFIX, path), handler) for path, handler in table]
