"""The handlers of the pool manager itself, of the quota and of unknown paths."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...wire.client import PoolClient
from .base import LEASES, POOL, FastGPUHandler


class PoolHandler(FastGPUHandler):
    """The pool manager itself."""

    @web.authenticated
    @authorized(action="read", resource=POOL)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Version, scope, whether it is simulated, and what it has to say."""
        self.answer(await self.ask(PoolClient.pool))


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
        raise web.HTTPError(404, f"There is no fastgpu/api/{path[:100]}.")
