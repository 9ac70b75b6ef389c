"""The handler of the sizes that requests and leases can have."""

from __future__ import annotations

from ....core.model import commands as c
from ....core.model.entities import Instant, LeaseRequest, State
from ....core.sizing.options import SizeChoices
from ....errors import LimitReached, Message
from ....wire.schemas import SizeOptions
from .. import request_parsing
from ..call import HttpCall
from ..limits import ServiceLimits
from ..views.cluster import engine_name
from ..views.sizes import size_options
from .base import HandlerContext, HandlerTable

#: A request of a kernel that has a gate, as its server makes it; no other one is asked about.
_KERNEL = "kernel"
#: How long the first question waits until the engine has said what it offers, in seconds.
OFFERS_S = 3.0


class SizeHandlers:
    """The handler of the sizes that requests and leases can have."""

    def __init__(self, context: HandlerContext, limits: ServiceLimits) -> None:
        self._context, self._limits = context, limits
        self._state = context.backend.state

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {"GET /v1/sizes": self.sizes}

    async def sizes(self, call: HttpCall) -> SizeOptions:
        """Return the sizes of a lease of the caller, or of a request that the caller may make."""
        query = request_parsing.size_query(call.query)
        if query.lease_id is not None:
            return await self._of_lease(call, query)
        await self._context.permissions.require_priority(call.caller, query.priority)
        like = LeaseRequest(query.like, None, _KERNEL, None, priority=query.priority, isolation=query.isolation)
        caller, cluster = call.caller, self._context.backend.cluster
        if cluster is not None:
            await cluster.offers.current(OFFERS_S)

        def read(state: State, at: Instant) -> SizeOptions:
            closed = self._closed(state, c.RequestLease("", caller.tenant, like, caller.holder, ""), at)
            if cluster is not None:
                reason = Message.of("cluster.engine_decides", engine=engine_name(cluster))
                return size_options(None, cluster.sizes(like.size, closed, reason))
            report = self._state.size_report
            return size_options(None, report.for_request(caller.tenant, like, query.unit, at, closed=closed))

        return await self._state.read(read)

    def _closed(self, state: State, command: c.RequestLease, at: Instant) -> Message | None:
        """Return why no request of the caller is accepted at present, or ``None``."""
        fault = self._context.backend.faults.message
        if fault is not None:
            return Message.of_text(fault)
        try:
            self._limits.admit(state, command, at)
        except LimitReached as refusal:
            return refusal.message
        return None

    async def _of_lease(self, call: HttpCall, query: request_parsing.SizeQuery) -> SizeOptions:
        def read(state: State, at: Instant) -> SizeOptions:
            lease = self._context.permissions.visible_lease(state, call.caller, query.lease_id or "")
            if lease.cluster_job is not None:
                return size_options(lease.id, SizeChoices(lease.request.size, lease.request.size, (), []))
            used = self._context.backend.telemetry.usage.leases.get(lease.id)
            used_bytes = used.memory_used_bytes if used else None
            return size_options(lease.id, self._state.size_report.for_lease(lease, query.unit, used_bytes, at))

        return await self._state.read(read)
