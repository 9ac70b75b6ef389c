"""Compares who has memory on the devices with who may: leases over their limit, and processes without a lease.

:mod:`.process_owners` finds the leases of each process. A process is *foreign* on a device if its lease has no part of
that device, or if it has no lease. Before a process is reported, the newest state is read, so that a process that a
lease started after its device was listed is not reported.

The rules (:mod:`core.lease.memory_limit`) decide what follows from too much memory. Foreign processes are shown, or, in
a system pool that is configured so, ended: only the very process that was seen, by its pidfd, only if it was in two
lists, and never one of root, of a service or of the list of exemptions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

from ...core.lease import unaccounted_memory
from ...core.lease.memory_limit import is_watched
from ...core.model import commands as c
from ...core.model.entities import Holder, Instant, State
from ...core.model.lifecycle import LeaseState
from ...errors import FastGPUError, HostFault, InternalError, LimitReached, Message, StoreFault
from ..devices.driver import HIDDEN, Driver, UnlistedProcesses
from ..devices.driver_thread import DriverThread
from ..host.process import open_holder
from ..host.threads import DaemonThreads
from ..protocols import ChangePublisher, Changes, CommandSink, StateReader
from .exemptions import Exemptions
from .inventory import specs_of
from .process_owners import ForeignProcess, OwnershipResolver, ProcessOwnership, read_assignments, unlisted
from .telemetry import TelemetryMonitor

T = TypeVar("T")

log = logging.getLogger("fastgpu.pool")
#: The pause between two checks. The lists are at most three seconds old, so a process without a right to be on a device
#: is found within five.
CHECK_INTERVAL_S = 1.5
#: How long a foreign process may take to end after SIGTERM.
END_GRACE_S = 10.0
#: How long it may take to find the owners of a device's processes.
ANSWER_S = 3.0
IGNORE, WARN, END = "ignore", "warn", "end"


class ProcessMonitor:
    """The monitor of the processes on the devices of one driver.

    ``policy`` is one of ``ignore``, ``warn`` and ``end`` and applies to foreign processes. ``own_pids`` are the
    processes of the pool manager, which need no lease. ``learn_user`` waits a moment for the name of a user, by number.
    ``telemetry`` has the newest process lists of the sampler; the driver is asked only for those that are missing
    there.
    """

    def __init__(
        self,
        boot_id: str,
        ownership: OwnershipResolver,
        policy: str,
        *,
        exemptions: Exemptions,
        own_pids: Container[int],
        driver: Driver,
        driver_thread: DriverThread,
        telemetry: TelemetryMonitor,
        state: StateReader,
        commands: CommandSink,
        changes: ChangePublisher,
        learn_user: Callable[[int], Awaitable[None]],
        new_thread: Callable[[int, str], Executor] = DaemonThreads,
    ) -> None:
        self._boot_id = boot_id
        self._ownership = ownership
        self._policy = policy
        self._exemptions = exemptions
        self._own_pids = own_pids
        self._driver = driver
        self._driver_thread = driver_thread
        self._telemetry = telemetry
        self._state = state
        self._commands = commands
        self._changes = changes
        self._learn_user = learn_user
        self._thread = new_thread(1, "processes")
        self._foreign: dict[str, tuple[ForeignProcess, ...]] = {}
        self._numbers: dict[str, int | None] = {}  #: of the list that each device was last judged by
        #: By lease: its grant, and the list of its device by which that was first seen active.
        self._first_lists: dict[str, tuple[int, int | None]] = {}
        self._ending: dict[Holder, float] = {}  #: when each was sent SIGTERM
        self._unseen: dict[str, Message] = {}
        #: By device of which it is to be reported that it is withheld or put back: the first list that said so.
        self._unowned: dict[str, int | None] = {}

    @property
    def foreign(self) -> Mapping[str, tuple[ForeignProcess, ...]]:
        """The foreign processes of each device that has any."""
        return self._foreign

    @property
    def unseen(self) -> Mapping[str, Message]:
        """Why the processes of a device, or some of them, cannot be seen, by device."""
        return self._unseen

    async def check(self) -> None:
        """Pause, then check once; while the driver or the disk does not answer, the next check has to do."""
        await asyncio.sleep(CHECK_INTERVAL_S)
        with suppress(HostFault, StoreFault, LimitReached, InternalError):
            await self.check_once()

    async def check_once(self) -> None:
        """Report leases over their memory limit, and publish and handle foreign processes."""
        device_ids = [spec.id for spec in (await self._state.read(specs_of)).values() if not spec.simulated]
        if device_ids:
            changed = await self._compare(device_ids)
            if changed:
                self._changes.publish(Changes(device_ids=frozenset(changed)))

    async def _compare(self, device_ids: Sequence[str]) -> set[str]:
        """Return the devices whose foreign processes are others than before."""
        listed, now_s = self._telemetry.ownership, time.monotonic()
        withheld = await self._state.read(_withheld)
        owned: dict[str, ProcessOwnership] = {}
        fresh: dict[str, tuple[ForeignProcess, ...]] = {}
        for device_id in device_ids:
            with suppress(HostFault):  # nothing is known of this device now
                one = listed.get(device_id)
                if one is None or (one.unowned_bytes is None and device_id in withheld):
                    one = await self._list(device_id)
                if one.number is None or one.number != self._numbers.get(device_id):
                    fresh[device_id] = await self._find_foreign(device_id, one)
                owned[device_id] = one
        for report in await self._state.read(lambda state, _: self._reports(state, owned)):
            await self._commands.submit(report)
        local = await self._local_users() if any(one.hidden for one in owned.values()) else set()
        for unowned in await self._state.read(lambda state, _: self._unowned_reports(state, owned, local)):
            await self._commands.submit(unowned)
        unseen = {name: one.unlisted or HIDDEN for name, one in owned.items() if one.hidden}
        changed = {name for name in {*unseen, *self._unseen} if unseen.get(name) != self._unseen.get(name)}
        self._unseen = unseen
        self._numbers = {device_id: one.number for device_id, one in owned.items()}
        earlier, found = self._foreign, {**self._foreign, **fresh}
        self._foreign = {device_id: processes for device_id in owned if (processes := found.get(device_id))}
        before = {device_id: earlier.get(device_id, ()) for device_id in fresh}
        self._log_new(before)
        if self._policy == END:
            self._end(before, now_s)
        return changed | {name for name in {*earlier, *self._foreign} if earlier.get(name) != self._foreign.get(name)}

    async def _list(self, device_id: str) -> ProcessOwnership:
        found = await self._driver_thread.call(self._driver.processes, device_id)
        if isinstance(found, UnlistedProcesses):
            return unlisted(found.reason, found.unowned_bytes)
        assignments = await self._state.read(read_assignments)
        return await self._in_thread(
            self._ownership.find, device_id, None, found.processes, assignments, found.unowned_bytes
        )

    async def _local_users(self) -> set[str]:
        """Return the leases whose processes may have memory on a device, as far as this host shows."""
        assignments = await self._state.read(read_assignments)
        return await self._in_thread(self._ownership.local_users, self._driver.may_have_memory, assignments)

    async def _find_foreign(self, device_id: str, owned: ProcessOwnership) -> tuple[ForeignProcess, ...]:
        """Return the foreign processes of a new list that are to be reported."""
        found = tuple(one for one in owned.foreign if one.holder.pid not in self._own_pids)
        if self._policy == IGNORE or not found:
            return ()
        await asyncio.gather(*map(self._learn_user, {one.holder.uid for one in found}))
        assignments = await self._state.read(read_assignments)
        return await self._in_thread(self._ownership.still_foreign, device_id, found, assignments)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        """Return what ``call`` returns. Raises :class:`HostFault` if reading ``/proc`` takes too long."""
        answer = asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        await asyncio.wait({answer}, timeout=ANSWER_S)
        if answer.done():
            return answer.result()
        answer.cancel()
        raise HostFault("It takes too long to find the owners of a device's processes.")

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

    def _unowned_reports(
        self, state: State, owned: Mapping[str, ProcessOwnership], local: set[str]
    ) -> list[c.ReportUnownedMemory]:
        """Return how much memory is in use without a visible owner, where that changes what is known of a device.

        A device is withheld, or put back, by two lists, because one may be from before a process or a lease ended.
        """
        reports, unowned = [], dict[str, int | None]()
        for device_id, one in owned.items():
            device = state.devices.get(device_id)
            if device is None or one.unowned_bytes is None:
                continue
            explained_bytes = sum(
                gpu.memory_bytes // len(gpu.device_ids)
                for lease_id in device.lease_ids
                if one.hidden and lease_id in local and (gpu := state.leases[lease_id].logical_gpu) is not None
            )
            assessed = unaccounted_memory.assess(device, one.unowned_bytes, explained_bytes)
            if assessed is None:
                continue
            left_by = None if device.unaccounted is None else device.unaccounted.lease_id
            first = self._unowned.get(device_id, one.number)
            differs = assessed.unaccounted is None or device.unaccounted is None
            if differs and (device_id not in self._unowned or (first is not None and first == one.number)):
                unowned[device_id] = first
            else:
                report = c.ReportUnownedMemory(device_id, one.unowned_bytes, explained_bytes, left_by)
                reports.append(report)
        self._unowned = unowned
        return reports

    def close(self) -> None:
        """Return at once; a thread that is stuck in ``/proc`` is left behind."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _log_new(self, before: Mapping[str, Sequence[ForeignProcess]]) -> None:
        for device_id, found in self._foreign.items():
            known = {one.holder for one in before.get(device_id, ())}
            for one in found:
                if one.holder not in known:
                    log.warning(
                        "Process %d of user %d has memory on %s and no lease of it.",
                        one.holder.pid,
                        one.holder.uid,
                        device_id,
                    )

    def _end(self, before: Mapping[str, Sequence[ForeignProcess]], now_s: float) -> None:
        """Send SIGTERM to the processes that were in the list before, too, and SIGKILL after a grace period."""
        known = {one.holder for found in before.values() for one in found}
        present = {one.holder for found in self._foreign.values() for one in found}
        self._ending = {holder: at_s for holder, at_s in self._ending.items() if holder in present}
        for holder in present & known:
            if self._exemptions.spare(holder):
                continue
            asked_s = self._ending.setdefault(holder, now_s)
            if asked_s == now_s:
                signal_process(holder, self._boot_id, signal.SIGTERM)
            elif now_s - asked_s >= END_GRACE_S:
                signal_process(holder, self._boot_id, signal.SIGKILL)


def _withheld(state: State, _: Instant) -> set[str]:
    """Return the devices with memory in use that is not accounted for."""
    return {device.spec.id for device in state.devices.values() if device.unaccounted is not None}


def signal_process(holder: Holder, boot_id: str, number: signal.Signals) -> None:
    """Send a signal to exactly that process; one that has ended, its number reused or not, gets none."""
    try:
        pidfd = open_holder(holder, boot_id)
    except FastGPUError as error:
        log.warning("Process %d, which has no lease of its GPU, cannot be ended: %s", holder.pid, error)
        return
    if pidfd is None:
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
        log.warning("Process %d was sent %s: it has no lease of its GPU.", holder.pid, number.name)
    except OSError as error:
        log.warning("Process %d, which has no lease of its GPU, cannot be ended: %s", holder.pid, error)
    finally:
        os.close(pidfd)
