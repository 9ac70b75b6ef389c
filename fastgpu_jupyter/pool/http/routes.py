"""The routes: each finds out who calls, says it to the service and writes the answer."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
from tornado import iostream, web

from ...errors import FastGPUError, InternalError, InvalidRequest
from ..host.process import peer_holder
from .service import Caller, Service

BODY_BYTES_MAX = 64 * 2**10
WAIT_MS_MAX = 30_000
KEY_MAX = 128


class _Route(web.RequestHandler):
    """Common to all routes: the caller, the body, one shape of error."""

    def initialize(self, service: Service, boot_id: str) -> None:
        """Know the service; called by tornado."""
        self.service = service
        self._boot_id = boot_id

    def prepare(self) -> None:
        """Know the caller, and refuse a body that is not JSON."""
        connection = cast(Any, self.request.connection)
        bearer = self.request.headers.get("Authorization", "")
        token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        self.caller = Caller(peer_holder(connection.stream.socket, self._boot_id), token)

    def body(self) -> dict[str, Any]:
        """The request's JSON object; empty where there is no body."""
        if not self.request.body:
            return {}
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            raise InvalidRequest("The body must be JSON, sent as application/json.")
        try:
            body = json.loads(self.request.body)
        except ValueError as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from error
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return body

    def key(self) -> str | None:
        """The idempotency key, if the caller sent one."""
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and len(key) > KEY_MAX:
            raise InvalidRequest(f"Idempotency-Key may have {KEY_MAX} characters.")
        return key

    def answer(self, value: Any, status: int = 200) -> None:
        """Send ``value`` as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the error as problem+json."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, FastGPUError):
            status, code, detail = error.status, error.code, str(error)
        else:
            status = status_code
            code = InternalError.code if status_code >= 500 else "http_error"
            detail = f"{self._reason}." if status_code < 500 else "The pool manager met a bug of its own; see its log."
        self.set_status(status)
        self.set_header("Content-Type", "application/problem+json")
        title = code.replace("_", " ").capitalize()
        problem = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
        self.finish(msgspec.json.encode(problem))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An error of ours is an answer, not an accident."""
        if not isinstance(value, FastGPUError):
            super().log_exception(typ, value, tb)


class HealthRoute(_Route):
    """Whether the pool serves at all: touches neither state nor disk."""

    def get(self) -> None:
        """Answer at once."""
        self.answer({"status": "ok"})


class StatusRoute(_Route):
    """Everything at one instant, or one part of it."""

    def initialize(self, service: Service, boot_id: str, part: str | None = None) -> None:
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

    async def get(self, lease_id: str) -> None:
        """The lease now, or as soon as it is newer than ``after``."""
        wait_ms = min(self._number("wait_ms", 0), WAIT_MS_MAX)
        after = self._number("after", -1)
        self.answer(
            await self.service.wait(self.caller, lease_id, wait_ms / 1000, lambda view: view["version"] > after)
        )

    async def delete(self, lease_id: str) -> None:
        """Release it."""
        self.answer(await self.service.release(self.caller, lease_id, self.key()))

    def _number(self, name: str, default: int) -> int:
        text = self.get_query_argument(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise InvalidRequest(f"{name} must be a whole number.") from None


class BindRoute(_Route):
    """The holder of a lease."""

    async def post(self, lease_id: str) -> None:
        """Name the holder."""
        self.answer(await self.service.bind(self.caller, lease_id, self.body(), self.key()))


class EventsRoute(_Route):
    """The event stream: a line of JSON a message, until one side leaves."""

    async def get(self) -> None:
        """Send messages for as long as the reader takes them."""
        subscriber = await self.service.subscribe(self.caller, self.get_query_argument("lease", None))
        self.set_header("Content-Type", "application/x-ndjson")
        try:
            while not subscriber.cut:
                self.write(await subscriber.get())
                await self.flush()
        except iostream.StreamClosedError:
            pass  # the reader left
        finally:
            self.service.publisher.unsubscribe(subscriber)


class NoRoute(_Route):
    """Anything else."""

    def prepare(self) -> None:
        """Say so in the one shape of error."""
        self.send_error(404, reason="There is no such route")


def application(service: Service, boot_id: str) -> web.Application:
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
            (f"/v1/leases/{lease}", LeaseRoute, common),
            (f"/v1/leases/{lease}/bind", BindRoute, common),
            ("/v1/events", EventsRoute, common),
        ],
        default_handler_class=NoRoute,
        default_handler_args=common,
        log_function=lambda _: None,
    )
