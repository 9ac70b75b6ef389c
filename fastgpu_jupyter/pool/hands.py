"""What leases ask of devices is carried out here: prepare, park, resume, drain. Each ends in a command for the loop.

The driver is used by one thread of its own, so that one that hangs holds up no answer. Everything is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..core import commands as c
from ..core import effects as fx
from ..errors import FastGPUError, HostFault
from .devices.driver import Driver
from .host.process import lease_of

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
DRAIN_POLL_S = 0.25


class Hands:
    """The driver, for use from the event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._thread = ThreadPoolExecutor(1, "devices")

    async def ask(self, call: Callable[..., T], *args: Any) -> T:
        """What a method of the driver answers."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    async def carry_out(self, effect: fx.OnDevice) -> c.Command:
        """Do it, and say what it came to."""
        lease_id, generation = effect.lease_id, effect.logical_gpu.generation
        try:
            match effect:
                case fx.Prepare():
                    await self.ask(self._driver.prepare, effect.logical_gpu)
                    return c.PrepareSucceeded(lease_id, generation)
                case fx.Park():
                    return c.ParkSucceeded(lease_id, generation, await self._park(effect))
                case fx.Resume():
                    await self.ask(self._driver.resume, effect.logical_gpu, effect.holder.pid)
                    return c.ResumeSucceeded(lease_id, generation)
                case fx.Drain():
                    await self._drain(effect)
                    return c.DrainSucceeded(lease_id, generation)
        except FastGPUError as error:
            return _FAILED[type(effect)](lease_id, generation, str(error))

    async def _park(self, effect: fx.Park) -> int:
        """Move its memory away, and see that all of it is gone; else it is moved back. How many bytes that were."""
        gpu, pid = effect.logical_gpu, effect.holder.pid
        moved_bytes = await self.ask(self._driver.park, gpu, pid)
        try:
            left = await self._on_device(effect)
        except HostFault:
            await self.ask(self._driver.resume, gpu, pid)
            raise
        if left:
            await self.ask(self._driver.resume, gpu, pid)
            raise HostFault(f"Process {min(left)} of this lease still has memory on the device.")
        return moved_bytes

    async def _on_device(self, effect: fx.Park | fx.Drain) -> set[int]:
        """Numbers of the lease's processes that have memory on its devices."""
        pids: set[int] = set()
        for device_id in effect.logical_gpu.device_ids:
            pids.update(await self.ask(self._driver.processes, device_id))
        return {pid for pid in pids if lease_of(pid) == effect.lease_id}

    async def _drain(self, effect: fx.Drain) -> None:
        """Wait until no process of the lease has memory on the device: a fact, however long it takes."""
        while True:
            try:
                if not await self._on_device(effect):
                    return
            except HostFault as error:
                log.warning("Cannot see whether lease %s is off its device: %s", effect.lease_id, error)
            await asyncio.sleep(DRAIN_POLL_S)

    def close(self) -> None:
        """Wait for nothing: what is under way is taken up again by the next pool manager."""
        self._thread.shutdown(wait=False, cancel_futures=True)


_FAILED: dict[type[fx.OnDevice], Callable[[str, int, str], c.Command]] = {
    fx.Prepare: c.PrepareFailed,
    fx.Park: c.ParkFailed,
    fx.Resume: c.ResumeFailed,
}
