"""The tornado handlers, which make a :class:`~.call.HttpCall` of a request and a response of the answer or error."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

import msgspec
from tornado import iostream, web
from tornado.httputil import HTTPHeaders

from ...errors import FastGPUError, InternalError, InvalidRequest, LimitReached, Message, VersionMismatch
from ...wire import version
from ...wire.ids import IDEMPOTENCY_KEY
from ..host.process import peer_holder
from ..identity import key_of_uid, with_display_name
from ..journal.answers import FirstAnswer
from ..monitors import metrics
from .call import Caller, HttpCall
from .limits import reached
from .problem import problem
from .route import Route
from .server import PeerStream
from .service import PoolService
from .subscriber import StreamSubscriber


class Endpoint(web.RequestHandler):
    """The handler of one path, with the route of each of its methods."""

    _answering: asyncio.Future[Any] | None = None  #: set while the handler may wait for a change

    def initialize(self, service: PoolService, routes: Mapping[str, Route]) -> None:
        """Take over the service and the routes of the path; called by tornado."""
        self.service = service
        self.routes = routes

    @property
    def stream(self) -> PeerStream:
        """Return the connection of the request."""
        return cast(PeerStream, cast(Any, self.request.connection).stream)

    def prepare(self) -> None:
        """Refuse a request that is over a limit, then identify the caller."""
        if self.stream.over:
            self.set_header("Connection", "close")
            raise reached(self.stream.over)
        self.service.rate.take(self.stream.uid, asyncio.get_running_loop().time())
        if len(self.request.body) > self.service.limits.body_bytes_max:
            raise InvalidRequest(Message.of("request.body_too_large", most=self.service.limits.body_bytes_max))
        bearer = self.request.headers.get("Authorization", "")
        token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        stream = self.stream
        stream.holder = peer_holder(stream.socket, self.service.facts.boot_id, stream.holder)
        self.caller = Caller(stream.holder, key_of_uid(stream.uid), token, stream.lease_id)

    def set_default_headers(self) -> None:
        """State the version in every answer, refusals included."""
        self.set_header(version.HEADER, version.stated())

    async def require_version(self, lease_id: str | None) -> None:
        """Raise :class:`VersionMismatch` for a caller of FastGPU that would not understand the answer.

        A kernel that cannot follow its lease does not report its cells either, so the lease counts as used from now on.
        """
        headers = self.request.headers
        theirs = version.read(headers.get(version.HEADER))
        if not theirs.fits and (version.HEADER in headers or _has_unstated_version(headers)):
            if lease_id is not None:
                await self.service.leases.count_as_busy(self.caller, lease_id)
            raise VersionMismatch(Message.of("version.mismatch", caller=str(theirs), pool=str(version.OURS)))

    async def _respond(self, **path: str) -> None:
        """Check the permission of the route's operation, call its handler, and send the answer."""
        route = self.routes.get(self.request.method or "")
        if route is None or route.handler is None:
            raise web.HTTPError(405)
        await self.require_version(path.get("lease_id"))
        call = self._call(route, path)
        if call.key is not None and (first := await self.service.first_answers.find(call.key)) is not None:
            self._send_json(first)
            return
        await self.service.names.learn(self.caller.tenant)
        await self.service.permissions.require(route.operation, call)
        if not route.waits:
            await self._answer(route, call, await route.handler(call))
            return
        self._answering = asyncio.ensure_future(route.handler(call))
        try:
            await self._answer(route, call, await self._answering)
        except asyncio.CancelledError:
            if not self.stream.closed():
                raise

    get = post = put = delete = _respond

    def on_connection_close(self) -> None:
        """Stop waiting for a lease, because the client has disconnected."""
        if self._answering is not None:
            self._answering.cancel()

    def _call(self, route: Route, path: dict[str, str]) -> HttpCall:
        names = (parameter.name for parameter in route.operation.parameters if parameter.where == "query")
        query = {name: value for name in names if (value := self.get_query_argument(name, None)) is not None}
        body = self._body() if route.operation.body is not None else {}
        return HttpCall(self.caller, path, query, body, self._key(), route.operation.status)

    def _body(self) -> dict[str, Any]:
        """Return the JSON object of the request, an empty one without a body. Raises :class:`InvalidRequest`."""
        if not self.request.body:
            return {}
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            raise InvalidRequest(Message.of("request.body_media_type"))
        try:
            body = msgspec.json.decode(self.request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(Message.of("request.body_syntax", reason=str(error))) from error
        if not isinstance(body, dict):
            raise InvalidRequest(Message.of("request.body_not_object"))
        return body

    def _key(self) -> str | None:
        """Return the idempotency key, made one of this caller and this operation, or None without one."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None or self.request.method == "GET":
            return None
        if not re.fullmatch(IDEMPOTENCY_KEY, key):
            raise InvalidRequest(Message.of("request.idempotency_key"))
        # With the token, because the first answer is only for callers that may have it.
        call = f"{self.request.method} {self.request.path} {self.caller.token} {key}"
        return scoped_key(self.caller, hashlib.blake2b(call.encode(), digest_size=16).hexdigest())

    async def _answer(self, route: Route, call: HttpCall, value: Any) -> None:
        """Send ``value``, which is kept first if the request has an idempotency key and that was not done yet."""
        if isinstance(value, FirstAnswer):
            self._send_json(value)
        elif call.key is not None:
            answer = call.answer(value)
            await self.service.first_answers.keep(call.key, answer)
            self._send_json(answer)
        elif isinstance(value, AsyncIterator):
            await self._send_pieces(route, value)
        else:
            self._send(route, value)

    async def _send_pieces(self, route: Route, pieces: AsyncIterator[bytes]) -> None:
        """Send the pieces of a long answer as they come, until the client disconnects."""
        sending = self._answering = asyncio.ensure_future(self._write_pieces(route, pieces))
        try:
            await sending
        except (asyncio.CancelledError, iostream.StreamClosedError):
            if not self.stream.closed():
                raise

    async def _write_pieces(self, route: Route, pieces: AsyncIterator[bytes]) -> None:
        async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)):
            async for piece in pieces:
                self.set_status(route.operation.status)
                self.set_header("Content-Type", "application/json")
                self.write(piece)
                await self.flush()
        self.finish()

    def _send(self, route: Route, value: Any) -> None:
        if isinstance(value, bytes):
            self.set_status(route.operation.status)
            self.set_header("Content-Type", metrics.CONTENT_TYPE)
            self.finish(value)
        else:
            self._send_json(FirstAnswer(route.operation.status, msgspec.json.encode(value)))

    def _send_json(self, answer: FirstAnswer) -> None:
        self.set_status(answer.status)
        self.set_header("Content-Type", "application/json")
        self.finish(answer.body)

    def compute_etag(self) -> None:
        """Return no tag: answers are not cached, because the pool changes."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send the error as ``application/problem+json``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, FastGPUError):
            status, code, message = error.status, error.code, error.message
        elif status_code >= 500:
            status, code, message = status_code, InternalError.code, Message.of("pool.bug")
        else:
            status, code, message = status_code, "http_error", Message.of("http.error", reason=self._reason)
        self.service.metrics.refused[code] += 1
        self.set_status(status)
        if isinstance(error, LimitReached):
            self.set_header("Retry-After", str(error.retry_after_s))
        if status == 405:
            self.set_header("Allow", ", ".join(self.routes))
        self.set_header("Content-Type", "application/problem+json")
        self.finish(msgspec.json.encode(problem(status, code, with_display_name(message, self.service.names.name_of))))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log unexpected errors only: a :class:`FastGPUError` is an answer."""
        if not isinstance(value, FastGPUError):
            super().log_exception(typ, value, tb)


def _has_unstated_version(headers: HTTPHeaders) -> bool:
    """Return whether a request without a version looks like that of a FastGPU from before versions were stated.

    Its client was Python's, which sends this header; other programs have another, or name themselves.
    """
    return headers.get("Accept-Encoding") == "identity" and "User-Agent" not in headers


def scoped_key(caller: Caller, key: str) -> str:
    """Return an idempotency key that no other user's call has."""
    return f"{caller.holder.uid}:{key}"


class HealthEndpoint(Endpoint):
    """The handler of ``/v1/health``, which is never refused and needs neither state nor disk."""

    def prepare(self) -> None:
        """Check no limit, and identify no caller."""

    async def _respond(self, **_: str) -> None:
        if self.request.method not in self.routes:
            raise web.HTTPError(405)
        self._send(self.routes["GET"], {"status": "ok"})

    get = post = put = delete = _respond


class EventsEndpoint(Endpoint):
    """The handler of the event stream: one line of JSON a message, until one side disconnects."""

    _subscriber: StreamSubscriber | None = None

    async def _respond(self, **path: str) -> None:
        route = self.routes.get(self.request.method or "")
        if route is None:
            raise web.HTTPError(405)
        await self.require_version(self.get_query_argument("lease", None))
        call = self._call(route, path)
        await self.service.permissions.require(route.operation, call)
        # Closing the connection ends the wait for a reader that does not read.
        subscriber = self._subscriber = await self.service.subscribe(call, self.stream.close)
        self.set_header("Content-Type", "application/x-ndjson")
        try:
            while (message := await subscriber.next()) is not None:
                self.write(message)
                await self.flush()
        except iostream.StreamClosedError:
            pass  # the reader disconnected, or was disconnected
        finally:
            cut = "stuck" if self.stream.stuck else "behind" if subscriber.ended == "behind" else None
            self.service.publisher.unsubscribe(subscriber, cut)

    get = post = put = delete = _respond

    def on_connection_close(self) -> None:
        """End the subscriber, because the reader disconnected."""
        if self._subscriber is not None:
            self._subscriber.end("left")


class UnknownEndpoint(Endpoint):
    """The handler of unknown paths, so that their errors have the same shape."""

    def prepare(self) -> None:
        """Refuse with the status 404, after the checks of every request."""
        super().prepare()
        self.send_error(404, reason="There is no such route")
