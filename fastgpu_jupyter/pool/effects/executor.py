"""The effect executor: carries out on devices what leases need. Each effect ends in a command that says how it went.

The effects are: prepare, set a limit, park, vacate, resume and drain. Each is safe to repeat. Calls of the driver pass
:mod:`.devices.driver_thread`; moving memory may take long and has threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ...core.model import commands as c
from ...core.model import effects as fx
from ...core.model.entities import GONE, Enforcement, LogicalGPU, ScrubOutcome, ScrubResult
from ...errors import FastGPUError, HostFault, Message
from ...units import MEMORY_BYTES_MAX
from ..devices.driver import DeviceGone, Driver, LimitResult, NotNow, ProcessUnusable
from ..devices.driver_thread import DriverThread
from ..host import cgroup
from ..host.attribution import lease_of
from ..host.threads import DaemonThreads
from ..protocols import DeviceAccessGate
from .presence import LeasePresence, PresenceFinder
from .scrubber import Scrubber

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: The pause between two checks whether a lease is off its device: at first, and at most. Leases that leave a device at
#: the same time share its process lists.
DRAIN_POLL_S = 0.25
DRAIN_POLL_S_MAX = 1.0
#: How long it must be unknown whether a lease without processes has memory: what a process had is freed after its end.
UNKNOWN_S = 5.0
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
        *,
        new_thread: Callable[[int, str], Executor] = DaemonThreads,
        reserve_host_memory: Callable[[str, int], None] = _reserve_nothing,
        limit_of: Callable[[str], int] = lambda _: MEMORY_BYTES_MAX,
        may_come_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """See :class:`.presence.PresenceFinder` for ``limit_of`` and ``may_come_back``."""
        self._driver = driver
        self._reserve_host_memory = reserve_host_memory
        self._driver_thread = driver_thread
        self._presence = PresenceFinder(driver, driver_thread, limit_of, may_come_back)
        self._scrubber = scrubber
        self._device_access = device_access
        self._movers = new_thread(MOVERS, "movers")

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
        """Move the holder's memory to the host, and return its bytes. It is moved back unless all of it is gone."""
        gpu, pid = effect.logical_gpu, effect.holder.pid
        reserve = partial(self._reserve_host_memory, effect.lease_id)
        moved_bytes = await self._move(self._driver.park, gpu, pid, reserve)
        try:
            await self._require_gone(effect)
        except HostFault as fault:
            try:
                await self._move(self._driver.resume, gpu, pid, gpu.device_ids, 0)
            except HostFault as error:
                undone = Message.of("parking.not_undone", parking=fault.message, undoing=error.message)
                raise ProcessUnusable(undone) from error
            raise
        await self._release(gpu)
        return moved_bytes

    async def _require_gone(self, effect: fx.Park) -> None:
        """Return once it is seen that a lease whose memory was moved has none, which may take the devices a moment.

        Raises :class:`HostFault` if it has some after :data:`GONE_S`, or if that cannot be seen.
        """
        clock = asyncio.get_running_loop().time
        ends_s = clock() + GONE_S
        while True:
            try:
                left = await self._presence.find(effect.lease_id, effect.logical_gpu, effect.holder, parked=True)
            except HostFault:
                if clock() >= ends_s:
                    raise
            else:
                if left.is_absent:
                    return
                if clock() >= ends_s:
                    raise _not_parked(left)
            await asyncio.sleep(DRAIN_POLL_S)

    async def _drain(self, effect: fx.Drain | fx.Vacate) -> ScrubResult:
        """Wait until the lease has no memory on its devices, however long that takes, and unmake it.

        Where that cannot be known, wait until none of its processes is left, and for :data:`UNKNOWN_S` more.
        """
        reported, result = "", None
        clock, pause_s = asyncio.get_running_loop().time, DRAIN_POLL_S
        since_s, unknown_since_s = clock(), None
        while True:
            try:
                found = await self._presence.find(effect.lease_id, effect.logical_gpu, effect.holder, since_s)
                if found.is_absent:
                    break
                unknown_since_s = None if found.pids else unknown_since_s or clock()
                if unknown_since_s is not None and clock() - unknown_since_s >= UNKNOWN_S:
                    result = self._unknown(effect.logical_gpu, found.unknown)
                    break
            except DeviceGone:
                result = ScrubResult(ScrubOutcome.DEVICE_GONE)
                break
            except HostFault as error:
                unknown_since_s = None
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

    def _unknown(self, gpu: LogicalGPU, reason: Message | None) -> ScrubResult | None:
        """Return the result where it cannot be known whether the lease has memory; ``None`` where that will be known.

        A partition can be destroyed, and memory overwritten, only once no process has it.
        """
        destroyed = gpu.partition is not None and not gpu.partition.preexisting
        if destroyed or (self._scrubber is not None and self._scrubber.overwrites(gpu)):
            return None
        return ScrubResult(ScrubOutcome.UNKNOWN, detail=reason)

    async def _scrub(self, effect: fx.Park | fx.Vacate | fx.Drain) -> ScrubResult:
        """Overwrite what the lease left, if that is configured, and return the result."""

        async def require_unused() -> None:
            back = await self._presence.find(
                effect.lease_id, effect.logical_gpu, effect.holder, parked=isinstance(effect, fx.Park)
            )
            if back.unknown is not None:
                raise HostFault(back.unknown)
            if back.pids:
                raise HostFault(f"Process {min(back.pids)} of this lease has memory on the device again.")

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


def _not_parked(left: LeasePresence) -> HostFault:
    if left.unknown is not None:
        return HostFault(Message.of("parking.not_seen", reason=left.unknown))
    return HostFault(Message.of("parking.memory_left", pid=min(left.pids)))


def _warn_once(text: str, about: str, error: HostFault, reported: str) -> str:
    """Log ``error`` unless it was ``reported`` last, and return what to pass as ``reported`` next time."""
    if str(error) != reported:
        log.warning(text, about, error)
    return str(error)


_FAILURE_REPORTS: dict[type[fx.DeviceEffect], Callable[[str, int, Message], c.Command]] = {
    fx.Prepare: c.PrepareFailed,
    fx.Resume: c.ResumeFailed,
}
