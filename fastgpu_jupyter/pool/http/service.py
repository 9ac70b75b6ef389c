"""What the routes do, without HTTP: who may see and do what, and which command that is.

A caller is known by the user id that the system recorded for its connection. Its tenant is that user. Root, and the
user the pool runs as in a per-user pool, are the same question with the same answer: the tenant's own leases only,
except that root sees and releases all.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...core.lease.lookup import find_lease
from ...core.model import commands as c
from ...core.model.entities import Holder, Instant, Lease, Plan, Priority, Retention, State
from ...core.model.lifecycle import LeaseState
from ...core.placement.inventory import find_device
from ...errors import Forbidden, InvalidRequest, Message, NotFound
from ...wire.client import token_digest
from ...wire.schemas import (
    GroupView,
    HistoryView,
    LeaseView,
    PartitionModeView,
    RateView,
    ReservationView,
    StatementView,
    TenantView,
)
from ..host.attribution import host_pid
from ..host.process import holder_of
from ..monitors.metrics import Metrics, MetricsSnapshot
from ..protocols import Changes
from ..supervisor import wait_for_event
from . import request_parsing
from .backend import Backend
from .limits import RateLimiter, ServiceLimits
from .server import PeerStream
from .stream import EventPublisher, StreamSubscriber, UsageEncoder
from .views.accounting import group_views, rate_views, reservation_views, tenant_views
from .views.context import AccessScope, EstimatorCache, ViewContext
from .views.device import device_views
from .views.lease import lease_view, lease_views
from .views.pool import pool_view
from .views.queue import queue_views

#: Changes are numbered from the start's wall clock on, so that a number of an earlier pool manager means nothing here.
SEQ_PER_MS = 1000
#: How long an answer to a request waits for the preparation of a logical GPU before it says ``preparing``.
PREPARE_GRACE_S = 0.5
#: In percent, by plan.
NO_DISCOUNTS = {plan.value: 0 for plan in Plan}
log = logging.getLogger("fastgpu.pool")
_DIGEST = re.compile("[0-9a-f]{64}")


class Caller(NamedTuple):
    """Who asks."""

    holder: Holder
    tenant: str  #: the name of its user
    token: str | None

    @property
    def access(self) -> AccessScope:
        """What the caller may see."""
        return AccessScope(self.tenant, all_tenants=self.holder.uid == 0)


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
    ) -> None:
        self._backend = backend
        self.metrics: Metrics = backend.metrics
        self.limits = limits
        self.rate = RateLimiter(limits.requests_per_s_per_tenant)
        #: The open connections, which the server adds and removes.
        self.open_streams: set[PeerStream] = set()
        self._scope = scope
        self._high_priority = high_priority
        self._discounts = discounts
        self._currency = currency
        self._started_at = started_at
        self._boot_id = boot_id
        self._estimator = EstimatorCache(backend.state.queue_positions)
        self.publisher = EventPublisher(backend, self._changed, self._usage, limits, first_seq=started_at * SEQ_PER_MS)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def status(self, caller: Caller) -> dict[str, Any]:
        """Pool, devices, leases and queue at one instant."""
        return await self._backend.state.read(lambda state, at: self._everything(state, at, caller.access))

    async def lease(self, caller: Caller, lease_id: str) -> LeaseView:
        """One lease of the caller's. Raises :class:`NotFound`, also where it is somebody else's."""
        return await self._backend.state.read(lambda state, at: self._one(state, at, lease_id, caller))

    async def lease_history(self, caller: Caller, lease_id: str, resolution: str, since: int | None) -> HistoryView:
        """What a lease of the caller's used."""

        def read(state: State, at: Instant) -> HistoryView:
            lease = self._visible(state, caller, lease_id)
            return self._backend.telemetry.history.lease(lease.id, resolution, since, at)

        return await self._backend.state.read(read)

    async def device_history(self, device_id: str, resolution: str, since: int | None) -> HistoryView:
        """What was used of a device; for everybody, as its utilization is. Raises :class:`NotFound`."""

        def read(state: State, at: Instant) -> HistoryView:
            find_device(state, device_id)
            return self._backend.telemetry.history.device(device_id, resolution, since, at)

        return await self._backend.state.read(read)

    async def subscribe(
        self, caller: Caller, lease_id: str | None, since: int | None, on_end: Callable[[], None]
    ) -> StreamSubscriber:
        """A new subscriber of the event stream."""
        if lease_id is not None:
            await self.lease(caller, lease_id)
        return await self.publisher.subscribe(caller.access, lease_id, since, on_end)

    async def metrics_text(self) -> bytes:
        """All metrics in Prometheus' format."""

        def read(state: State, at: Instant) -> bytes:
            accepting = self._backend.faults.message is None
            foreign = {name: len(found) for name, found in self._backend.processes.foreign.items()}
            now = MetricsSnapshot(
                state,
                self._backend.telemetry.usage,
                len(self.publisher),
                len(self.open_streams),
                accepting,
                at,
                foreign,
                self._backend.supervisor.failures,
            )
            return self.metrics.text(now)

        return await self._backend.state.read(read)

    def _everything(self, state: State, at: Instant, access: AccessScope) -> dict[str, Any]:
        return {
            "pool": self._pool(state),
            "devices": device_views(state, access, self._facts()),
            "leases": lease_views(state, at, access, self._facts()),
            "queue": queue_views(state, access, self._facts()),
        }

    def _pool(self, state: State) -> Any:
        return pool_view(
            state,
            scope=self._scope,
            currency=self._currency,
            started_at=self._started_at,
            message=Message.of_optional(self._backend.supervisor.failure_message) or self._backend.inventory.message,
            fault=self._backend.faults.message,
            silent_since=self._backend.telemetry.silent_since,
        )

    def _facts(self) -> ViewContext:
        backend = self._backend
        return ViewContext(
            self._currency,
            backend.telemetry.usage,
            backend.environment.variables_of,
            backend.environment.hidden_variables(),
            backend.state.queue_positions,
            backend.environment.device_nodes_of,
            backend.processes.foreign,
            backend.device_access.access_of,
            backend.scrubbing.status_of,
            self._estimator,
        )

    def _one(self, state: State, at: Instant, lease_id: str, caller: Caller) -> LeaseView:
        return self._view(state, at, self._visible(state, caller, lease_id))

    def _view(self, state: State, at: Instant, lease: Lease) -> LeaseView:
        return lease_view(state, lease, at, self._facts())

    def _visible(self, state: State, caller: Caller, lease_id: str) -> Lease:
        lease = find_lease(state, lease_id)
        if not caller.access.includes(lease):
            raise NotFound(f"There is no lease {lease_id[:40]!r}. `jupyter fastgpu status` lists yours.")
        return lease

    # -- messages of the stream ---------------------------------------------------------------------------------------

    def _changed(
        self, state: State, at: Instant, access: AccessScope, lease_id: str | None, changes: Changes | None
    ) -> dict[str, Any] | None:
        if lease_id is not None:
            if changes is not None and lease_id not in changes.lease_ids and lease_id not in state.queue:
                return None
            leases = lease_views(state, at, access, self._facts(), [lease_id])
            return {"seq": self.publisher.seq, "pool": self._pool(state), "devices": [], "leases": leases, "queue": []}
        if changes is None:
            return {"seq": self.publisher.seq, **self._everything(state, at, access)}
        # A lease that ends or is granted moves everybody behind it up.
        moved = changes.lease_ids | set(state.queue)
        return {
            "seq": self.publisher.seq,
            "devices": device_views(state, access, self._facts(), changes.device_ids),
            "leases": lease_views(state, at, access, self._facts(), moved),
            "queue": queue_views(state, access, self._facts()),
        }

    def _usage(self, state: State, at: Instant) -> UsageEncoder:
        return UsageEncoder(state, at, self._backend.telemetry.usage)

    # -- doing --------------------------------------------------------------------------------------------------------

    async def request(self, caller: Caller, body: dict[str, Any], key: str | None) -> LeaseView:
        """A new lease, held by the caller: active where one is free, else waiting."""
        digest = body.get("token_sha256")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise InvalidRequest("token_sha256 must be the SHA-256 of the lease's token, in hexadecimal.")
        request = request_parsing.lease_request(body)
        self._require_priority(caller, request.priority)
        command = c.RequestLease(secrets.token_hex(8), caller.tenant, request, caller.holder, digest)
        view = await self._backend.commands.submit_and_read(
            command, _scoped(caller, key), partial(self._one, caller=caller)
        )
        if view["state"] != "preparing":
            return view
        return await self.wait(caller, view["id"], PREPARE_GRACE_S, lambda view: view["state"] != "preparing")

    async def wait(self, caller: Caller, lease_id: str, timeout_s: float, enough: Any) -> LeaseView:
        """The lease as soon as ``enough`` is true of it, or as it is after ``timeout_s``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        with self.publisher.changes_of(lease_id) as changed:
            while True:
                changed.clear()
                view = await self.lease(caller, lease_id)
                left_s = deadline - loop.time()
                if left_s <= 0 or enough(view):
                    return view
                await wait_for_event(changed, left_s)

    async def bind(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """Make a process of the caller's user the lease's holder; only with the lease's token."""
        await self._backend.state.read(lambda state, _: self._require_token(state, caller, lease_id))
        pid = request_parsing.integer(body, "pid")
        if pid is not None:  # as the caller knows it, which may be in a container
            pid = await asyncio.to_thread(host_pid, pid, caller.holder.pid)
        holder = caller.holder if pid is None else holder_of(pid, self._boot_id)
        if caller.holder.uid not in {holder.uid, 0}:
            raise Forbidden(f"Process {pid} belongs to another user.")
        await self._backend.commands.submit(c.BindHolder(lease_id, holder), _scoped(caller, key))
        await self._backend.device_access.wait_until_applied(lease_id)  # before a cell can run there
        return await self.lease(caller, lease_id)

    async def release(self, caller: Caller, lease_id: str, key: str | None) -> LeaseView:
        """Give a lease of the caller's tenant back."""
        return await self._own(caller, c.ReleaseLease(lease_id), key)

    async def resize(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """Give a lease of the caller's tenant another size; its kernel goes on."""
        size = request_parsing.text(body, "size")
        if not size:
            raise InvalidRequest("size must be the new size, such as half or 24GiB.")
        used = self._backend.telemetry.usage.leases.get(lease_id)
        used_bytes = used.memory_used_bytes if used else None
        return await self._own(caller, c.ResizeLease(lease_id, size, used_bytes), key)

    async def migrate(self, caller: Caller, lease_id: str, key: str | None) -> LeaseView:
        """Take a lease of the caller's tenant off a device that is not well."""
        return await self._own(caller, c.MigrateLease(lease_id), key)

    async def libraries(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """What came of a change of size in the kernel; only with the lease's token, because its kernel is who knows."""
        memory_bytes, stuck = (
            request_parsing.integer(body, "memory_bytes"),
            request_parsing.libraries(body, "needs_restart"),
        )
        await self._backend.state.read(lambda state, _: self._require_token(state, caller, lease_id))
        return await self._own(caller, c.ReportLibraries(lease_id, memory_bytes, stuck), key)

    async def park(self, caller: Caller, lease_id: str, key: str | None) -> LeaseView:
        """Move the memory of a lease of the caller's tenant to the host's, and give its device to others."""
        return await self._own(caller, c.ParkLease(lease_id), key)

    async def resume(self, caller: Caller, lease_id: str, key: str | None) -> LeaseView:
        """Let a parked lease of the caller's tenant wait for a device."""
        return await self._own(caller, c.ResumeLease(lease_id), key)

    async def set_lease_budget(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """Say what a lease of the caller's tenant may cost in all."""
        return await self._own(caller, c.SetLeaseBudget(lease_id, request_parsing.integer(body, "budget_micro")), key)

    async def pin(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """Hold a lease of the caller's tenant, or let it be parked for others."""
        retention = Retention.HOLD if request_parsing.yes_or_no(body, "pinned") else Retention.YIELD
        return await self._own(caller, c.SetRetention(lease_id, retention), key)

    async def activity(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """A cell begins or ends; only with the lease's token, because its kernel is who knows."""
        busy = request_parsing.yes_or_no(body, "busy")
        await self._backend.state.read(lambda state, _: self._require_token(state, caller, lease_id))
        return await self._own(caller, c.ReportActivity(lease_id, busy), key)

    async def _own(self, caller: Caller, command: c.Command, key: str | None) -> LeaseView:
        """Carry out a command about a lease of the caller's tenant."""
        lease_id: str = getattr(command, "lease_id", "")
        view = partial(self._one, caller=caller)
        return await self._backend.commands.submit_and_read(
            command, _scoped(caller, key), view, lambda state: self._visible(state, caller, lease_id)
        )

    async def transfer(self, caller: Caller, lease_id: str, body: dict[str, Any], key: str | None) -> LeaseView:
        """Let another tenant be billed for a lease; for administrators, since it spends somebody else's quota."""
        self._require_administrator(caller)
        tenant = request_parsing.text(body, "tenant")
        if not tenant:
            raise InvalidRequest("tenant must name who is to be billed.")
        await self._backend.commands.submit(c.TransferLease(lease_id, tenant), _scoped(caller, key))
        return await self._backend.state.read(lambda state, at: self._view(state, at, find_lease(state, lease_id)))

    async def statements(self, caller: Caller, month: str) -> list[StatementView]:
        """The caller's statement for a month; everybody's for an administrator."""
        access = AccessScope(caller.tenant, all_tenants=self._administers(caller))
        return await self._backend.statements.read(month, access, self._currency)

    async def rates(self) -> list[RateView]:
        """What each model costs."""
        return await self._backend.state.read(lambda state, _: rate_views(state, self._currency, self._discounts))

    # -- administration -----------------------------------------------------------------------------------------------

    async def tenants(self, caller: Caller) -> list[TenantView]:
        """What the caller is entitled to; everybody's for an administrator."""
        access = AccessScope(caller.tenant, all_tenants=self._administers(caller))
        return await self._backend.state.read(lambda state, at: tenant_views(state, at, access))

    async def set_tenant(self, caller: Caller, tenant: str, body: dict[str, Any], key: str | None) -> None:
        """Set what a tenant is entitled to."""
        self._require_administrator(caller)
        weight, limit, guaranteed = request_parsing.entitlement(body)
        group = request_parsing.text(body, "group")
        if group is not None and not request_parsing.NAME.fullmatch(group):
            raise InvalidRequest("group must be a name of at most 64 letters, digits and _.@-.")
        command = c.SetTenant(tenant, weight, limit, guaranteed, group)
        await self._backend.commands.submit(command, _scoped(caller, key))

    async def set_budget(self, caller: Caller, tenant: str, body: dict[str, Any], key: str | None) -> None:
        """Say what a tenant may spend in a month, and what happens after."""
        self._require_administrator(caller)
        await self._backend.commands.submit(c.SetBudget(tenant, *request_parsing.budget(body)), _scoped(caller, key))

    async def reservations(self, caller: Caller) -> list[ReservationView]:
        """The caller's reservations; everybody's for an administrator."""
        access = AccessScope(caller.tenant, all_tenants=self._administers(caller))
        return await self._backend.state.read(lambda state, _: reservation_views(state, access, self._currency))

    async def reserve(self, caller: Caller, reservation_id: str, body: dict[str, Any], key: str | None) -> None:
        """Hold capacity for a tenant."""
        self._require_administrator(caller)
        command = request_parsing.reservation(body, reservation_id, self._discounts)
        await self._backend.commands.submit(command, _scoped(caller, key))

    async def cancel_reservation(self, caller: Caller, reservation_id: str, key: str | None) -> None:
        """End a reservation now."""
        self._require_administrator(caller)
        await self._backend.commands.submit(c.CancelReservation(reservation_id), _scoped(caller, key))

    async def groups(self, caller: Caller) -> list[GroupView]:
        """What the caller's group is entitled to; all groups for an administrator."""
        access = AccessScope(caller.tenant, all_tenants=self._administers(caller))
        return await self._backend.state.read(lambda state, _: group_views(state, access))

    async def set_group(self, caller: Caller, group: str, body: dict[str, Any], key: str | None) -> None:
        """Set what a group of tenants is entitled to together."""
        self._require_administrator(caller)
        await self._backend.commands.submit(c.SetGroup(group, *request_parsing.entitlement(body)), _scoped(caller, key))

    async def drain(self, caller: Caller, device_id: str, body: dict[str, Any], key: str | None) -> None:
        """Take a device out of service, or put it back, where it is well."""
        self._require_administrator(caller)
        command = c.DrainDevice(device_id, request_parsing.yes_or_no(body, "drained"))
        if not command.drained:
            await self._backend.health.restore(device_id)
        await self._backend.commands.submit(command, _scoped(caller, key))

    async def partition_mode(self, caller: Caller, device_id: str) -> PartitionModeView:
        """What switching MIG mode of a device would take, and disturb."""
        self._require_administrator(caller)
        leases = await self._backend.state.read(lambda state, _: _leases_on(state, device_id))
        mode, processes = await self._backend.inventory.partition_mode(device_id)
        return {
            "device_id": device_id,
            "capable": mode.capable,
            "on": mode.on,
            "pending": mode.pending,
            "needs_reset": mode.needs_reset,
            "survives_restart": mode.survives_restart,
            "reset_command": mode.reset_command,
            "leases": leases,
            "processes": [process.pid for process in processes],
        }

    async def set_partition_mode(self, caller: Caller, device_id: str, body: dict[str, Any]) -> PartitionModeView:
        """Switch MIG mode of a device, on which nothing may be."""
        self._require_administrator(caller)
        on = request_parsing.yes_or_no(body, "on")
        await self._backend.state.read(lambda state, _: _leases_on(state, device_id))
        await self._backend.inventory.set_partition_mode(device_id, on=on)
        log.warning("%s had MIG mode of %s switched %s.", caller.tenant, device_id, "on" if on else "off")
        return await self.partition_mode(caller, device_id)

    def _administers(self, caller: Caller) -> bool:
        return caller.holder.uid in {0, os.getuid()}

    def _require_priority(self, caller: Caller, priority: Priority) -> None:
        if priority is Priority.SYSTEM and caller.holder.uid != 0:
            raise Forbidden("Only root may ask with priority system.")
        trusted = self._scope == "user" or self._administers(caller) or caller.tenant in self._high_priority
        if priority is Priority.HIGH and not trusted:
            raise Forbidden(
                "On this pool only those whom its administrator named may ask with priority high: it takes GPUs from "
                "others while they compute. Ask with priority normal, or ask the administrator."
            )

    def _require_administrator(self, caller: Caller) -> None:
        if not self._administers(caller):
            raise Forbidden("Only root and the user that the pool manager runs as may do that.")

    def _require_token(self, state: State, caller: Caller, lease_id: str) -> None:
        lease = self._visible(state, caller, lease_id)
        if not caller.token or not hmac.compare_digest(token_digest(caller.token), lease.token_sha256):
            raise Forbidden("This needs the token of the lease, which only its own kernel and server have.")

    async def is_idle(self) -> bool:
        """Whether no lease is left and nobody follows."""
        ended = await self._backend.state.read(
            lambda state, _: all(lease.state is LeaseState.ENDED for lease in state.leases.values())
        )
        return ended and not len(self.publisher)


def _scoped(caller: Caller, key: str | None) -> str | None:
    """An idempotency key is its user's own."""
    return f"{caller.holder.uid}:{key}" if key else None


def _leases_on(state: State, device_id: str) -> list[str]:
    return list(find_device(state, device_id).lease_ids)
