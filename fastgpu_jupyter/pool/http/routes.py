"""The table of routes: every operation of :mod:`fastgpu_jupyter.wire.interfaces.pool` with its handler."""

from __future__ import annotations

import logging
import re
from collections import defaultdict

from tornado import web

from ...errors import InternalError
from ...wire.interfaces.pool import OPERATIONS
from .endpoint import Endpoint, EventsEndpoint, HealthEndpoint, UnknownEndpoint
from .handlers.base import HandlerTable
from .route import Route
from .server import PoolServer
from .service import PoolService

log = logging.getLogger("fastgpu.pool")
#: Paths whose requests need something else than the call of a handler.
SPECIAL: dict[str, type[Endpoint]] = {"/v1/health": HealthEndpoint, "/v1/events": EventsEndpoint}
#: Patterns of path parameters that differ from the documented ones: the handler explains what is wrong. Names are
#: matched as they travel, percent-encoded.
LENIENT = {"month": "[^/]{1,32}", "tenant": "[^/]*", "group": "[^/]*"}


def routes(handlers: HandlerTable) -> list[Route]:
    """Return the routes. Raises :class:`InternalError` unless exactly the operations have a handler."""
    if handlers.keys() != {operation.name for operation in OPERATIONS if operation.path not in SPECIAL}:
        raise InternalError("The operations of the interface and the handlers differ.")
    return [Route(operation, handlers.get(operation.name)) for operation in OPERATIONS]


def application(service: PoolService) -> web.Application:
    """Return the web application of one pool."""
    by_path: defaultdict[str, dict[str, Route]] = defaultdict(dict)
    for route in routes(service.handlers()):
        by_path[route.operation.path][route.operation.method] = route
    return web.Application(
        [
            (_pattern(path, methods), SPECIAL.get(path, Endpoint), {"service": service, "routes": methods})
            for path, methods in by_path.items()
        ],
        default_handler_class=UnknownEndpoint,
        default_handler_args={"service": service, "routes": {}},
        log_function=_log_request,
    )


def serve(service: PoolService) -> PoolServer:
    """Return the server of one pool, without a socket."""
    return PoolServer(application(service), limits=service.limits, streams=service.open_streams)


def _pattern(path: str, methods: dict[str, Route]) -> str:
    """Return the regular expression of a path with its parameters as named groups."""
    schemas = {
        parameter.name: parameter.schema
        for route in methods.values()
        for parameter in route.operation.parameters
        if parameter.where == "path"
    }

    def group(match: re.Match[str]) -> str:
        name = match[1]
        return f"(?P<{name}>{LENIENT.get(name) or schemas[name]['pattern'].strip('^$')})"

    return re.sub(r"{(\w+)}", group, path)


def _log_request(handler: web.RequestHandler) -> None:
    # Without the query and the headers, which may have secrets.
    request, took_ms = handler.request, 1000 * handler.request.request_time()
    log.debug("%s %s: %d in %.0f ms", request.method, request.path, handler.get_status(), took_ms)
