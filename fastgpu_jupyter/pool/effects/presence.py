"""Finds out whether a lease has memory on its devices: yes, no, or that it cannot be known.

The lists of the driver are asked first. Where a driver lists no processes here, or some that cannot be identified, the
lease's own processes are looked for among those of this host; and where none is found, the memory that is in use
decides: if that is no more than without leases, the lease has none. What is left is *unknown*, and is never taken for
absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...core.model.entities import Holder, LogicalGPU
from ...errors import HostFault, Message
from ..devices.driver import HIDDEN, DeviceGone, DeviceProcess, Driver, ListedProcesses, ProcessList, UnlistedProcesses
from ..devices.driver_thread import DriverThread
from ..host.attribution import NotHere, leases_of, processes_of

#: Of what a lease has, that much may be in use though it has ended.
TOLERATED_PART = 8


class LeasePresence(NamedTuple):
    """The processes of a lease that have memory on its devices, or may; and why there may be others."""

    pids: frozenset[int] = frozenset()
    unknown: Message | None = None  #: set only where no process was found

    @property
    def is_absent(self) -> bool:
        """Whether the lease has no memory on its devices, as a fact."""
        return not self.pids and self.unknown is None


class PresenceFinder:
    """Finder for the leases on one driver's devices, for the event loop's thread.

    ``limit_of`` returns how much memory of a device may be in use without a visible owner while no lease is on it, and
    ``may_come_back`` whether the pool has not given up a device that its driver does not have.
    """

    def __init__(
        self,
        driver: Driver,
        driver_thread: DriverThread,
        limit_of: Callable[[str], int],
        may_come_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._driver = driver
        self._driver_thread = driver_thread
        self._limit_of = limit_of
        self._may_come_back = may_come_back
        self._lists: dict[str, _Listing] = {}  #: by device, the newest

    async def find(
        self, lease_id: str, gpu: LogicalGPU, holder: Holder, since_s: float | None = None, *, parked: bool = False
    ) -> LeasePresence:
        """Return the presence of a lease by lists that were begun at ``since_s`` or later, now where that is ``None``.

        ``parked``: its processes keep their libraries and have given their memory up, so that only the memory in use
        counts where they are not listed. Raises :class:`DeviceGone` if one of the devices is gone and the lease has
        nothing on the others, and :class:`HostFault` while a device does not answer, or is missing and may come back.
        """
        since_s = asyncio.get_running_loop().time() if since_s is None else since_s
        lists: dict[str, ProcessList] = {}
        gone: DeviceGone | None = None
        for device_id in gpu.device_ids:
            try:
                lists[device_id] = await self.list(device_id, since_s)
            except DeviceGone as lost:
                if self._may_come_back(device_id):
                    raise HostFault(lost.message) from lost
                gone = lost
        listed = {one.pid for found in lists.values() if isinstance(found, ListedProcesses) for one in found.processes}
        # In that thread: reading /proc may block on a process that is stuck in the driver.
        own, hidden = await self._driver_thread.call(_own, listed, {lease_id: holder}) if listed else (set(), set())
        if own:
            return LeasePresence(frozenset(own))
        reason = self._why_unknown(lists, hidden)
        if reason is not None and not parked:
            local = await self._driver_thread.call(self._local, lease_id, holder)
            if local:
                return LeasePresence(frozenset(local))
        if gone is not None:
            raise gone
        in_use = {name: _in_use_bytes(found, hidden) for name, found in lists.items()}
        if gpu.partition is not None:
            in_use = {} if reason is None else {gpu.device_id: await self._driver_thread.call(self._used, gpu)}
        # A partition is smaller than what a device may have in use.
        return LeasePresence(unknown=self._judge(reason, in_use, gpu.memory_bytes // TOLERATED_PART))

    def _why_unknown(self, lists: Mapping[str, ProcessList], hidden: set[int]) -> Message | None:
        reasons = (found.reason for found in lists.values() if isinstance(found, UnlistedProcesses))
        return next(reasons, HIDDEN if hidden else None)

    def _judge(self, reason: Message | None, in_use: Mapping[str, int | None], most_bytes: int) -> Message | None:
        """Return why it is unknown whether the lease has memory there; ``None`` where the memory in use says no."""
        for device_id, in_use_bytes in in_use.items():
            if in_use_bytes is None:
                if reason is not None:
                    return reason
            elif in_use_bytes > min(self._limit_of(device_id), most_bytes):
                return reason or Message.of("processes.unowned", in_use_bytes=in_use_bytes)
        return None

    def _local(self, lease_id: str, holder: Holder) -> set[int]:
        """Return the processes of the lease on this host that may have memory on a device, in the thread."""
        return {pid for pid in processes_of(lease_id, holder) if self._driver.may_have_memory(pid)}

    def _used(self, gpu: LogicalGPU) -> int | None:
        return self._driver.used_bytes(gpu)

    async def list(self, device_id: str, since_s: float) -> ProcessList:
        """Return the processes of a device by a list that was begun at ``since_s`` or later, shared if there is one."""
        listing = self._lists.get(device_id)
        if listing is None or not listing.is_since(since_s):
            listing = self._lists[device_id] = _Listing(self._driver_thread.call, self._driver, device_id)
        await asyncio.wait({listing.done})  # cancelling this caller leaves the list to the others
        return listing.done.result()


class _Listing:
    """A list of a device's processes that several effects share."""

    def __init__(self, call: Callable[..., Coroutine[Any, Any, Any]], driver: Driver, device_id: str) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun_s: float | None = None
        self.done: asyncio.Future[ProcessList] = asyncio.ensure_future(call(self._processes, driver, device_id))
        self.done.add_done_callback(_retrieve_exception)

    def _processes(self, driver: Driver, device_id: str) -> ProcessList:
        self._begun_s = self._clock()
        return driver.processes(device_id)

    def is_since(self, since_s: float) -> bool:
        """Return whether the list was, or will be, begun at ``since_s`` or later."""
        return not self.done.done() if self._begun_s is None else self._begun_s >= since_s


def _own(pids: Iterable[int], holders: Mapping[str, Holder]) -> tuple[set[int], set[int]]:
    """Return those of ``pids`` that are of ``holders``' leases, and those that are of no process here."""
    own, hidden = set(), set()
    for pid in pids:
        try:
            if leases_of(pid, holders):
                own.add(pid)
        except NotHere:
            hidden.add(pid)
    return own, hidden


def _in_use_bytes(found: ProcessList, hidden: set[int]) -> int | None:
    """Return the memory of a device in use that no visible process has; ``None`` where that is not known."""
    if isinstance(found, UnlistedProcesses):
        return found.unowned_bytes
    of_hidden = _memory_of(found.processes, hidden)
    return None if of_hidden is None else (found.unowned_bytes or 0) + of_hidden


def _memory_of(processes: Sequence[DeviceProcess], pids: set[int]) -> int | None:
    amounts = [one.memory_bytes for one in processes if one.pid in pids]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _retrieve_exception(listing: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved: all callers may have been cancelled."""
    if not listing.cancelled():
        listing.exception()
