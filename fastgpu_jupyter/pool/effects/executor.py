"""The effect executor: carries out on devices what leases need. Each effect ends in a command that says how it went.

The effects are: prepare, set a limit, park, vacate, resume and drain. Each is safe to repeat. Calls of the driver pass
:mod:`.devices.driver_thread`; moving memory may take long and has threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ...core.model import commands as c
from ...core.model import effects as fx
from ...core.model.entities import GONE, Enforcement, Holder, LogicalGPU, ScrubOutcome, ScrubResult
from ...errors import FastGPUError, HostFault, Message
from ..devices.driver import DeviceGone, DeviceProcess, Driver, LimitResult, NotNow, ProcessUnusable
from ..devices.driver_thread import DriverThread
from ..host import cgroup
from ..host.attribution import lease_of, leases_of
from ..host.threads import DaemonThreads
from ..protocols import DeviceAccessGate
from .scrubber import Scrubber

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: The pause between two checks whether a lease is off its device: at first, and at most. Leases that leave a device at
#: the same time share its process lists.
DRAIN_POLL_S = 0.25
DRAIN_POLL_S_MAX = 1.0
#: How long the devices may list a process whose memory was moved to the host, before that counts as failed.
GONE_S = 5.0
#: Leases whose memory is moved at the same time, at most. Each waits for a process that may hang until its deadline,
#: and the others must not wait for that.
MOVERS = 256


def _reserve_nothing(lease_id: str, memory_bytes: int) -> None:
    """Let leases take any amount of host memory when they are parked."""


class EffectExecutor:
    """The executor of device effects, for use from the event loop.

    ``reserve_host_memory`` is called from other threads with the id of a lease that is being parked and the bytes that
    it needs, and raises :class:`HostFault` where there are not enough.
    """

    def __init__(
        self,
        driver: Driver,
        driver_thread: DriverThread,
        scrubber: Scrubber | None = None,
        device_access: DeviceAccessGate | None = None,
        new_thread: Callable[[int, str], Executor] = DaemonThreads,
        *,
        reserve_host_memory: Callable[[str, int], None] = _reserve_nothing,
        may_come_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """``may_come_back``: whether the pool has not given up a device that its driver does not have."""
        self._driver = driver
        self._reserve_host_memory = reserve_host_memory
        self._driver_thread = driver_thread
        self._scrubber = scrubber
        self._device_access = device_access
        self._may_come_back = may_come_back
        self._movers = new_thread(MOVERS, "movers")
        self._lists: dict[str, _ProcessListing] = {}  #: by device, the newest

    async def _move(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._movers, call, *args)

    async def execute(self, effect: fx.DeviceEffect) -> c.Command:
        """Carry out ``effect`` and return the command that reports its outcome."""
        lease_id, generation = effect.lease_id, effect.logical_gpu.generation
        try:
            match effect:
                case fx.Prepare():
                    handle = await self._prepare(effect)
                    return c.PrepareSucceeded(lease_id, generation, handle)
                case fx.SetLimit():
                    limited = await self._limit(effect)
                    return c.LimitSet(lease_id, generation, *limited, effect.logical_gpu.memory_bytes)
                case fx.Park():
                    return c.ParkSucceeded(lease_id, generation, await self._park(effect), await self._scrub(effect))
                case fx.Vacate():
                    return c.ParkSucceeded(lease_id, generation, 0, await self._drain(effect))
                case fx.Resume():
                    handle = await self._prepare(effect)
                    gpu = replace(effect.logical_gpu, driver_handle=handle)
                    pid, memory_bytes = effect.holder.pid, effect.memory_bytes
                    await self._move(self._driver.resume, gpu, pid, effect.origin, memory_bytes)
                    return c.ResumeSucceeded(lease_id, generation, handle)
                case fx.Drain():
                    return c.DrainSucceeded(lease_id, generation, await self._drain(effect))
        except FastGPUError as error:
            if isinstance(error, NotNow) and isinstance(effect, fx.Resume):
                return c.ResumePostponed(lease_id, generation, error.message)
            if isinstance(effect, fx.Park):
                broken = isinstance(error, ProcessUnusable)
                return c.ParkFailed(lease_id, generation, error.message, broken)
            return _FAILURE_REPORTS[type(effect)](lease_id, generation, error.message)

    async def release(self, gpu: LogicalGPU) -> None:
        """Unmake what the driver made for ``gpu``. Raises :class:`HostFault` if that is not possible now."""
        await self._driver_thread.call(self._driver.release, gpu)

    async def _prepare(self, effect: fx.Prepare | fx.Resume) -> str:
        """Make the logical GPU usable and open it to its kernel, once the memory of earlier leases is overwritten."""
        gpu = effect.logical_gpu
        if self._scrubber is not None:
            await self._scrubber.wait_until_scrubbed(effect.lease_id, gpu)
        handle = await self._driver_thread.call(self._driver.prepare, gpu)
        if self._device_access is not None:
            await self._device_access.open_devices(effect.lease_id, replace(gpu, driver_handle=handle))
        return handle

    async def _limit(self, effect: fx.SetLimit) -> LimitResult:
        """Limit the memory of the holder. A server that requested a lease for a kernel to come is not limited."""
        gpu = effect.logical_gpu
        if self._device_access is not None:  # it moves the kernel into a control group of its own
            await self._device_access.wait_until_applied(effect.lease_id)
        if lease_of(effect.holder.pid) != effect.lease_id and not cgroup.has_own_group(effect.holder.pid):
            return LimitResult(gpu.enforcement, gpu.driver_handle)
        try:
            return await self._driver_thread.call(self._driver.limit, gpu, effect.holder.pid)
        except HostFault as error:
            return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, error.message)

    async def _park(self, effect: fx.Park) -> int:
        """Move the holder's memory to the host, and return its bytes. If some of it stays, it is moved back."""
        gpu, pid = effect.logical_gpu, effect.holder.pid
        reserve = partial(self._reserve_host_memory, effect.lease_id)
        moved_bytes = await self._move(self._driver.park, gpu, pid, reserve)
        try:
            await self._require_gone(effect)
        except HostFault as fault:
            try:
                await self._move(self._driver.resume, gpu, pid, gpu.device_ids, 0)
            except HostFault as error:
                raise ProcessUnusable(f"{fault} {error}") from error
            raise
        await self._release(gpu)
        return moved_bytes

    async def _require_gone(self, effect: fx.Park) -> None:
        """Return once the devices list no process of a lease whose memory was moved, which may take them a moment.

        Raises :class:`HostFault` if they still do after :data:`GONE_S`, or if that cannot be seen.
        """
        clock = asyncio.get_running_loop().time
        ends_s = clock() + GONE_S
        while True:
            try:
                left = await self._processes_on_devices(effect)
            except HostFault:
                if clock() >= ends_s:
                    raise
            else:
                if not left:
                    return
                if clock() >= ends_s:
                    raise HostFault(f"Process {min(left)} of this lease still has memory on the device.")
            await asyncio.sleep(DRAIN_POLL_S)

    async def _processes_on_devices(
        self, effect: fx.Park | fx.Vacate | fx.Drain, since_s: float | None = None
    ) -> set[int]:
        """Return the pids of the lease that have memory on its devices, by lists begun at ``since_s`` or later.

        Raises :class:`DeviceGone` if one of the devices is gone and the lease has nothing on the others, and
        :class:`HostFault` if it is only missing: it may come back with what was on it.
        """
        since_s = asyncio.get_running_loop().time() if since_s is None else since_s
        pids: set[int] = set()
        gone: DeviceGone | None = None
        for device_id in effect.logical_gpu.device_ids:
            try:
                pids.update([process.pid for process in await self._list(device_id, since_s)])
            except DeviceGone as lost:
                if self._may_come_back(device_id):
                    raise HostFault(lost.message) from lost
                gone = lost
        holders = {effect.lease_id: effect.holder}
        # In that thread: reading /proc may block on a process that is stuck in the driver.
        found = await self._driver_thread.call(_pids_of, pids, holders) if pids else pids
        if gone is not None and not found:
            raise gone
        return found

    async def _list(self, device_id: str, since_s: float) -> Sequence[DeviceProcess]:
        """Return the processes of a device by a list that was begun at ``since_s`` or later, shared if there is one."""
        listing = self._lists.get(device_id)
        if listing is None or not listing.is_since(since_s):
            listing = self._lists[device_id] = _ProcessListing(self._driver_thread.call, self._driver, device_id)
        await asyncio.wait({listing.done})  # cancelling this caller leaves the list to the others
        return listing.done.result()

    async def _drain(self, effect: fx.Drain | fx.Vacate) -> ScrubResult:
        """Wait until no process of the lease has memory on its devices, however long that takes, and unmake it."""
        reported, result = "", None
        clock, pause_s = asyncio.get_running_loop().time, DRAIN_POLL_S
        since_s = clock()
        while True:
            try:
                if not await self._processes_on_devices(effect, since_s):
                    break
            except DeviceGone:
                result = ScrubResult(ScrubOutcome.DEVICE_GONE)
                break
            except HostFault as error:
                text = "Cannot see whether lease %s is off its device: %s"
                reported = _warn_once(text, effect.lease_id, error, reported)
            since_s = clock() + pause_s / 2
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, DRAIN_POLL_S_MAX)
        # A partition is scrubbed before it is destroyed, a device after the release: what was made for the lease may
        # hold memory itself.
        if result is None and effect.logical_gpu.partition is not None:
            result = await self._scrub(effect)
        await self._release(effect.logical_gpu)
        return result or await self._scrub(effect)

    async def _scrub(self, effect: fx.Park | fx.Vacate | fx.Drain) -> ScrubResult:
        """Overwrite what the lease left, if that is configured, and return the result."""

        async def require_unused() -> None:
            back = await self._processes_on_devices(effect)
            if back:
                raise HostFault(f"Process {min(back)} of this lease has memory on the device again.")

        if self._scrubber is None:
            return GONE
        ends = not isinstance(effect, fx.Park)
        return await self._scrubber.scrub(effect.lease_id, effect.logical_gpu, require_unused, ends=ends)

    async def _release(self, gpu: LogicalGPU) -> None:
        """Unmake what was made for ``gpu``, however long that takes, because it must not pass to the next lease."""
        reported = ""
        while True:
            try:
                return await self.release(gpu)
            except HostFault as error:
                reported = _warn_once("The driver cannot release %s yet: %s", gpu.device_id, error, reported)
            await asyncio.sleep(DRAIN_POLL_S)

    def close(self) -> None:
        """Return at once; the next pool manager repeats the effects that are in progress."""
        self._movers.shutdown(wait=False, cancel_futures=True)


class _ProcessListing:
    """A list of a device's processes that several effects share."""

    def __init__(self, call: Callable[..., Coroutine[Any, Any, Any]], driver: Driver, device_id: str) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun_s: float | None = None
        self.done: asyncio.Future[Sequence[DeviceProcess]] = asyncio.ensure_future(
            call(self._processes, driver, device_id)
        )
        self.done.add_done_callback(_retrieve_exception)

    def _processes(self, driver: Driver, device_id: str) -> Sequence[DeviceProcess]:
        self._begun_s = self._clock()
        return driver.processes(device_id)

    def is_since(self, since_s: float) -> bool:
        """Return whether the list was, or will be, begun at ``since_s`` or later."""
        return not self.done.done() if self._begun_s is None else self._begun_s >= since_s


def _pids_of(pids: Iterable[int], holders: Mapping[str, Holder]) -> set[int]:
    return {pid for pid in pids if leases_of(pid, holders)}


def _retrieve_exception(listing: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved: all callers may have been cancelled."""
    if not listing.cancelled():
        listing.exception()


def _warn_once(text: str, about: str, error: HostFault, reported: str) -> str:
    """Log ``error`` unless it was ``reported`` last, and return what to pass as ``reported`` next time."""
    if str(error) != reported:
        log.warning(text, about, error)
    return str(error)


_FAILURE_REPORTS: dict[type[fx.DeviceEffect], Callable[[str, int, Message], c.Command]] = {
    fx.Prepare: c.PrepareFailed,
    fx.Resume: c.ResumeFailed,
}
