"""Handlers of the operations on leases."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ....core.lease.lookup import find_lease
from ....core.model import commands as c
from ....core.model.cluster import job_name
from ....core.model.entities import Instant, Retention, State
from ....core.model.lifecycle import LeaseState
from ....errors import FastGPUError, Forbidden, InvalidRequest, Message
from ....wire.schemas import HistoryView, LeaseClusterView, LeaseList, LeaseView
from ...host.attribution import host_pid
from ...host.process import holder_of
from ...journal.answers import FirstAnswer
from ...protocols import Settling
from ...supervisor import wait_for_event
from .. import request_parsing
from ..call import Caller, HttpCall
from .base import HandlerContext, HandlerTable
from .history import window_of

#: The longest wait of one request for a change of a lease.
WAIT_MS_MAX = 30_000
#: How long the answer to a request waits for the preparation of a logical GPU before it has the state ``preparing``.
PREPARE_GRACE_S = 0.5
_DIGEST = re.compile("[0-9a-f]{64}")


class LeaseHandlers:
    """Handlers of the operations on leases."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._backend, self._reader = context.backend, context.reader

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "GET /v1/leases": self.list_leases,
            "POST /v1/leases": self.request,
            "GET /v1/leases/{lease_id}": self.get,
            "DELETE /v1/leases/{lease_id}": self.release,
            "GET /v1/leases/{lease_id}/history": self.history,
            "POST /v1/leases/{lease_id}/bind": self.bind,
            "POST /v1/leases/{lease_id}/resize": self.resize,
            "POST /v1/leases/{lease_id}/migrate": self.migrate,
            "POST /v1/leases/{lease_id}/libraries": self.report_libraries,
            "POST /v1/leases/{lease_id}/park": self.park,
            "POST /v1/leases/{lease_id}/resume": self.resume,
            "POST /v1/leases/{lease_id}/pin": self.pin,
            "POST /v1/leases/{lease_id}/snooze": self.snooze,
            "POST /v1/leases/{lease_id}/end_idle": self.end_idle,
            "POST /v1/leases/{lease_id}/cpu_meanwhile": self.set_cpu_meanwhile,
            "POST /v1/leases/{lease_id}/activity": self.report_activity,
            "POST /v1/leases/{lease_id}/budget": self.set_budget,
            "POST /v1/leases/{lease_id}/rename": self.rename,
            "POST /v1/leases/{lease_id}/transfer": self.transfer,
        }

    # -- reading ------------------------------------------------------------------------------------------------------

    async def list_leases(self, call: HttpCall) -> LeaseList:
        """Return the caller's leases."""
        return {"leases": await self._reader.leases(call.caller)}

    async def get(self, call: HttpCall) -> LeaseView:
        """Return a lease now, or as soon as its version is beyond ``after``, or its job on a cluster changes."""
        wait_ms = min(call.number("wait_ms") or 0, WAIT_MS_MAX)
        after = call.number("after")
        known = -1 if after is None else after
        seen: list[LeaseClusterView | None] = []  # what the engine and the agent say, which makes no new version

        def has_changed(view: LeaseView) -> bool:
            seen.append(view["cluster"])
            return view["version"] > known or view["cluster"] != seen[0]

        return await self.wait(call.caller, call.lease_id, wait_ms / 1000, has_changed)

    async def history(self, call: HttpCall) -> HistoryView:
        """Return the usage of a lease."""
        resolution, since = window_of(call)

        def read(state: State, at: Instant) -> HistoryView:
            lease = self._context.permissions.visible_lease(state, call.caller, call.lease_id)
            return self._backend.telemetry.history.lease(lease.id, resolution, since, at)

        return await self._backend.state.read(read)

    async def wait(
        self, caller: Caller, lease_id: str, timeout_s: float, is_enough: Callable[[LeaseView], bool]
    ) -> LeaseView:
        """Return a lease as soon as ``is_enough`` is true of it, or as it is after ``timeout_s``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        with self._context.publisher.changes_of(lease_id) as changed:
            while True:
                changed.clear()
                view = await self._reader.lease(caller, lease_id)
                left_s = deadline - loop.time()
                if left_s <= 0 or is_enough(view):
                    return view
                await wait_for_event(changed, left_s)

    # -- commands of the tenant ---------------------------------------------------------------------------------------

    async def request(self, call: HttpCall) -> FirstAnswer | LeaseView:
        """Request a lease, held by the caller: active if capacity is free, else waiting."""
        digest = call.body.get("token_sha256")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise InvalidRequest(Message.of("request.token_digest"))
        request = request_parsing.lease_request(call.body)
        caller, lease_id, job = call.caller, secrets.token_hex(8), ""
        await self._context.permissions.require_priority(caller, request.priority)
        if self._backend.cluster is None:
            request_parsing.require_no_cluster(call.body)
        else:
            wanted = self._backend.cluster.request_of(request_parsing.cluster_request(call.body))
            request = replace(request, cluster=wanted)
            request.validate()
            await self._backend.cluster.check(request)
            job = job_name(self._backend.pool_id, lease_id)
        name = self._context.names.current_name_of(caller.tenant)
        command = c.RequestLease(lease_id, caller.tenant, request, caller.holder, digest, name, job)
        answer = await self._backend.commands.submit_and_settle(
            command, call.key, partial(self._answer, call), Settling(_is_prepared, PREPARE_GRACE_S)
        )
        return await self._reader.lease(caller, answer) if isinstance(answer, str) else answer

    async def release(self, call: HttpCall) -> FirstAnswer:
        """Release a lease of the caller."""
        return await self._submit(call, c.ReleaseLease(call.lease_id))

    async def resize(self, call: HttpCall) -> FirstAnswer:
        """Change the size of a lease; its kernel goes on."""
        size = request_parsing.text(call.body, "size")
        if not size:
            raise InvalidRequest(Message.of("request.new_size"))
        seen = request_parsing.text(call.body, "seen")
        used = self._backend.telemetry.usage.leases.get(call.lease_id)
        used_bytes = used.memory_used_bytes if used else None
        return await self._submit(call, c.ResizeLease(call.lease_id, size, used_bytes, seen))

    async def migrate(self, call: HttpCall) -> FirstAnswer:
        """Move a lease off an unhealthy device."""
        return await self._submit(call, c.MigrateLease(call.lease_id))

    async def park(self, call: HttpCall) -> FirstAnswer:
        """Move the device memory of a lease to host memory."""
        return await self._submit(call, c.ParkLease(call.lease_id))

    async def resume(self, call: HttpCall) -> FirstAnswer:
        """Let a parked lease wait for a device."""
        return await self._submit(call, c.ResumeLease(call.lease_id))

    async def pin(self, call: HttpCall) -> FirstAnswer:
        """Pin a lease, or let it be parked while it is idle."""
        retention = Retention.HOLD if request_parsing.yes_or_no(call.body, "pinned") else Retention.YIELD
        return await self._submit(call, c.SetRetention(call.lease_id, retention))

    async def snooze(self, call: HttpCall) -> FirstAnswer:
        """Put off the steps of the idle policy."""
        for_ms = request_parsing.integer(call.body, "for_ms")
        if for_ms is None:
            raise InvalidRequest(Message.of("request.not_bounded_integer", field="for_ms"))
        return await self._submit(call, c.SnoozeLease(call.lease_id, for_ms))

    async def end_idle(self, call: HttpCall) -> FirstAnswer:
        """End a lease whose kernel is shut down because the idle policy says so."""
        return await self._submit(call, c.EndIdleLease(call.lease_id))

    async def set_cpu_meanwhile(self, call: HttpCall) -> FirstAnswer:
        """Set whether cells run without a device until the lease is granted."""
        return await self._submit(call, c.SetCpuMeanwhile(call.lease_id, request_parsing.yes_or_no(call.body, "on")))

    async def set_budget(self, call: HttpCall) -> FirstAnswer:
        """Set what a lease may cost in all."""
        budget_micro = request_parsing.integer(call.body, "budget_micro")
        return await self._submit(call, c.SetLeaseBudget(call.lease_id, budget_micro))

    async def _submit(self, call: HttpCall, command: c.Command) -> FirstAnswer:
        """Submit a command about a lease of the caller's tenant, and return the lease after it."""
        lease_id, caller = call.lease_id, call.caller
        return await self._backend.commands.submit_and_read(
            command,
            call.key,
            partial(self._answer, call),
            lambda state: self._context.permissions.visible_lease(state, caller, lease_id),
        )

    def _answer(self, call: HttpCall, state: State, at: Instant, lease_id: str) -> FirstAnswer:
        return call.answer(self._reader.visible_view(state, at, lease_id, call.caller))

    # -- commands of the kernel and its server, which have the token of the lease --------------------------------------

    async def bind(self, call: HttpCall) -> LeaseView:
        """Make a process of the caller's user the holder of a lease."""
        caller = call.caller
        pid = request_parsing.integer(call.body, "pid")
        if pid is not None:  # the number in the caller's namespace, which may be that of a container
            pid = await asyncio.to_thread(host_pid, pid, caller.holder.pid)
        holder = caller.holder if pid is None else holder_of(pid, self._context.facts.boot_id)
        if caller.holder.uid not in {holder.uid, 0}:
            raise Forbidden(Message.of("forbidden.process_of_another_user", pid=str(pid)))
        await self._backend.commands.submit(c.BindHolder(call.lease_id, holder), call.key)
        # Before a cell of the new holder can use the device:
        await self._backend.device_access.wait_until_applied(call.lease_id)
        return await self._reader.lease(caller, call.lease_id)

    async def report_libraries(self, call: HttpCall) -> FirstAnswer:
        """Record the memory limit that the kernel applied to its libraries, and those that need a restart for it."""
        memory_bytes = request_parsing.integer(call.body, "memory_bytes")
        needs_restart = request_parsing.libraries(call.body, "needs_restart")
        return await self._submit(call, c.ReportLibraries(call.lease_id, memory_bytes, needs_restart))

    async def report_activity(self, call: HttpCall) -> FirstAnswer:
        """Record that a cell begins or ends."""
        busy = request_parsing.yes_or_no(call.body, "busy")
        if not busy:
            cells, frameworks = request_parsing.cells_ended(call.body)
            self._backend.use.end_cells(call.lease_id, cells, frameworks)
        return await self._submit(call, c.ReportActivity(call.lease_id, busy))

    async def rename(self, call: HttpCall) -> FirstAnswer:
        """Record that the notebook of a lease has another name."""
        notebook = request_parsing.text(call.body, "notebook")
        if not notebook:
            raise InvalidRequest(Message.of("request.no_notebook"))
        return await self._submit(call, c.RenameLease(call.lease_id, notebook))

    async def count_as_busy(self, caller: Caller, lease_id: str) -> None:
        """Record that a cell runs if the caller is the holder of the lease, whose cells cannot be seen."""
        holder = await self._backend.state.read(lambda state, _: getattr(state.leases.get(lease_id), "holder", None))
        if holder == caller.holder:
            with suppress(FastGPUError):  # it is about to be refused for another reason
                await self._backend.commands.submit(c.ReportActivity(lease_id, busy=True))

    # -- commands of administrators -----------------------------------------------------------------------------------

    async def transfer(self, call: HttpCall) -> LeaseView:
        """Bill another tenant for a lease; for administrators, because it spends the other tenant's quota."""
        tenant = await self._context.names.key_of(request_parsing.text(call.body, "tenant") or "")
        await self._backend.commands.submit(c.TransferLease(call.lease_id, tenant), call.key)
        return await self._backend.state.read(
            lambda state, at: self._reader.view(state, at, find_lease(state, call.lease_id))
        )


def _is_prepared(state: State, lease_id: str) -> bool:
    lease = state.leases.get(lease_id)
    return lease is None or lease.state is not LeaseState.PREPARING
