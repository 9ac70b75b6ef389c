"""The base class of all handlers: access to the pool manager, errors, limits.

Every route is authenticated, and authorized by action and resource. Both are always written out, because the bare form
of ``authorized`` keeps the action and the resource of the first request. Errors have one shape: ``{"message", "code",
"detail"}``. Requests do not count as activity: an open page must not keep an idle server alive.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from http.client import responses
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from tornado import web

from ...errors import FastGPUError, InvalidRequest, Message
from ...messages import render, text_of
from ...text import printable
from ...wire import version
from ...wire.client import PoolClient
from ...wire.ids import IDEMPOTENCY_KEY
from .. import language

if TYPE_CHECKING:
    from ..pool_connector import PoolConnector

T = TypeVar("T")
POOL, DEVICES, LEASES, EVENTS = "fastgpu:pool", "fastgpu:devices", "fastgpu:leases", "fastgpu:events"
JOBS = "fastgpu:jobs"
#: The longest body of a request that this interface has is a few words.
BODY_BYTES_MAX = 64 * 1024


class FastGPUHandler(APIHandler):
    """The base class of the handlers of all routes."""

    _track_activity = False

    @property
    def connector(self) -> PoolConnector:
        """Return the extension's connection to the pool manager."""
        found: PoolConnector = self.settings["fastgpu_pool"]
        return found

    def set_default_headers(self) -> None:
        """State the version in every answer, so that a page of another one says so."""
        super().set_default_headers()
        self.set_header(version.HEADER, version.stated())

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse a body that is too large, after the usual checks."""
        await super().prepare()
        if len(self.request.body) > BODY_BYTES_MAX:
            too_large = Message.of("http.body_too_large", bytes_max=str(BODY_BYTES_MAX))
            raise web.HTTPError(413, render(too_large, language.of_user()))

    async def call(self, function: Callable[[PoolClient], T]) -> T:
        """Return the result of one call to the pool manager."""
        return await self.connector.call(function)

    async def change(self, function: Callable[[PoolClient], T]) -> T:
        """Return the result of a call that changes something, which the browser may repeat with the same key."""
        return await self.connector.call(function, key=self.idempotency_key())

    def idempotency_key(self) -> str:
        """Return the key of a change, a random one where the browser sent none. Raises :class:`InvalidRequest`."""
        key = self.request.headers.get("Idempotency-Key") or secrets.token_hex(16)
        if not re.fullmatch(IDEMPOTENCY_KEY, key):
            raise InvalidRequest(Message.of("request.idempotency_key"))
        return key

    def answer(self, value: Any, status: int = 200) -> None:
        """Finish the request with ``value`` as JSON."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value))

    def json_object(self) -> dict[str, Any]:
        """Return the JSON object in the body, an empty one without a body. Raises :class:`InvalidRequest`."""
        if not self.request.body.strip():
            return {}
        try:
            body = json.loads(self.request.body.decode())
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(Message.of("request.body_syntax", reason=str(error))) from error
        if not isinstance(body, dict):
            raise InvalidRequest(Message.of("request.body_not_object"))
        return body

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a refusal in one line, and the traceback of an unexpected error, without the query of the request.

        A query may have the token of the server, which tornado would write into the log.
        """
        request = printable(f"{self.request.method} {self.request.path}")
        if isinstance(value, FastGPUError):
            self.log.info("%s: %s", request, printable(text_of(value)))
        elif isinstance(value, web.HTTPError):
            said = value.log_message or value.reason or str(value.status_code)
            self.log.warning("%s: %s", request, printable(said))
        else:
            self.log.error("Uncaught exception in %s", request, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish the request with an error: ``{"message", "code", "detail"}``."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        message = responses.get(status_code, str(status_code))
        code, detail = f"http_{status_code}", ""
        if isinstance(error, FastGPUError):
            status_code, code, message = error.status, error.code, text_of(error, language.of_user())
            detail = type(error).__name__
        elif isinstance(error, web.HTTPError):
            message = error.log_message or error.reason or message
        self.set_status(status_code)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"message": message, "code": code, "detail": detail}))


class HistoryHandler(FastGPUHandler):
    """The base class of the handlers of histories."""

    def window(self) -> tuple[str, int | None]:
        """Return the resolution, which the pool manager checks, and the start of a history."""
        since = self.get_query_argument("since", None)
        try:
            return self.get_query_argument("resolution", "1s"), None if since is None else int(since)
        except ValueError:
            raise InvalidRequest(Message.of("request.not_integer", field="since")) from None
