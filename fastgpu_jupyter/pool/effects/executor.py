"""What leases ask of devices is carried out here: prepare, limit, park, resume, drain. Each ends in a command.

The driver is used by one thread of its own, so that one that hangs holds up no answer. A call that is not answered
within :data:`ANSWER_S` is given up, and until that thread is free again every other one is refused at once: the driver
is *silent*. Nobody hears of a device from a second thread meanwhile; it would hang as well. What moves memory may take
long and has threads of its own. Everything is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from ...core.model import commands as c
from ...core.model import effects as fx
from ...core.model.entities import GONE, Enforcement, Holder, LogicalGPU, ScrubOutcome, ScrubResult
from ...errors import FastGPUError, HostFault
from ..devices.driver import DeviceGone, DeviceProcess, Driver, LimitResult, ProcessUnusable
from ..host import cgroup
from ..host.attribution import lease_of, leases_of
from ..host.threads import DaemonThreads
from .device_access import DeviceAccessController
from .scrubber import Scrubber

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: Between two looks whether a lease is off its device: at first, and once it has taken long. Leases that leave a device
#: together share its lists.
DRAIN_POLL_S = 0.25
DRAIN_POLL_MOST_S = 1.0
#: How long the driver may take for an answer; the slowest that is no fault takes a second or two.
ANSWER_S = 10.0
#: What is held against devices whose driver is silent.
NO_ANSWER = "The GPU driver does not answer. Nothing is granted here until it does; see `jupyter fastgpu doctor`."
#: Leases whose memory is moved at the same time.
MOVERS = 4


class EffectExecutor:
    """The driver, for use from the event loop. ``heard`` is called when it falls silent, and when it answers again."""

    def __init__(
        self,
        driver: Driver,
        on_responsiveness_changed: Callable[[], None] = lambda: None,
        scrubber: Scrubber | None = None,
        device_access: DeviceAccessController | None = None,
    ) -> None:
        self._driver = driver
        self._scrubber = scrubber
        self._device_access = device_access
        self._on_responsiveness_changed = on_responsiveness_changed
        self._thread = DaemonThreads(1, "devices")
        self._movers = DaemonThreads(MOVERS, "movers")
        self._lists: dict[str, _Listing] = {}  #: by device, the newest
        #: Why no call is made now, or ``None``.
        self.unresponsive_message: str | None = None

    async def call_driver(self, call: Callable[..., T], *args: Any) -> T:
        """What a method of the driver answers. Raises :class:`HostFault` where it does not answer in time."""
        if self.unresponsive_message is not None:
            raise HostFault(self.unresponsive_message)
        answer = asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        await asyncio.wait({answer}, timeout=ANSWER_S)  # unlike wait_for, it never loses that this task is cancelled
        if answer.done():
            return answer.result()
        answer.cancel()
        self._note_timeout(getattr(call, "__name__", "a call"))
        raise HostFault(NO_ANSWER)

    def _note_timeout(self, name: str) -> None:
        if self.unresponsive_message is not None:
            return
        self.unresponsive_message = (
            f"The GPU driver has not answered for {ANSWER_S:g} seconds, and nothing is granted on its GPUs until it "
            "does; running kernels go on. See `jupyter fastgpu doctor`."
        )
        log.error("%s It was asked for: %s.", self.unresponsive_message, name)
        loop = asyncio.get_running_loop()
        # Whatever waited behind the call was given up with it, so this is the next thing that the thread does.
        free = self._thread.submit(int)
        free.add_done_callback(lambda done: self._when_free(loop, done))
        self._on_responsiveness_changed()

    def _when_free(self, loop: asyncio.AbstractEventLoop, done: Future[Any]) -> None:
        if not done.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(self._note_answer)

    def _note_answer(self) -> None:
        self.unresponsive_message = None
        log.warning("The GPU driver answers again.")
        self._on_responsiveness_changed()

    async def _move(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._movers, call, *args)

    async def execute(self, effect: fx.DeviceEffect) -> c.Command:
        """Do it, and say what it came to."""
        lease_id, generation = effect.lease_id, effect.logical_gpu.generation
        try:
            match effect:
                case fx.Prepare():
                    made = await self._prepare(effect)
                    return c.PrepareSucceeded(lease_id, generation, made)
                case fx.SetLimit():
                    limited = await self._limit(effect)
                    return c.LimitSet(lease_id, generation, *limited, effect.logical_gpu.memory_bytes)
                case fx.Park():
                    return c.ParkSucceeded(lease_id, generation, await self._park(effect), await self._scrub(effect))
                case fx.Vacate():
                    return c.ParkSucceeded(lease_id, generation, 0, await self._drain(effect))
                case fx.Resume():
                    made = await self._prepare(effect)
                    gpu = replace(effect.logical_gpu, driver_handle=made)
                    await self._move(self._driver.resume, gpu, effect.holder.pid, effect.origin)
                    return c.ResumeSucceeded(lease_id, generation, made)
                case fx.Drain():
                    return c.DrainSucceeded(lease_id, generation, await self._drain(effect))
        except FastGPUError as error:
            if isinstance(effect, fx.Park):
                broken = isinstance(error, ProcessUnusable)
                return c.ParkFailed(lease_id, generation, str(error), broken)
            return _FAILED[type(effect)](lease_id, generation, str(error))

    async def _prepare(self, effect: fx.Prepare | fx.Resume) -> str:
        """Make it usable, once nobody reads there what was another's, and open it to its kernel."""
        gpu = effect.logical_gpu
        if self._scrubber is not None:
            await self._scrubber.wait_until_scrubbed(effect.lease_id, gpu)
        made = await self.call_driver(self._driver.prepare, gpu)
        if self._device_access is not None:
            await self._device_access.open_devices(effect.lease_id, replace(gpu, driver_handle=made))
        return made

    async def _limit(self, effect: fx.SetLimit) -> LimitResult:
        """Who keeps the lease within its memory; a server that asked for a kernel to come is not limited."""
        gpu = effect.logical_gpu
        if self._device_access is not None:
            await self._device_access.wait_until_applied(effect.lease_id)
        if lease_of(effect.holder.pid) != effect.lease_id and not cgroup.has_own_group(effect.holder.pid):
            return LimitResult(gpu.enforcement, gpu.driver_handle)
        try:
            return await self.call_driver(self._driver.limit, gpu, effect.holder.pid)
        except HostFault as error:
            return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, str(error))

    async def _park(self, effect: fx.Park) -> int:
        """Move its memory away, and see that all of it is gone; else it is moved back. How many bytes that were."""
        gpu, pid = effect.logical_gpu, effect.holder.pid
        moved_bytes = await self._move(self._driver.park, gpu, pid)
        try:
            left = await self._on_device(effect)
        except HostFault:
            await self._move(self._driver.resume, gpu, pid, gpu.device_ids)
            raise
        if left:
            await self._move(self._driver.resume, gpu, pid, gpu.device_ids)
            raise HostFault(f"Process {min(left)} of this lease still has memory on the device.")
        await self._release(gpu)
        return moved_bytes

    async def _on_device(self, effect: fx.Park | fx.Vacate | fx.Drain, since_s: float | None = None) -> set[int]:
        """Numbers of the lease's processes that have memory on its devices, by lists begun since then, or now.

        Raises :class:`DeviceGone` where one of the devices is gone and nothing is left on the others.
        """
        since_s = asyncio.get_running_loop().time() if since_s is None else since_s
        pids: set[int] = set()
        gone: DeviceGone | None = None
        for device_id in effect.logical_gpu.device_ids:
            try:
                pids.update([process.pid for process in await self._list(device_id, since_s)])
            except DeviceGone as lost:
                gone = lost
        its = {effect.lease_id: effect.holder}
        # In that thread: a process that is stuck in the driver may not say who it is either.
        found = await self.call_driver(_those_of, pids, its) if pids else pids
        if gone is not None and not found:
            raise gone
        return found

    async def _list(self, device_id: str, since_s: float) -> Sequence[DeviceProcess]:
        """The processes of a device, by a list that was begun since then, maybe one that somebody else asked for."""
        listing = self._lists.get(device_id)
        if listing is None or not listing.is_since(since_s):
            listing = self._lists[device_id] = _Listing(self.call_driver, self._driver, device_id)
        await asyncio.wait({listing.done})  # whoever gives up waiting leaves it to the others
        return listing.done.result()

    async def _drain(self, effect: fx.Drain | fx.Vacate) -> ScrubResult:
        """Wait until no process of the lease has memory on the device: a fact, however long it takes; which one."""
        said, scrub_result = "", None
        clock, pause_s = asyncio.get_running_loop().time, DRAIN_POLL_S
        since_s = clock()
        while True:
            try:
                if not await self._on_device(effect, since_s):
                    break
            except DeviceGone:
                scrub_result = ScrubResult(ScrubOutcome.DEVICE_GONE)
                break
            except HostFault as error:
                said = _warn("Cannot see whether lease %s is off its device: %s", effect.lease_id, error, said)
            since_s = clock() + pause_s / 2
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, DRAIN_POLL_MOST_S)
        if scrub_result is None and effect.logical_gpu.partition is not None:
            scrub_result = await self._scrub(
                effect
            )  # while it is there; of a device, what was made may have memory itself
        await self._release(effect.logical_gpu)
        return scrub_result or await self._scrub(effect)

    async def _scrub(self, effect: fx.Park | fx.Vacate | fx.Drain) -> ScrubResult:
        """Have what the lease left overwritten, where that is wanted; what became of it."""

        async def is_there() -> None:
            back = await self._on_device(effect)
            if back:
                raise HostFault(f"Process {min(back)} of this lease has memory on the device again.")

        if self._scrubber is None:
            return GONE
        ends = not isinstance(effect, fx.Park)
        return await self._scrubber.scrub(effect.lease_id, effect.logical_gpu, is_there, ends=ends)

    async def _release(self, gpu: LogicalGPU) -> None:
        """Have what was made for it unmade, however long that takes: it must not pass to the next lease."""
        said = ""
        while True:
            try:
                return await self.call_driver(self._driver.release, gpu)
            except HostFault as error:
                said = _warn("What was made on %s cannot be unmade yet: %s", gpu.device_id, error, said)
            await asyncio.sleep(DRAIN_POLL_S)

    def close(self) -> None:
        """Wait for nothing: what is under way is taken up again by the next pool manager."""
        self._thread.shutdown(cancel_futures=True)
        self._movers.shutdown(cancel_futures=True)


class _Listing:
    """A list of a device's processes, for all who need one."""

    def __init__(self, ask: Callable[..., Coroutine[Any, Any, Any]], driver: Driver, device_id: str) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun_s: float | None = None
        self.done: asyncio.Future[Sequence[DeviceProcess]] = asyncio.ensure_future(
            ask(self._processes, driver, device_id)
        )
        self.done.add_done_callback(_heard)

    def _processes(self, driver: Driver, device_id: str) -> Sequence[DeviceProcess]:
        self._begun_s = self._clock()
        return driver.processes(device_id)

    def is_since(self, since_s: float) -> bool:
        """Whether it was, or will be, begun since then."""
        return not self.done.done() if self._begun_s is None else self._begun_s >= since_s


def _those_of(pids: Iterable[int], its: Mapping[str, Holder]) -> set[int]:
    return {pid for pid in pids if leases_of(pid, its)}


def _heard(listing: asyncio.Future[Any]) -> None:
    """Whoever waited for it may be gone: what went wrong is nobody's then."""
    if not listing.cancelled():
        listing.exception()


def _warn(text: str, about: str, error: HostFault, said: str) -> str:
    """Say what goes wrong again and again once; returns it."""
    if str(error) != said:
        log.warning(text, about, error)
    return str(error)


_FAILED: dict[type[fx.DeviceEffect], Callable[[str, int, str], c.Command]] = {
    fx.Prepare: c.PrepareFailed,
    fx.Resume: c.ResumeFailed,
}
