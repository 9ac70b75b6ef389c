"""The handlers of leases and of the queue, and the table of the actions on a lease."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import InvalidRequest, Message
from ...wire.client import PoolClient
from .base import LEASES, FastGPUHandler, HistoryHandler

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

#: An action takes the client, the id of the lease and the body of the request, and returns the lease after it.
LeaseAction = Callable[[PoolClient, str, Mapping[str, Any]], "LeaseView"]


def _resize(client: PoolClient, lease_id: str, body: Mapping[str, Any]) -> LeaseView:
    size = body.get("size")
    if not isinstance(size, str):
        raise InvalidRequest(Message.of("request.new_size"))
    seen = body.get("seen")
    if not (seen is None or isinstance(seen, str)):
        raise InvalidRequest(Message.of("request.seen_size"))
    return client.resize(lease_id, size, seen)


def _pin(client: PoolClient, lease_id: str, body: Mapping[str, Any]) -> LeaseView:
    pinned = body.get("pinned")
    if not isinstance(pinned, bool):
        raise InvalidRequest(Message.of("request.not_boolean", field="pinned"))
    return client.pin(lease_id, pinned=pinned)


def _snooze(client: PoolClient, lease_id: str, body: Mapping[str, Any]) -> LeaseView:
    for_ms = body.get("for_ms")
    if not isinstance(for_ms, int) or isinstance(for_ms, bool):
        raise InvalidRequest(Message.of("request.not_integer", field="for_ms"))
    return client.snooze(lease_id, for_ms)


def _cpu_meanwhile(client: PoolClient, lease_id: str, body: Mapping[str, Any]) -> LeaseView:
    on = body.get("on")
    if not isinstance(on, bool):
        raise InvalidRequest(Message.of("request.not_boolean", field="on"))
    return client.cpu_meanwhile(lease_id, on=on)


def _budget(client: PoolClient, lease_id: str, body: Mapping[str, Any]) -> LeaseView:
    amount = body.get("budget_micro")
    if "budget_micro" not in body or not (amount is None or type(amount) is int):
        raise InvalidRequest(Message.of("request.budget_micro"))
    return client.set_lease_budget(lease_id, amount)


#: The last part of the path -> the action.
LEASE_ACTIONS: dict[str, LeaseAction] = {
    "park": lambda client, lease_id, _: client.park(lease_id),
    "resume": lambda client, lease_id, _: client.resume(lease_id),
    "migrate": lambda client, lease_id, _: client.migrate(lease_id),
    "resize": _resize,
    "pin": _pin,
    "snooze": _snooze,
    "budget": _budget,
    "cpu_meanwhile": _cpu_meanwhile,
}
#: The query of the sizes, which the pool manager checks.
_SIZES_QUERY = ("model", "isolation", "priority", "unit")


class LeasesHandler(FastGPUHandler):
    """The leases of the user."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with live leases, and those that ended in the last hour."""
        self.answer({"leases": await self.call(PoolClient.leases)})


class SizesHandler(FastGPUHandler):
    """The sizes that a new request or a lease can have."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the sizes to choose from, their rates, and what choosing each does now."""
        query = {name: self.get_query_argument(name, None) for name in _SIZES_QUERY}
        lease_id = self.get_query_argument("lease_id", None)
        self.answer(await self.call(lambda client: client.sizes(lease_id, query)))


class QueueHandler(FastGPUHandler):
    """The queue of waiting requests."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the waiting requests in order of grant; those of other users have no names."""
        self.answer({"queue": await self.call(PoolClient.queue)})


class LeaseHandler(FastGPUHandler):
    """One lease of the user."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """Answer with the lease as it is now."""
        self.answer(await self.call(lambda client: client.lease(lease_id)))

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def delete(self, lease_id: str) -> None:
        """Release the lease; its kernel goes on without a GPU."""
        self.answer(await self.change(lambda client: client.release(lease_id)))


class LeaseHistoryHandler(HistoryHandler):
    """The usage of one lease over time."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """Answer with numbers by the second or by the minute."""
        resolution, since = self.window()
        self.answer(await self.call(lambda client: client.lease_history(lease_id, resolution, since)))


class AdviceHandler(FastGPUHandler):
    """The advice on the size of one lease."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, lease_id: str) -> None:
        """Answer with a smaller size that would do, or the reason for which there is no advice."""
        self.answer(await self.call(lambda client: client.advice(lease_id)))


class AdviceSilenceHandler(FastGPUHandler):
    """Whether there is advice for the notebook of one lease."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str) -> None:
        """Give no advice for the notebook of the lease, or give it again."""
        silenced = self.json_object().get("silenced", True)
        if not isinstance(silenced, bool):
            raise InvalidRequest(Message.of("request.not_boolean", field="silenced"))
        self.answer(await self.change(lambda client: client.silence_advice(lease_id, silenced=silenced)))


class LeaseActionHandler(FastGPUHandler):
    """One of the :data:`LEASE_ACTIONS` on one lease."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, lease_id: str, action: str) -> None:
        """Do the action, and answer with the lease after it."""
        body = self.json_object()
        self.answer(await self.change(lambda client: LEASE_ACTIONS[action](client, lease_id, body)))
