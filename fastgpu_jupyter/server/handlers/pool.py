"""The handlers of the pool manager itself, of the quota and of unknown paths."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import Message
from ...messages import render
from ...wire.client import PoolClient
from .. import language
from .base import LEASES, POOL, FastGPUHandler


class PoolHandler(FastGPUHandler):
    """The pool manager itself."""

    @web.authenticated
    @authorized(action="read", resource=POOL)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with version, scope, whether devices are simulated, and a message if there is one."""
        self.answer(await self.call(PoolClient.pool))


class QuotaHandler(FastGPUHandler):
    """The entitlements of the user and of the user's group."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with what both are entitled to, and what they hold."""

        def quota(client: PoolClient) -> dict[str, Any]:
            return {"tenants": client.tenants(), "groups": client.groups()}

        self.answer(await self.call(quota))


class UnknownHandler(FastGPUHandler):
    """Any other path below the prefix, so that its errors have the same shape."""

    @web.authenticated
    @authorized(action="read", resource=POOL)  # type: ignore[untyped-decorator]
    async def get(self, _path: str) -> None:
        """Refuse with the status 404."""
        raise web.HTTPError(404, render(Message.of("http.no_such_path"), language.of_user()))
