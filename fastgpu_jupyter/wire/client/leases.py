"""Calls about leases: request, bind, resize, park, migrate, release."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlencode

from ..ids import lease_id_of
from .tokens import token_digest
from .transport import Transport

if TYPE_CHECKING:
    from ..schemas import AdviceView, HistoryView, KernelConnectionView, LeaseView, SizeOptions

#: The longest time of a call that starts or ends a kernel on another host, in seconds; imports take long on a shared
#: file system.
KERNEL_TIMEOUT_S = 120.0


class ClusterOptions(TypedDict, total=False):
    """The options of a request in the words of a cluster's engine; an empty text is the pool's default."""

    partition: str
    account: str
    qos: str
    constraint: str
    time_limit_ms: int


class LeaseOptions(TypedDict, total=False):
    """The options of a request beside its size; the pool manager has a default for each."""

    priority: str
    wait_ms_max: int
    isolation: str
    parkable: bool
    resizable: bool
    retention: str
    cpu_milli: int
    host_memory_bytes: int
    rate_micro_per_hour_max: int
    budget_micro: int
    idle_notify_ms: int
    idle_park_ms: int
    idle_release_ms: int
    idle_shut_down_ms: int
    keep_ms: int
    cluster: ClusterOptions


class LeaseCalls(Transport):
    """Calls about the leases of the caller."""

    def leases(self) -> list[LeaseView]:
        """Return the caller's leases, including those that ended in the last hour."""
        return cast("list[LeaseView]", self._call("GET", "/v1/leases")["leases"])

    def lease(self, lease_id: str, wait_ms: int = 0, after: int = -1, *, token: str | None = None) -> LeaseView:
        """Return one lease; with ``wait_ms`` as soon as its version is beyond ``after``, or after that time.

        With the ``token`` of the lease, :class:`~fastgpu_jupyter.errors.NotFound` means that the lease has ended; else
        it may be that of another user.
        """
        query = f"?{urlencode({'wait_ms': wait_ms, 'after': after})}" if wait_ms else ""
        timeout_s = self.timeout_s + wait_ms / 1000
        return cast("LeaseView", self._call("GET", _path(lease_id) + query, token=token, timeout_s=timeout_s))

    def sizes(self, lease_id: str | None = None, query: Mapping[str, str | None] | None = None) -> SizeOptions:
        """Return the sizes that a lease, or a new request, can have, and what choosing each does now.

        ``query``: ``unit``, and of a request ``model``, ``isolation`` and ``priority``.
        """
        asked = {"lease_id": lease_id, **(query or {})}
        given = {name: value for name, value in asked.items() if value is not None}
        return cast("SizeOptions", self._call("GET", "/v1/sizes" + (f"?{urlencode(given)}" if given else "")))

    def lease_history(self, lease_id: str, resolution: str = "1s", since: int | None = None) -> HistoryView:
        """Return the usage of a lease by the second (``1s``) or the minute (``1m``), from ``since`` (wall clock) on."""
        return cast("HistoryView", self._call("GET", _path(lease_id, "history") + history_query(resolution, since)))

    def request(
        self,
        size: str | None = None,
        memory_bytes: int | None = None,
        kernel_id: str | None = None,
        notebook: str | None = None,
        *,
        token: str,
        key: str | None = None,
        options: LeaseOptions | None = None,
        job: str | None = None,
    ) -> LeaseView:
        """Request a lease, held by the calling process until :meth:`bind`; return it at once, active or waiting.

        ``job``: the name, as it is shown, of the job that the lease is for.
        """
        body = {
            "size": size,
            "memory_bytes": memory_bytes,
            "kernel_id": kernel_id,
            "notebook": notebook,
            "token_sha256": token_digest(token),
            **({} if job is None else {"job": job}),
            **(options or {}),
        }
        return cast("LeaseView", self._call("POST", "/v1/leases", body, key=key or secrets.token_hex(16)))

    def bind(self, lease_id: str, token: str, pid: int | None = None) -> LeaseView:
        """Make process ``pid`` the holder of the lease; ``None`` is the calling process itself."""
        return self.act(lease_id, "bind", {"pid": pid}, token)

    def release(self, lease_id: str, token: str | None = None) -> LeaseView:
        """Release the lease; a second release is not an error."""
        return cast("LeaseView", self._change("DELETE", _path(lease_id), token=token))

    def resize(self, lease_id: str, size: str, seen: str | None = None) -> LeaseView:
        """Change the size of the lease; its kernel goes on.

        With ``seen``, raises :class:`~fastgpu_jupyter.errors.Conflict` where the lease has another size by now.
        """
        return self.act(lease_id, "resize", {"size": size, **({} if seen is None else {"seen": seen})})

    def park(self, lease_id: str) -> LeaseView:
        """Move the device memory of the lease to host memory, and its device to other leases, until it is resumed."""
        return self.act(lease_id, "park", {})

    def resume(self, lease_id: str) -> LeaseView:
        """Let a parked lease wait for a device."""
        return self.act(lease_id, "resume", {})

    def pin(self, lease_id: str, *, pinned: bool) -> LeaseView:
        """Pin the lease, or let it be parked while it is idle."""
        return self.act(lease_id, "pin", {"pinned": pinned})

    def snooze(self, lease_id: str, for_ms: int) -> LeaseView:
        """Put off the steps of the idle policy."""
        return self.act(lease_id, "snooze", {"for_ms": for_ms})

    def end_idle(self, lease_id: str) -> LeaseView:
        """End the lease, whose kernel the caller shuts down now because the idle policy says so.

        Raises :class:`~fastgpu_jupyter.errors.Conflict` if something uses the lease again: the kernel must then live.
        """
        return self.act(lease_id, "end_idle", {})

    def advice(self, lease_id: str) -> AdviceView:
        """Return the advice on the size of the lease, or the reason for which there is none."""
        return cast("AdviceView", self._call("GET", _path(lease_id, "advice")))

    def silence_advice(self, lease_id: str, *, silenced: bool = True) -> AdviceView:
        """Give no advice for the notebook of the lease, or give it again; return what there is."""
        body = {"silenced": silenced}
        return cast("AdviceView", self._change("POST", _path(lease_id, "advice/silence"), body))

    def cpu_meanwhile(self, lease_id: str, *, on: bool) -> LeaseView:
        """Let cells run without a device until the waiting lease is granted, or let them wait."""
        return self.act(lease_id, "cpu_meanwhile", {"on": on})

    def migrate(self, lease_id: str) -> LeaseView:
        """Move the lease off an unhealthy device. Raises :class:`~fastgpu_jupyter.errors.Conflict` if it cannot."""
        return self.act(lease_id, "migrate", {})

    def set_lease_budget(self, lease_id: str, budget_micro: int | None) -> LeaseView:
        """Set what the lease may cost in all."""
        return self.act(lease_id, "budget", {"budget_micro": budget_micro})

    def rename(self, lease_id: str, notebook: str, token: str | None) -> LeaseView:
        """Report that the notebook of the lease has another name."""
        return self.act(lease_id, "rename", {"notebook": notebook}, token)

    def transfer(self, lease_id: str, tenant: str) -> LeaseView:
        """Bill another tenant from now on; for administrators."""
        return self.act(lease_id, "transfer", {"tenant": tenant})

    def activity(
        self,
        lease_id: str,
        token: str | None,
        *,
        busy: bool,
        cells: int | None = None,
        frameworks: dict[str, int] | None = None,
    ) -> LeaseView:
        """Report that a cell begins or ends; a cell that begins resumes a parked lease.

        ``cells`` have ended since the last report; ``frameworks``: what those of the kernel count of their memory.
        """
        body = {"busy": busy, "cells": cells, "frameworks": frameworks}
        return cast("LeaseView", self._call("POST", _path(lease_id, "activity"), body, token=token))

    def libraries(
        self, lease_id: str, token: str | None, memory_bytes: int | None, needs_restart: Sequence[str]
    ) -> LeaseView:
        """Report the memory limit that the kernel applied to its libraries, and those that need a restart for it."""
        body = {"memory_bytes": memory_bytes, "needs_restart": list(needs_restart)}
        return cast("LeaseView", self._call("POST", _path(lease_id, "libraries"), body, token=token))

    def start_kernel(
        self,
        lease_id: str,
        token: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        key: str,
        cwd: str | None = None,
        restart: bool = False,
        files: Mapping[str, str] | None = None,
        encryption: str | None = None,
    ) -> KernelConnectionView:
        """Start a kernel on the host of an active lease of a cluster, and return how to talk to it; secret.

        ``key`` authenticates its messages; for the rest see :class:`~fastgpu_jupyter.wire.schemas.KernelBody`. A
        repeated call with the ``key`` of the kernel that runs returns that one, so that an answer may be lost.

        Raises :class:`~fastgpu_jupyter.errors.Conflict` where the lease is not active or another kernel runs, and
        :class:`~fastgpu_jupyter.errors.HostFault` with what the kernel wrote where it fails.
        """
        body = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
            "restart": restart,
            "key": key,
            "files": {**(files or {})},
            "encryption": encryption,
        }
        # Without an idempotency key: the first answer to one is kept in the journal, and this one is secret.
        answer = self._call("POST", _path(lease_id, "kernel"), body, token=token, timeout_s=KERNEL_TIMEOUT_S)
        return cast("KernelConnectionView", answer)

    def signal_kernel(self, lease_id: str, token: str, signum: int) -> LeaseView:
        """Send a signal to all processes of the kernel on the host of the lease."""
        body = {"signum": signum}
        return cast("LeaseView", self._call("POST", _path(lease_id, "kernel/signal"), body, token=token))

    def end_kernel(self, lease_id: str, token: str) -> LeaseView:
        """End the kernel on the host of the lease, which stays active; harmless where none runs."""
        answer = self._call("DELETE", _path(lease_id, "kernel"), token=token, timeout_s=KERNEL_TIMEOUT_S)
        return cast("LeaseView", answer)

    def act(self, lease_id: str, action: str, body: dict[str, Any], token: str | None = None) -> LeaseView:
        """Return the lease after an action of the interface, such as ``park``."""
        return cast("LeaseView", self._change("POST", _path(lease_id, action), body, token=token))


def history_query(resolution: str, since: int | None) -> str:
    """Return the query of a history from its resolution and its start."""
    query = {"resolution": resolution, **({} if since is None else {"since": since})}
    return f"?{urlencode(query)}"


def _path(lease_id: str, action: str = "") -> str:
    return f"/v1/leases/{lease_id_of(lease_id)}" + (f"/{action}" if action else "")
