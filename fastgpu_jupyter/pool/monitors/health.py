"""Watches the devices' health and says what it sees to the loop; the rules are :mod:`core.lease.device_health`.

Errors come by an event set that a thread of its own waits on. How each device is, is looked at now and then, and after
each error, by the thread that makes all other calls of the driver (:mod:`.executor`): a driver that hangs is given up
there, and its devices are taken out of service. Nothing here holds up the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...core.model import commands as c
from ...core.model.entities import DeviceFault, Health, Holder
from ...errors import HostFault, LimitReached, NotFound, StoreFault
from ..devices.health import HealthEvent, HealthReport, HealthWatcher, WatchableDriver
from ..effects.executor import EffectExecutor
from ..host.attribution import leases_of
from ..supervisor import Supervisor, wait_for_event

log = logging.getLogger("fastgpu.pool")
LOOK_S = 30.0
#: How long it rests where the driver refuses to be watched.
RETRY_S = 5.0
#: Errors that wait to be told; a device that reports more at once says nothing new with them.
SIGHTINGS_MAX = 1000


class HealthMonitor:
    """Watches the devices of one driver for one loop.

    ``devices`` says which there are, ``holders`` who holds the leases on one, ``say`` takes a command, ``count``
    takes the code of each fault.
    """

    def __init__(
        self,
        driver: WatchableDriver,
        executor: EffectExecutor,
        *,
        devices: Callable[[], Awaitable[list[str]]],
        holders: Callable[[str], Awaitable[dict[str, Holder]]],
        say: Callable[[c.Command], Awaitable[object]],
        count: Callable[[str], None],
        supervisor: Supervisor,
    ) -> None:
        self._driver = driver
        self._executor = executor
        self._devices = devices
        self._holders = holders
        self._say = say
        self._count = count
        self._supervisor = supervisor
        self._watch: HealthWatcher | None = None
        self._seen: asyncio.Queue[HealthEvent] = asyncio.Queue(SIGHTINGS_MAX)
        self._worth_a_look = asyncio.Event()
        self._closed = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._wait_for_ever, name="health-events", daemon=True)

    def start(self) -> None:
        """Begin to watch, and to tell what is seen."""
        self._supervisor.run_forever("errors", self._tell_next)
        self._supervisor.run_forever("health", self._look_again)

    async def _look_again(self) -> None:
        """Look at each device now and then, and when there is a reason to."""
        if self._watch is None:
            try:
                self._watch = await self._executor.call_driver(self._driver.watch)
            except HostFault as error:
                log.warning("%s", error)
                await asyncio.sleep(RETRY_S)
                return
            self._thread.start()
        self._worth_a_look.clear()
        for device_id in await self._devices():
            with suppress(HostFault):  # whoever gave the driver up says so
                await self._submit(c.SetHealth(device_id, *await self.condition_of(device_id)))
        await wait_for_event(self._worth_a_look, LOOK_S)

    async def _tell_next(self) -> None:
        """Tell the loop of an error as it comes."""
        sighting = await self._seen.get()
        self._worth_a_look.set()  # whatever becomes of telling it
        if sighting.fault is not None:
            self._count(sighting.fault.code)
            await self._submit(await self._with_suspects(sighting, sighting.fault))

    async def condition_of(self, device_id: str) -> HealthReport:
        """How the device is now. Raises :class:`HostFault` where the driver does not answer."""
        return (
            await self._executor.call_driver(self._watch.look, device_id)
            if self._watch
            else HealthReport(Health.HEALTHY)
        )

    async def close(self) -> None:
        """Stop watching; a thread that hangs in the driver is left behind."""
        self._closed.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 2)

    async def _submit(self, command: c.Command) -> None:
        # What is refused now is seen again at the next look.
        with suppress(StoreFault, LimitReached, NotFound):
            await self._say(command)

    async def _with_suspects(self, sighting: HealthEvent, fault: DeviceFault) -> c.ReportFault:
        """With the leases that have a process where it happened; on an instance that one lease has, it was that one."""
        assert self._watch is not None
        suspects: tuple[str, ...] = ()
        with suppress(HostFault):
            pids = await self._executor.call_driver(self._watch.processes, sighting.device_id, sighting.partition)
            holders = await self._holders(sighting.device_id)
            suspects = tuple(dict.fromkeys(lease_id for pid in pids for lease_id in sorted(leases_of(pid, holders))))
        certain = sighting.partition is not None and len(suspects) == 1
        return c.ReportFault(sighting.device_id, fault, suspects, certain)

    # -- in the thread that waits -------------------------------------------------------------------------------------

    def _wait_for_ever(self) -> None:
        watch = self._watch
        assert watch is not None
        said = ""
        while not self._closed.is_set():
            try:
                sighting = watch.wait()
            except HostFault as error:
                if str(error) != said:
                    log.warning("%s", error)
                said = str(error)
                self._call(self._worth_a_look.set)
                self._closed.wait(RETRY_S)
            except Exception as bug:  # noqa: BLE001 (without this thread nobody would hear of an error any more)
                self._call(self._supervisor.report_failure, "errors", bug)
                self._closed.wait(RETRY_S)
            else:
                if sighting is not None:
                    self._call(self._note, sighting)
        watch.close()

    def _call(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(function, *args)

    def _note(self, sighting: HealthEvent) -> None:
        log.warning("Device %s reported %s.", sighting.device_id, sighting.fault.code if sighting.fault else "an event")
        with suppress(asyncio.QueueFull):
            self._seen.put_nowait(sighting)
