"""Keeps the device files of other GPUs closed to each kernel that holds leases, by a control group of its own.

After each write :meth:`DeviceAccessController.update` receives the ids of the leases that changed. One thread then
changes the groups (:mod:`.host.lease_groups`). The files of a lease are opened before the lease is reported as ready,
so that the first cell finds them; they are closed when the lease is parked or over. Callers that depend on it use
:meth:`DeviceAccessController.wait_until_applied`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from ...core.model.entities import Holder, Lease, LogicalGPU, State
from ...core.model.lifecycle import BECOMING_ACTIVE, OVER
from ...messages import render
from ...messages.language import ENGLISH
from ..host import lease_groups
from ..host.attribution import lease_of
from ..host.device_filter import DeviceFiles
from ..host.lease_groups import NOT_ENFORCED, DeviceAccess, LeaseGroups
from ..host.threads import DaemonThreads

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: How long a caller waits for a group to be up to date; it takes milliseconds.
APPLY_TIMEOUT_S = 5.0
#: The pause between two searches for groups that have no process any more.
CLEANUP_INTERVAL_S = 5.0


class DeviceAccessController:
    """Controller of the device files that kernels may open, for the event loop's thread.

    ``nodes_of`` returns the device files of a logical GPU. ``notify_lease`` is called with the id of a lease whose
    :meth:`access_of` changed.
    """

    def __init__(
        self,
        groups: LeaseGroups,
        nodes_of: Callable[[LogicalGPU], Sequence[str]],
        notify_lease: Callable[[str], None],
        new_thread: Callable[[int, str], Executor] = DaemonThreads,
    ) -> None:
        self._groups = groups
        self._nodes_of = nodes_of
        self._notify_lease = notify_lease
        self._thread = new_thread(1, "groups")
        self._holders: dict[str, Holder] = {}  #: of leases that are not over
        self._open: dict[str, tuple[str, ...]] = {}  #: by lease, what it may open
        self._leases: dict[Holder, set[str]] = {}
        self._access: dict[str, DeviceAccess] = {}  #: by lease, its access now
        self._pending: dict[Holder, asyncio.Future[None]] = {}
        self._in_progress: dict[Holder, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._adopted = False

    def access_of(self, lease_id: str) -> DeviceAccess:
        """Return whether other devices' files are closed to the lease's kernel, and why not."""
        return self._access.get(lease_id, NOT_ENFORCED)

    # -- wanted access ------------------------------------------------------------------------------------------------

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Take over the leases ``lease_ids`` of ``state``, which changed."""
        for lease_id in lease_ids:
            self._update(lease_id, state.leases.get(lease_id))

    def _update(self, lease_id: str, lease: Lease | None) -> None:
        if lease is not None and lease.cluster_job is not None:  # its kernel is on another host
            return
        before, was_open = self._holders.get(lease_id), self._open.get(lease_id, ())
        holder = None if lease is None or lease.state in OVER else lease.holder
        begins = lease is not None and lease.state in BECOMING_ACTIVE
        now_open = was_open if begins else self._may_open(lease)
        if (holder, now_open) != (before, was_open):
            self._set(lease_id, holder, now_open)

    def _may_open(self, lease: Lease | None) -> tuple[str, ...]:
        return () if lease is None or lease.logical_gpu is None else tuple(self._nodes_of(lease.logical_gpu))

    def _set(self, lease_id: str, holder: Holder | None, nodes: tuple[str, ...]) -> None:
        before = self._holders.pop(lease_id, None)
        self._access.pop(lease_id, None)
        self._open.pop(lease_id, None)
        if before is not None and before != holder:
            self._leases[before].discard(lease_id)
            self._mark(before)
        if holder is not None:
            self._holders[lease_id], self._open[lease_id] = holder, nodes
            self._leases.setdefault(holder, set()).add(lease_id)
            self._mark(holder)

    def _mark(self, holder: Holder) -> None:
        if holder not in self._pending:
            self._pending[holder] = asyncio.get_running_loop().create_future()
            self._wake.set()

    async def open_devices(self, lease_id: str, gpu: LogicalGPU) -> None:
        """Open the device files of ``gpu`` to the holder of the lease, before the lease is reported as ready."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            self._set(lease_id, holder, tuple(self._nodes_of(gpu)))
            await self.wait_until_applied(lease_id)

    async def wait_until_applied(self, lease_id: str) -> None:
        """Return once the group of the lease's kernel is up to date, or after :data:`APPLY_TIMEOUT_S`."""
        holder = self._holders.get(lease_id)
        done = self._pending.get(holder) or self._in_progress.get(holder) if holder is not None else None
        if done is not None:
            await asyncio.wait({done}, timeout=APPLY_TIMEOUT_S)

    # -- applied access -----------------------------------------------------------------------------------------------

    async def apply_pending(self) -> None:
        """Wait until a group is out of date, and bring all of them up to date."""
        if not self._adopted:
            await self._in_thread(self._groups.adopt, set(self._holders.values()))
            self._adopted = True
        if not self._pending:
            await self._wake.wait()
        self._wake.clear()
        while self._pending:
            holder = next(iter(self._pending))
            done = self._in_progress[holder] = self._pending.pop(holder)
            try:
                await self._apply(holder)
            except Exception:
                self._mark(holder)  # after an internal error it is tried again
                raise
            finally:
                del self._in_progress[holder]
                done.set_result(None)

    async def _apply(self, holder: Holder) -> None:
        leases = self._leases.get(holder, set())
        if not leases:
            self._leases.pop(holder, None)
            await self._in_thread(self._groups.release, holder)
            return
        nodes = {node for lease_id in leases for node in self._open[lease_id]}
        access = await self._in_thread(self._restrict, holder, frozenset(leases), nodes)
        for lease_id in [one for one in leases if self._holders.get(one) == holder and holder not in self._pending]:
            self._access[lease_id] = access
            self._notify_lease(lease_id)

    def _restrict(self, holder: Holder, leases: frozenset[str], nodes: set[str]) -> DeviceAccess:
        """Restrict a kernel, in the thread. A server, which holds leases for kernels to come, is not restricted."""
        if not self._groups.has(holder) and lease_of(holder.pid) not in leases:
            return NOT_ENFORCED
        return self._groups.restrict(holder, nodes)

    async def remove_empty_groups(self) -> None:
        """Pause, then remove the groups that have no process."""
        await asyncio.sleep(CLEANUP_INTERVAL_S)
        await self._in_thread(self._groups.remove_empty)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    def close(self) -> None:
        """Leave the groups as they are, because their kernels go on."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class UnrestrictedDeviceAccess:
    """Device access of a pool that closes no device files: leases only say which files they need."""

    def access_of(self, lease_id: str) -> DeviceAccess:  # noqa: ARG002 (the interface of the controller)
        """Return that nothing is enforced."""
        return NOT_ENFORCED

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Do nothing, because no group follows the state."""

    async def open_devices(self, lease_id: str, gpu: LogicalGPU) -> None:
        """Return at once, because every file is open."""

    async def wait_until_applied(self, lease_id: str) -> None:
        """Return at once, because nothing is applied."""

    def close(self) -> None:
        """Do nothing, because there is no thread."""


def create_lease_groups(state_dir: Path, boot_id: str, files: DeviceFiles, *, close: bool) -> LeaseGroups | None:
    """Return the groups of the pool in ``state_dir``, or ``None`` if device files are not, or cannot be, closed."""
    why = lease_groups.unsupported_reason(files)
    groups = LeaseGroups(state_dir, boot_id, files)
    if not close:
        if why is None:
            groups.remove_restrictions()  # of an earlier pool manager that closed files
        return None
    if why is not None:
        log.warning(
            "Device files of other GPUs are reported to leases and not closed to them: %s", render(why, ENGLISH)
        )
    return groups
