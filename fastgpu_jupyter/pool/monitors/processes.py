"""Compares who has memory on the devices with who may: leases over their limit, and processes without a lease.

:mod:`.process_owners` finds the leases of each process. A process is *foreign* on a device if its lease has no part of
that device, or if it has no lease. Before a process is reported, the newest state is read, so that a process that a
lease started after its device was listed is not reported.

The rules (:mod:`core.lease.memory_limit`) decide what follows from too much memory. Foreign processes are shown, or, in
a system pool that is configured so, ended: only the very process that was seen, by its pidfd, and only if it was in two
lists.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ...core.lease.memory_limit import is_watched
from ...core.model import commands as c
from ...core.model.entities import Holder, Instant, State
from ...core.model.lifecycle import LeaseState
from ...errors import HostFault
from ..devices.driver import DeviceProcess
from ..host.process import open_holder
from ..host.threads import DaemonThreads
from .process_owners import ForeignProcess, OwnershipResolver, ProcessOwnership, read_assignments

T = TypeVar("T")

log = logging.getLogger("fastgpu.pool")
#: How long a foreign process that was asked to end may take.
END_GRACE_S = 10.0
#: How long it may take to find out whose the processes of a device are.
ANSWER_S = 3.0
IGNORE, WARN, END = "ignore", "warn", "end"


class Read(Protocol):
    """What a view makes of the state as it is now."""

    def __call__(self, view: Callable[[State, Instant], T], /) -> Coroutine[Any, Any, T]:
        """Such as :meth:`.runtime.Runtime.read`."""


class ProcessMonitor:
    """Looks again and again; ``foreign`` is one of ``ignore``, ``warn`` and ``end``."""

    def __init__(self, boot_id: str, ownership: OwnershipResolver, foreign: str = WARN) -> None:
        self._boot_id = boot_id
        self._ownership = ownership
        self._thread = DaemonThreads(1, "processes")
        self.policy = foreign
        self.own_pids: Container[int] = {os.getpid()}  #: processes of the pool manager's, which need no lease
        self.foreign: dict[str, tuple[ForeignProcess, ...]] = {}
        self._numbers: dict[str, int | None] = {}  #: of the list that each device was last judged by
        #: By lease: its grant, and the list of its device by which that was first seen active.
        self._first_lists: dict[str, tuple[int, int | None]] = {}
        self._ending: dict[Holder, float] = {}  #: when each was asked to end

    async def refresh(
        self,
        device_ids: Sequence[str],
        known: Mapping[str, ProcessOwnership],
        processes: Callable[[str], Awaitable[Sequence[DeviceProcess]]],
        *,
        say: Callable[[c.Command], Awaitable[object]],
        read: Read,
        now_s: float,
    ) -> set[str]:
        """One look; on which devices other foreign processes are than before.

        ``known`` is what the sampler found. Those that it could not list are asked for ``processes``.
        """
        owned: dict[str, ProcessOwnership] = {}
        fresh: dict[str, tuple[ForeignProcess, ...]] = {}
        for device_id in device_ids:
            with suppress(HostFault):  # of this one nothing is known now
                one = known.get(device_id) or await self._list(device_id, await processes(device_id), read)
                if one.number is None or one.number != self._numbers.get(device_id):
                    fresh[device_id] = await self._find_foreign(device_id, one, read)
                owned[device_id] = one
        for report in await read(lambda state, _: self._reports(state, owned)):
            await say(report)
        self._numbers = {device_id: one.number for device_id, one in owned.items()}
        earlier, listed = self.foreign, {**self.foreign, **fresh}
        self.foreign = {device_id: found for device_id in owned if (found := listed.get(device_id))}
        before = {device_id: earlier.get(device_id, ()) for device_id in fresh}
        self._tell(before)
        if self.policy == END:
            self._end(before, now_s)
        return {name for name in {*earlier, *self.foreign} if earlier.get(name) != self.foreign.get(name)}

    async def _list(self, device_id: str, processes: Sequence[DeviceProcess], read: Read) -> ProcessOwnership:
        return await self._ask(self._ownership.find, device_id, None, processes, await read(read_assignments))

    async def _find_foreign(self, device_id: str, owned: ProcessOwnership, read: Read) -> tuple[ForeignProcess, ...]:
        """Those of a new list that are to be told of."""
        found = tuple(one for one in owned.foreign if one.holder.pid not in self.own_pids)
        if self.policy == IGNORE or not found:
            return ()
        return await self._ask(self._ownership.still_foreign, device_id, found, await read(read_assignments))

    async def _ask(self, call: Callable[..., T], *args: object) -> T:
        """What a method of the owners answers. Raises :class:`HostFault` where it is stuck at some process."""
        answer = asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        await asyncio.wait({answer}, timeout=ANSWER_S)
        if answer.done():
            return answer.result()
        answer.cancel()
        raise HostFault("It takes too long to find out whose the processes of a device are.")

    def _reports(self, state: State, owned: Mapping[str, ProcessOwnership]) -> list[c.ReportMemory]:
        """Return what the leases use that use more than they have, or did.

        A grant is judged by lists that were made after it was first seen active. The list of that moment may be of
        before, and have the memory of a process that was parked meanwhile, or has ended.
        """
        reports = []
        seen: dict[str, tuple[int, int | None]] = {}
        for device_id, one in owned.items():
            device = state.devices.get(device_id)
            for lease_id in device.lease_ids if device is not None else ():
                lease = state.leases[lease_id]
                gpu, used_bytes = lease.logical_gpu, one.memory_bytes.get(lease_id, 0)
                if lease.state is not LeaseState.ACTIVE or gpu is None or not is_watched(gpu):
                    continue
                generation, number = self._first_lists.get(lease_id, (None, None))
                if generation != gpu.generation:
                    seen[lease_id] = (gpu.generation, one.number)
                    continue
                seen[lease_id] = (gpu.generation, number)
                if used_bytes is None or (number is not None and number == one.number):
                    continue
                if used_bytes > gpu.memory_bytes or lease.over_limit_since_ms is not None or lease.over_limit_parks:
                    reports.append(c.ReportMemory(lease_id, gpu.generation, used_bytes))
        self._first_lists = seen
        return reports

    def close(self) -> None:
        """Wait for nothing."""
        self._thread.shutdown(cancel_futures=True)

    def _tell(self, before: Mapping[str, Sequence[ForeignProcess]]) -> None:
        for device_id, found in self.foreign.items():
            known = {one.holder for one in before.get(device_id, ())}
            for one in found:
                if one.holder not in known:
                    log.warning(
                        "Process %d of %s has memory on %s and no lease of it.", one.holder.pid, one.user, device_id
                    )

    def _end(self, before: Mapping[str, Sequence[ForeignProcess]], now_s: float) -> None:
        """End those that were in the list before, too; the second time for good."""
        known = {one.holder for found in before.values() for one in found}
        present = {one.holder for found in self.foreign.values() for one in found}
        self._ending = {holder: at_s for holder, at_s in self._ending.items() if holder in present}
        for holder in present & known:
            asked_s = self._ending.setdefault(holder, now_s)
            if asked_s == now_s:
                self._signal(holder, signal.SIGTERM)
            elif now_s - asked_s >= END_GRACE_S:
                self._signal(holder, signal.SIGKILL)

    def _signal(self, holder: Holder, number: signal.Signals) -> None:
        """Send a signal to exactly that process."""
        pidfd = open_holder(holder, self._boot_id)
        if pidfd is None:
            return
        try:
            signal.pidfd_send_signal(pidfd, number)
            log.warning("Process %d was sent %s: it has no lease of its GPU.", holder.pid, number.name)
        except OSError as error:
            log.warning("Process %d, which has no lease of its GPU, cannot be ended: %s", holder.pid, error)
        finally:
            os.close(pidfd)
