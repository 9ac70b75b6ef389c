"""Read the state for callers and for subscribers of the event stream."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...core.model.entities import Instant, Lease, State
from ...errors import Message
from ...wire.schemas import DeviceView, LeaseView, PoolView, QueueEntryView, StatusView
from ..identity import TenantNames
from ..protocols import Changes
from .backend import Backend
from .call import Caller
from .permissions import Permissions
from .usage_encoder import UsageEncoder
from .views.context import AccessScope, ViewContext
from .views.device import device_views
from .views.lease import lease_view, lease_views
from .views.pool import pool_view
from .views.queue import queue_views


class PoolFacts(NamedTuple):
    """Facts about the pool manager that do not change while it runs."""

    scope: str  #: ``user`` or ``system``
    currency: str
    started_at: int
    boot_id: str
    carried_over: tuple[str, ...] = ()  #: settings of a pool manager that was killed


class PoolReader:
    """Views of the state, within the access of a caller."""

    def __init__(self, backend: Backend, facts: PoolFacts, permissions: Permissions, names: TenantNames) -> None:
        self._backend = backend
        self._facts = facts
        self._permissions = permissions
        self._names = names

    async def status(self, caller: Caller) -> StatusView:
        """Return pool manager, devices, leases and queue at one instant."""
        return await self._backend.state.read_in_steps(lambda state, at: self._status(state, at, caller.access))

    async def pool(self) -> PoolView:
        """Return the pool manager itself."""
        return await self._backend.state.read(lambda state, _: self._pool(state))

    async def devices(self, caller: Caller) -> list[DeviceView]:
        """Return all devices as the caller sees them."""
        return await self._backend.state.read(lambda state, _: device_views(state, caller.access, self._context()))

    async def queue(self, caller: Caller) -> list[QueueEntryView]:
        """Return the waiting requests in order of grant."""
        return await self._backend.state.read_in_steps(
            lambda state, at: queue_views(state, at, caller.access, self._context())
        )

    async def leases(self, caller: Caller) -> list[LeaseView]:
        """Return the leases of the caller."""
        return await self._backend.state.read_in_steps(
            lambda state, at: lease_views(state, at, caller.access, self._context())
        )

    async def lease(self, caller: Caller, lease_id: str) -> LeaseView:
        """Return one lease of the caller's tenant. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
        return await self._backend.state.read(lambda state, at: self.visible_view(state, at, lease_id, caller))

    def visible_view(self, state: State, at: Instant, lease_id: str, caller: Caller) -> LeaseView:
        """Return the view of a lease of the caller's tenant. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
        return self.view(state, at, self._permissions.visible_lease(state, caller, lease_id))

    def view(self, state: State, at: Instant, lease: Lease) -> LeaseView:
        """Return the view of a lease."""
        return lease_view(state, lease, at, self._context())

    async def changed(
        self, state: State, at: Instant, access: AccessScope, lease_id: str | None, changes: Changes | None
    ) -> dict[str, Any] | None:
        """Return the content of a stream message: what ``changes`` changed, or everything if they are None.

        With ``lease_id`` it is about that lease only, and None if nothing about it changed. The positions of waiting
        leases are in the queue, because one lease that ends or is granted changes those of all behind it.
        """
        if lease_id is not None:
            if changes is not None and lease_id not in changes.lease_ids and lease_id not in state.queue:
                return None
            leases = await lease_views(state, at, access, self._context(), [lease_id])
            return {"pool": self._pool(state), "devices": [], "leases": leases, "queue": []}
        if changes is None:
            return {**await self._status(state, at, access)}
        return {
            "devices": device_views(state, access, self._context(), changes.device_ids),
            "leases": await lease_views(state, at, access, self._context(), changes.lease_ids),
            "queue": await queue_views(state, at, access, self._context()),
        }

    def usage(self, state: State, at: Instant) -> UsageEncoder:
        """Return the encoder of the last readings."""
        return UsageEncoder(state, at, self._backend.telemetry.usage)

    async def _status(self, state: State, at: Instant, access: AccessScope) -> StatusView:
        context = self._context()
        return {
            "pool": self._pool(state),
            "devices": device_views(state, access, context),
            "leases": await lease_views(state, at, access, context),
            "queue": await queue_views(state, at, access, context),
        }

    def _pool(self, state: State) -> PoolView:
        return pool_view(
            state,
            pool_id=self._backend.pool_id,
            scope=self._facts.scope,
            currency=self._facts.currency,
            started_at=self._facts.started_at,
            message=Message.of_optional(self._backend.supervisor.failure_message) or self._backend.inventory.message,
            fault=self._backend.faults.message,
            silent_since=self._backend.telemetry.silent_since,
            carried_over=self._facts.carried_over,
            cluster=self._backend.cluster,
        )

    def _context(self) -> ViewContext:
        backend = self._backend
        return ViewContext(
            currency=self._facts.currency,
            usage=backend.telemetry.usage,
            environment_of=backend.environment.variables_of,
            hidden_environment=backend.environment.hidden_variables(),
            queue=backend.state.queue_report,
            device_nodes_of=backend.environment.device_nodes_of,
            foreign=backend.processes.foreign,
            name_of=self._names.name_of,
            unseen=backend.processes.unseen,
            device_access_of=backend.device_access.access_of,
            scrub_progress_of=backend.scrubbing.status_of,
            cluster=backend.cluster,
        )
