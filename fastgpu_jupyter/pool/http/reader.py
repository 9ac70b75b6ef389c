"""Read the state for callers and for subscribers of the event stream."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...core.model.entities import Instant, Lease, State
from ...errors import Message
from ...wire.schemas import LeaseView, PoolView, StatusView
from ..identity import TenantNames
from ..protocols import Changes
from .backend import Backend
from .call import Caller
from .permissions import Permissions
from .usage_encoder import UsageEncoder
from .views.context import AccessScope, EstimatorCache, ViewContext
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


class PoolReader:
    """Views of the state, within the access of a caller."""

    def __init__(self, backend: Backend, facts: PoolFacts, permissions: Permissions, names: TenantNames) -> None:
        self._backend = backend
        self._facts = facts
        self._permissions = permissions
        self._names = names
        self._estimator = EstimatorCache(backend.state.queue_positions)

    async def status(self, caller: Caller) -> StatusView:
        """Return pool manager, devices, leases and queue at one instant."""
        return await self._backend.state.read(lambda state, at: self._status(state, at, caller.access))

    async def lease(self, caller: Caller, lease_id: str) -> LeaseView:
        """Return one lease of the caller's tenant. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
        return await self._backend.state.read(lambda state, at: self.visible_view(state, at, lease_id, caller))

    def visible_view(self, state: State, at: Instant, lease_id: str, caller: Caller) -> LeaseView:
        """Return the view of a lease of the caller's tenant. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
        return self.view(state, at, self._permissions.visible_lease(state, caller, lease_id))

    def view(self, state: State, at: Instant, lease: Lease) -> LeaseView:
        """Return the view of a lease."""
        return lease_view(state, lease, at, self._context())

    def changed(
        self, state: State, at: Instant, access: AccessScope, lease_id: str | None, changes: Changes | None
    ) -> dict[str, Any] | None:
        """Return the content of a stream message: what ``changes`` changed, or everything if they are None.

        With ``lease_id`` it is about that lease only, and None if nothing about it changed.
        """
        if lease_id is not None:
            if changes is not None and lease_id not in changes.lease_ids and lease_id not in state.queue:
                return None
            leases = lease_views(state, at, access, self._context(), [lease_id])
            return {"pool": self._pool(state), "devices": [], "leases": leases, "queue": []}
        if changes is None:
            return {**self._status(state, at, access)}
        # A lease that ends or is granted changes the positions of the requests behind it.
        changed_ids = changes.lease_ids | set(state.queue)
        return {
            "devices": device_views(state, access, self._context(), changes.device_ids),
            "leases": lease_views(state, at, access, self._context(), changed_ids),
            "queue": queue_views(state, access, self._context()),
        }

    def usage(self, state: State, at: Instant) -> UsageEncoder:
        """Return the encoder of the last readings."""
        return UsageEncoder(state, at, self._backend.telemetry.usage)

    def _status(self, state: State, at: Instant, access: AccessScope) -> StatusView:
        context = self._context()
        return {
            "pool": self._pool(state),
            "devices": device_views(state, access, context),
            "leases": lease_views(state, at, access, context),
            "queue": queue_views(state, access, context),
        }

    def _pool(self, state: State) -> PoolView:
        return pool_view(
            state,
            scope=self._facts.scope,
            currency=self._facts.currency,
            started_at=self._facts.started_at,
            message=Message.of_optional(self._backend.supervisor.failure_message) or self._backend.inventory.message,
            fault=self._backend.faults.message,
            silent_since=self._backend.telemetry.silent_since,
        )

    def _context(self) -> ViewContext:
        backend = self._backend
        return ViewContext(
            currency=self._facts.currency,
            usage=backend.telemetry.usage,
            environment_of=backend.environment.variables_of,
            hidden_environment=backend.environment.hidden_variables(),
            queue_positions=backend.state.queue_positions,
            device_nodes_of=backend.environment.device_nodes_of,
            foreign=backend.processes.foreign,
            name_of=self._names.name_of,
            device_access_of=backend.device_access.access_of,
            scrub_progress_of=backend.scrubbing.status_of,
            estimator=self._estimator,
        )
