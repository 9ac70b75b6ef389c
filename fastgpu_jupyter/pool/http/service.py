"""The composition of the HTTP interface: readers, permissions, the publisher and the handlers by subject."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ...core.model.entities import Plan
from ...core.model.lifecycle import LeaseState
from ..monitors.metrics import Metrics
from .backend import Backend
from .call import HttpCall
from .handlers.accounting import AccountingHandlers
from .handlers.advice import AdviceHandlers
from .handlers.base import HandlerContext, HandlerTable
from .handlers.devices import DeviceHandlers
from .handlers.kernels import KernelHandlers
from .handlers.leases import LeaseHandlers
from .handlers.pool import PoolHandlers
from .handlers.sizes import SizeHandlers
from .handlers.standby import StandbyHandlers
from .limits import RateLimiter, ServiceLimits
from .permissions import Permissions
from .publisher import EventPublisher
from .reader import PoolFacts, PoolReader
from .server import PeerStream
from .subscriber import StreamSubscriber

#: Discounts in percent, by plan.
NO_DISCOUNTS = {plan.value: 0 for plan in Plan}


class PoolService:
    """The pool as its callers may use it."""

    def __init__(
        self,
        backend: Backend,
        *,
        scope: str,
        currency: str,
        started_at: int,
        boot_id: str,
        limits: ServiceLimits,
        high_priority: Collection[str] = (),
        discounts: Mapping[str, int] = NO_DISCOUNTS,
        carried_over: Sequence[str] = (),
    ) -> None:
        """``carried_over``: settings of a pool manager that was killed, which hold for this one."""
        self.facts = PoolFacts(scope, currency, started_at, boot_id, tuple(carried_over))
        self.limits = limits
        self.rate = RateLimiter(limits.requests_per_s_per_tenant)
        self.metrics: Metrics = backend.metrics
        self.first_answers = backend.first_answers
        #: The open connections, which the server adds and removes.
        self.open_streams: set[PeerStream] = set()
        self.names = names = backend.names
        self.permissions = Permissions(backend.state, names, scope=scope, trusted=high_priority)
        self.reader = PoolReader(backend, self.facts, self.permissions, names)
        self.publisher = EventPublisher(backend, self.reader, limits, started_at=started_at)
        self._backend = backend
        context = HandlerContext(backend, self.facts, self.reader, self.permissions, self.publisher, names, discounts)
        self.leases = LeaseHandlers(context)
        self.pool = PoolHandlers(context, self.open_streams)
        self._kernels = KernelHandlers(context)
        self._devices = DeviceHandlers(context)
        self._accounting = AccountingHandlers(context)
        self._sizes = SizeHandlers(context, limits)
        self._advice = AdviceHandlers(context)
        self._standby = StandbyHandlers(context)

    def handlers(self) -> HandlerTable:
        """Return the handler of every operation."""
        return {
            **self.pool.table(),
            **self.leases.table(),
            **self._kernels.table(),
            **self._devices.table(),
            **self._accounting.table(),
            **self._sizes.table(),
            **self._advice.table(),
            **self._standby.table(),
        }

    async def subscribe(self, call: HttpCall, on_end: Callable[[], None]) -> StreamSubscriber:
        """Return a new subscriber of the event stream, which may be that of one lease of the caller's tenant."""
        lease_id = call.query.get("lease")
        since = call.number("since")
        if lease_id is not None:
            await self.reader.lease(call.caller, lease_id)
        return await self.publisher.subscribe(call.caller.access, lease_id, since, on_end)

    async def have_leases_ended(self) -> bool:
        """Return whether all leases have ended."""
        return await self._backend.state.read(
            lambda state, _: all(lease.state is LeaseState.ENDED for lease in state.leases.values())
        )

    async def is_idle(self) -> bool:
        """Return whether all leases have ended, no job is left to end, and there are no subscribers."""
        cluster = self._backend.cluster
        if cluster is not None and cluster.has_jobs_to_end():
            return False
        return await self.have_leases_ended() and not len(self.publisher)
