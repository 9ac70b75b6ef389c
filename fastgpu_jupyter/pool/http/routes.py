"""The routes: each finds out who calls, says it to the service and writes the answer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from tornado import iostream, web

from ...errors import FastGPUError, InternalError, InvalidRequest, LimitReached, Message, NotFound
from ...wire import openapi
from ...wire.schemas import TenantView
from ..host.process import peer_holder
from ..monitors import metrics
from ..monitors.history import RESOLUTIONS
from .limits import READER_RETRY_S, reached
from .problem import problem
from .server import PeerStream, PoolServer
from .service import Caller, PoolService
from .stream import StreamSubscriber

log = logging.getLogger("fastgpu.pool")
WAIT_MS_MAX = 30_000
KEY = "[!-~]{1,128}"
METHODS = ("GET", "POST", "PUT", "DELETE")


class _Route(web.RequestHandler):
    """Common to all routes: the caller, the body, one shape of error."""

    def initialize(self, service: PoolService, boot_id: str) -> None:
        """Know the service; called by tornado."""
        self.service = service
        self._boot_id = boot_id

    @property
    def stream(self) -> PeerStream:
        """The connection."""
        return cast(PeerStream, cast(Any, self.request.connection).stream)

    def prepare(self) -> None:
        """Refuse what is over a limit, then know the caller."""
        if self.stream.over:
            self.set_header("Connection", "close")
            raise reached(self.stream.over, READER_RETRY_S)
        self.service.rate.take(self.stream.uid, asyncio.get_running_loop().time())
        if len(self.request.body) > self.service.limits.body_bytes_max:
            raise InvalidRequest(f"The body may have {self.service.limits.body_bytes_max} bytes; this one has more.")
        bearer = self.request.headers.get("Authorization", "")
        token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        self.caller = Caller(peer_holder(self.stream.socket, self._boot_id), self.stream.tenant, token)

    def body(self) -> dict[str, Any]:
        """The request's JSON object; empty where there is no body."""
        if not self.request.body:
            return {}
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            raise InvalidRequest("The body must be JSON, sent as application/json.")
        try:
            body = msgspec.json.decode(self.request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from error
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return body

    def key(self) -> str | None:
        """The idempotency key, if there is one: of this call, so that another with the same key is carried out."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not re.fullmatch(KEY, key):
            raise InvalidRequest("Idempotency-Key must be 1 to 128 visible ASCII characters.")
        return f"{self.request.method} {self.request.path} {key}"

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number of the query."""
        text = self.get_query_argument(name, None)
        try:
            return default if text is None else int(text)
        except ValueError:
            raise InvalidRequest(f"{name} must be a whole number.") from None

    def compute_etag(self) -> None:
        """Nothing is cached: the pool changes."""

    def answer(self, value: Any, status: int = 200) -> None:
        """Send ``value`` as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the error as problem+json."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, FastGPUError):
            status, code, message = error.status, error.code, error.message
        else:
            status = status_code
            code = InternalError.code if status_code >= 500 else "http_error"
            bug = status_code >= 500
            message = Message.of("pool.bug") if bug else Message.of("http.error", reason=self._reason)
        self.service.metrics.refused[code] += 1
        self.set_status(status)
        if isinstance(error, LimitReached):
            self.set_header("Retry-After", str(error.retry_after_s))
        if status == 405:
            self.set_header("Allow", ", ".join(methods_of(type(self))))
        self.set_header("Content-Type", "application/problem+json")
        self.finish(msgspec.json.encode(problem(status, code, message)))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An error of ours is an answer, not an accident."""
        if not isinstance(value, FastGPUError):
            super().log_exception(typ, value, tb)


def methods_of(route: type[web.RequestHandler]) -> list[str]:
    """The methods that a route has."""
    return [name for name in METHODS if getattr(route, name.lower()) is not getattr(web.RequestHandler, name.lower())]


class HealthRoute(_Route):
    """Whether the pool serves at all: touches neither state nor disk."""

    def prepare(self) -> None:
        """Whoever asks, and however busy the pool is, is answered."""

    def get(self) -> None:
        """Answer at once."""
        self.answer({"status": "ok"})


class StatusRoute(_Route):
    """Everything at one instant, or one part of it."""

    def initialize(self, service: PoolService, boot_id: str, part: str | None = None) -> None:
        """Know which part of the status the route is for; all of it without one."""
        super().initialize(service, boot_id)
        self._part = part

    async def get(self) -> None:
        """Send the parts that the route is for."""
        status = await self.service.status(self.caller)
        if self._part is None:
            self.answer(status)
        elif self._part == "pool":
            self.answer(status["pool"])
        else:
            self.answer({self._part: status[self._part]})


class LeasesRoute(StatusRoute):
    """The caller's leases."""

    async def post(self) -> None:
        """Ask for a lease."""
        self.answer(await self.service.request(self.caller, self.body(), self.key()), 201)


class LeaseRoute(_Route):
    """One lease."""

    _waiting: asyncio.Future[Any] | None = None

    async def get(self, lease_id: str) -> None:
        """The lease now, or as soon as it is newer than ``after``."""
        wait_ms = min(self.number("wait_ms") or 0, WAIT_MS_MAX)
        after = self.number("after", -1) or 0
        waiting = self.service.wait(self.caller, lease_id, wait_ms / 1000, lambda view: view["version"] > after)
        self._waiting = asyncio.ensure_future(waiting)
        try:
            self.answer(await self._waiting)
        except asyncio.CancelledError:
            if not self.stream.closed():
                raise

    def on_connection_close(self) -> None:
        """Stop waiting, because the client has closed the connection."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def delete(self, lease_id: str) -> None:
        """Release it."""
        self.answer(await self.service.release(self.caller, lease_id, self.key()))


class _HistoryRoute(_Route):
    """What was used, as arrays."""

    def window(self) -> tuple[str, int | None]:
        """The resolution, and from when on."""
        resolution = self.get_query_argument("resolution", "1s")
        if resolution not in RESOLUTIONS:
            raise InvalidRequest(f"resolution must be one of {', '.join(RESOLUTIONS)}.")
        return resolution, self.number("since")


class LeaseHistoryRoute(_HistoryRoute):
    """What a lease used."""

    async def get(self, lease_id: str) -> None:
        """Send it."""
        self.answer(await self.service.lease_history(self.caller, lease_id, *self.window()))


class DeviceHistoryRoute(_HistoryRoute):
    """What was used of a device."""

    async def get(self, device_id: str) -> None:
        """Send it."""
        self.answer(await self.service.device_history(device_id, *self.window()))


class BindRoute(_Route):
    """The holder of a lease."""

    async def post(self, lease_id: str) -> None:
        """Name the holder."""
        self.answer(await self.service.bind(self.caller, lease_id, self.body(), self.key()))


class ResizeRoute(_Route):
    """The size of a lease."""

    async def post(self, lease_id: str) -> None:
        """Change it."""
        self.answer(await self.service.resize(self.caller, lease_id, self.body(), self.key()))


class MigrateRoute(_Route):
    """A lease whose device is not well."""

    async def post(self, lease_id: str) -> None:
        """Take it elsewhere."""
        self.answer(await self.service.migrate(self.caller, lease_id, self.key()))


class LibrariesRoute(_Route):
    """What came of a change of size in the kernel."""

    async def post(self, lease_id: str) -> None:
        """Say it."""
        self.answer(await self.service.libraries(self.caller, lease_id, self.body(), self.key()))


class ParkRoute(_Route):
    """The lease's memory, in the host's."""

    async def post(self, lease_id: str) -> None:
        """Move it there."""
        self.answer(await self.service.park(self.caller, lease_id, self.key()))


class ResumeRoute(_Route):
    """The lease's memory, on a device."""

    async def post(self, lease_id: str) -> None:
        """Wait for one."""
        self.answer(await self.service.resume(self.caller, lease_id, self.key()))


class LeaseBudgetRoute(_Route):
    """What the lease may cost."""

    async def post(self, lease_id: str) -> None:
        """Set it."""
        self.answer(await self.service.set_lease_budget(self.caller, lease_id, self.body(), self.key()))


class PinRoute(_Route):
    """Whether the lease may be parked for others."""

    async def post(self, lease_id: str) -> None:
        """Say so."""
        self.answer(await self.service.pin(self.caller, lease_id, self.body(), self.key()))


class ActivityRoute(_Route):
    """Whether a cell runs."""

    async def post(self, lease_id: str) -> None:
        """Say so."""
        self.answer(await self.service.activity(self.caller, lease_id, self.body(), self.key()))


class TransferRoute(_Route):
    """Who is billed for a lease."""

    async def post(self, lease_id: str) -> None:
        """Change it."""
        self.answer(await self.service.transfer(self.caller, lease_id, self.body(), self.key()))


class StatementsRoute(_Route):
    """What was used in a month."""

    async def get(self, month: str) -> None:
        """The caller's statement, or everybody's."""
        self.answer({"statements": await self.service.statements(self.caller, month)})


class RatesRoute(_Route):
    """What devices cost."""

    async def get(self) -> None:
        """By model."""
        self.answer({"rates": await self.service.rates()})


class DeviceRoute(_Route):
    """One device, for administrators."""

    async def put(self, device_id: str) -> None:
        """Take it out of service or put it back."""
        await self.service.drain(self.caller, device_id, self.body(), self.key())
        status = await self.service.status(self.caller)
        self.answer(_one(status["devices"], "id", device_id))


class MigModeRoute(_Route):
    """MIG mode of one device, for administrators."""

    async def get(self, device_id: str) -> None:
        """What it is, and what switching it would disturb."""
        self.answer(await self.service.partition_mode(self.caller, device_id))

    async def put(self, device_id: str) -> None:
        """Switch it."""
        self.answer(await self.service.set_partition_mode(self.caller, device_id, self.body()))


class TenantsRoute(_Route):
    """What tenants are entitled to."""

    async def get(self) -> None:
        """The caller's entitlement, or everybody's."""
        self.answer({"tenants": await self.service.tenants(self.caller)})


class TenantRoute(_Route):
    """One tenant, for administrators."""

    async def put(self, tenant: str) -> None:
        """Set it."""
        await self.service.set_tenant(self.caller, tenant, self.body(), self.key())
        self.answer(_tenant(await self.service.tenants(self.caller), tenant))


class BudgetRoute(_Route):
    """What a tenant may spend, for administrators."""

    async def put(self, tenant: str) -> None:
        """Set it."""
        await self.service.set_budget(self.caller, tenant, self.body(), self.key())
        self.answer(_tenant(await self.service.tenants(self.caller), tenant))


class ReservationsRoute(_Route):
    """Capacity that is held for tenants."""

    async def get(self) -> None:
        """The caller's, or all."""
        self.answer({"reservations": await self.service.reservations(self.caller)})


class ReservationRoute(_Route):
    """One reservation, for administrators."""

    async def put(self, reservation_id: str) -> None:
        """Make it."""
        await self.service.reserve(self.caller, reservation_id, self.body(), self.key())
        self.answer(_one(await self.service.reservations(self.caller), "id", reservation_id))

    async def delete(self, reservation_id: str) -> None:
        """End it."""
        await self.service.cancel_reservation(self.caller, reservation_id, self.key())
        self.answer(_one(await self.service.reservations(self.caller), "id", reservation_id))


class GroupsRoute(_Route):
    """What groups of tenants are entitled to."""

    async def get(self) -> None:
        """The caller's, or all."""
        self.answer({"groups": await self.service.groups(self.caller)})


class GroupRoute(_Route):
    """One group, for administrators."""

    async def put(self, group: str) -> None:
        """Set it."""
        await self.service.set_group(self.caller, group, self.body(), self.key())
        self.answer(_one(await self.service.groups(self.caller), "group", group))


def _tenant(views: Sequence[TenantView], tenant: str) -> TenantView:
    """Return the view of a tenant. Raises :class:`NotFound` if there is none by now."""
    found = next((view for view in views if view["tenant"]["key"] == tenant), None)
    if found is None:
        raise NotFound(f"There is no tenant {tenant[:80]!r} any more.")
    return found


def _one(views: Sequence[Any], name: str, value: str) -> Any:
    """The view with that name. Raises :class:`NotFound` where it is gone by now."""
    found = next((view for view in views if view[name] == value), None)
    if found is None:
        raise NotFound(f"There is no {value[:80]!r} any more.")
    return found


class EventsRoute(_Route):
    """The event stream: a line of JSON a message, until one side leaves."""

    _subscriber: StreamSubscriber | None = None

    async def get(self) -> None:
        """Send messages for as long as the reader takes them."""
        lease_id, since = self.get_query_argument("lease", None), self.number("since")
        # Closing is what ends the wait for a reader that takes nothing.
        subscriber = await self.service.subscribe(self.caller, lease_id, since, self.stream.close)
        self._subscriber = subscriber
        self.set_header("Content-Type", "application/x-ndjson")
        try:
            while (message := await subscriber.next()) is not None:
                self.write(message)
                await self.flush()
        except iostream.StreamClosedError:
            pass  # the reader left, or was cut
        finally:
            cut = "stuck" if self.stream.stuck else "behind" if subscriber.ended == "behind" else None
            self.service.publisher.unsubscribe(subscriber, cut)

    def on_connection_close(self) -> None:
        """The reader left: wait for nothing more to send."""
        if self._subscriber is not None:
            self._subscriber.end("left")


class MetricsRoute(_Route):
    """Metrics for Prometheus."""

    async def get(self) -> None:
        """Send all metrics as text."""
        text = await self.service.metrics_text()
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(text)


class OpenApiRoute(_Route):
    """The description of all of this."""

    def get(self) -> None:
        """Send it."""
        self.answer(openapi.document())


class NoRoute(_Route):
    """Anything else."""

    def prepare(self) -> None:
        """Say so in the one shape of error."""
        super().prepare()
        self.send_error(404, reason="There is no such route")


def serve(service: PoolService, boot_id: str) -> PoolServer:
    """The server of one pool; it has no socket yet."""
    return PoolServer(application(service, boot_id), limits=service.limits, streams=service.open_streams)


def application(service: PoolService, boot_id: str) -> web.Application:
    """The web application for one pool."""
    common = {"service": service, "boot_id": boot_id}
    lease = r"([0-9A-Za-z_-]{1,64})"
    return web.Application(
        [
            ("/v1/health", HealthRoute, common),
            ("/v1/status", StatusRoute, common),
            ("/v1/pool", StatusRoute, {**common, "part": "pool"}),
            ("/v1/devices", StatusRoute, {**common, "part": "devices"}),
            ("/v1/queue", StatusRoute, {**common, "part": "queue"}),
            ("/v1/leases", LeasesRoute, {**common, "part": "leases"}),
            (r"/v1/devices/([0-9A-Za-z_.:-]{1,80})", DeviceRoute, common),
            (r"/v1/devices/([0-9A-Za-z_.:-]{1,80})/history", DeviceHistoryRoute, common),
            (r"/v1/devices/([0-9A-Za-z_.:-]{1,80})/mig", MigModeRoute, common),
            (f"/v1/leases/{lease}/history", LeaseHistoryRoute, common),
            (f"/v1/leases/{lease}/resize", ResizeRoute, common),
            (f"/v1/leases/{lease}/migrate", MigrateRoute, common),
            (f"/v1/leases/{lease}/libraries", LibrariesRoute, common),
            (f"/v1/leases/{lease}/park", ParkRoute, common),
            (f"/v1/leases/{lease}/resume", ResumeRoute, common),
            (f"/v1/leases/{lease}/budget", LeaseBudgetRoute, common),
            (f"/v1/leases/{lease}/pin", PinRoute, common),
            (f"/v1/leases/{lease}/activity", ActivityRoute, common),
            (f"/v1/leases/{lease}/transfer", TransferRoute, common),
            ("/v1/rates", RatesRoute, common),
            ("/v1/statements/([^/]{1,32})", StatementsRoute, common),
            ("/v1/tenants", TenantsRoute, common),
            (r"/v1/tenants/([0-9A-Za-z_.@-]{1,64})", TenantRoute, common),
            (r"/v1/tenants/([0-9A-Za-z_.@-]{1,64})/budget", BudgetRoute, common),
            ("/v1/reservations", ReservationsRoute, common),
            (f"/v1/reservations/{lease}", ReservationRoute, common),
            ("/v1/groups", GroupsRoute, common),
            (r"/v1/groups/([0-9A-Za-z_.@-]{1,64})", GroupRoute, common),
            (f"/v1/leases/{lease}", LeaseRoute, common),
            (f"/v1/leases/{lease}/bind", BindRoute, common),
            ("/v1/events", EventsRoute, common),
            ("/v1/metrics", MetricsRoute, common),
            ("/v1/openapi.json", OpenApiRoute, common),
        ],
        default_handler_class=NoRoute,
        default_handler_args=common,
        log_function=_log_request,
    )


def _log_request(handler: web.RequestHandler) -> None:
    # The path without the query, and no header: neither is anybody's business.
    request, took_ms = handler.request, 1000 * handler.request.request_time()
    log.debug("%s %s: %d in %.0f ms", request.method, request.path, handler.get_status(), took_ms)
