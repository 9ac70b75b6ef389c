"""Watches the devices' health and says what it sees to the loop; the rules are :mod:`fastgpu_jupyter.core.health`.

Errors come by an event set that a thread of its own waits on. How each device is, another thread looks at now and then
and after each error. Where a look takes longer than :data:`HANG_S`, the driver hangs: every device is out of service
until it answers again. Nothing here holds up the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ..core import commands as c
from ..core.model import Health
from ..errors import HostFault, LimitReached, NotFound, StoreFault
from .devices.health import Condition, Sighting, Watch, Watchable
from .host.process import lease_of

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
LOOK_S = 30.0
HANG_S = 30.0
#: How long the thread that waits rests where the driver refuses to wait.
RETRY_S = 5.0
#: Errors that wait to be told; a device that reports more at once says nothing new with them.
SIGHTINGS_MAX = 1000
#: After this one the driver has changed what it wants done about the device.
RECOVERY_CHANGED = 154
_NO_ANSWER = "The driver does not answer. Check with `nvidia-smi`; if that hangs too, the machine must be restarted."


class Healer:
    """Watches the devices of one driver for one loop.

    ``devices`` says which there are, ``say`` takes a command, ``count`` is told each error number.
    """

    def __init__(
        self,
        driver: Watchable,
        devices: Callable[[], Awaitable[list[str]]],
        say: Callable[[c.Command], Awaitable[object]],
        count: Callable[[int], None],
    ) -> None:
        self._driver = driver
        self._devices = devices
        self._say = say
        self._count = count
        self._watch: Watch | None = None
        self._seen: asyncio.Queue[Sighting] = asyncio.Queue(SIGHTINGS_MAX)
        self._began = asyncio.Event()
        self._worth_a_look = asyncio.Event()
        self._asked: asyncio.Future[Any] | None = None
        self._closed = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._looks = ThreadPoolExecutor(1, "health-looks")
        self._thread = threading.Thread(target=self._wait_for_ever, name="health-events", daemon=True)
        self._thread.start()

    async def tell_for_ever(self) -> None:
        """Tell the loop of errors as they come."""
        while True:
            sighting = await self._seen.get()
            if sighting.xid is not None and sighting.xid != RECOVERY_CHANGED:
                self._count(sighting.xid)
                await self._submit(await self._with_suspects(sighting, sighting.xid))
            self._worth_a_look.set()

    async def look_for_ever(self) -> None:
        """Look at each device now and then, and when there is a reason to."""
        await self._began.wait()
        while True:
            self._worth_a_look.clear()
            for device_id in await self._devices():
                if not await self._look_at(device_id):
                    break
            # Not ``wait_for``: before Python 3.12 that can lose a cancellation that comes with the time's end.
            reason = asyncio.ensure_future(self._worth_a_look.wait())
            try:
                await asyncio.wait({reason}, timeout=LOOK_S)
            finally:
                reason.cancel()

    async def look(self, device_id: str) -> Condition:
        """How the device is now; what hangs is faulty."""
        watch = self._watch
        if watch is None:
            return Condition(Health.HEALTHY)
        answer = await self._ask(watch.look, device_id)
        return Condition(Health.FAULTY, _NO_ANSWER) if answer is None else answer

    async def close(self) -> None:
        """Stop watching; a thread that hangs in the driver is left behind."""
        self._closed.set()
        self._looks.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._thread.join, 2)

    async def _look_at(self, device_id: str) -> bool:
        """Whether it answered."""
        condition = await self.look(device_id)
        answered = condition.reason != _NO_ANSWER
        for name in [device_id] if answered else await self._devices():
            await self._submit(c.SetHealth(name, *condition))
        return answered

    async def _ask(self, call: Callable[..., T], *args: object) -> T | None:
        """What the watch answers; ``None`` where that, or what was asked before, takes too long."""
        if self._asked is not None and not self._asked.done():
            await asyncio.wait({self._asked}, timeout=HANG_S)
            if not self._asked.done():
                return None  # whatever is asked now would only wait behind it
        answer = self._loop.run_in_executor(self._looks, call, *args)
        self._asked = answer
        await asyncio.wait({answer}, timeout=HANG_S)
        return answer.result() if answer.done() else None

    async def _submit(self, command: c.Command) -> None:
        # What is refused now is seen again at the next look.
        with suppress(StoreFault, LimitReached, NotFound):
            await self._say(command)

    async def _with_suspects(self, sighting: Sighting, xid: int) -> c.ReportXid:
        """With the leases that have a process where it happened; on an instance that one lease has, it was that one."""
        assert self._watch is not None
        try:
            found = await self._ask(_leases_on, self._watch, sighting.device_id, sighting.gpu_instance)
        except HostFault:
            found = None
        suspects = found or ()
        certain = sighting.gpu_instance is not None and len(suspects) == 1
        return c.ReportXid(sighting.device_id, xid, suspects, certain)

    # -- in the thread that waits -------------------------------------------------------------------------------------

    def _wait_for_ever(self) -> None:
        watch = self._begin()
        while not self._closed.is_set() and watch is not None:
            try:
                sighting = watch.wait()
            except HostFault as error:
                log.warning("%s", error)
                self._call(self._worth_a_look.set)
                self._closed.wait(RETRY_S)
                continue
            if sighting is not None:
                self._call(self._note, sighting)
        if watch is not None:
            watch.close()

    def _begin(self) -> Watch | None:
        while not self._closed.is_set():
            try:
                self._watch = self._driver.watch()
            except HostFault as error:
                log.warning("%s", error)
                self._closed.wait(RETRY_S)
            else:
                self._call(self._began.set)
                return self._watch
        return None

    def _call(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(function, *args)

    def _note(self, sighting: Sighting) -> None:
        log.warning("Device %s reported %s.", sighting.device_id, f"Xid {sighting.xid}" if sighting.xid else "an event")
        with suppress(asyncio.QueueFull):
            self._seen.put_nowait(sighting)


def _leases_on(watch: Watch, device_id: str, gpu_instance: int | None) -> tuple[str, ...]:
    found = (lease_of(pid) for pid in watch.processes(device_id, gpu_instance))
    return tuple(dict.fromkeys(lease_id for lease_id in found if lease_id is not None))
