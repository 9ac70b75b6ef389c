"""The health monitor: submits what the driver reports of device health; :mod:`core.lease.device_health` decides on it.

Errors arrive as events, for which a thread of its own waits. The health of each device is checked at regular intervals
and after each event, by the thread that makes all other calls of the driver (:mod:`.devices.driver_thread`): if the
driver hangs, the check is given up there, and its devices get no grants. Nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from ...core.model import commands as c
from ...core.model.entities import DeviceFault, Health, Holder, Instant, State
from ...errors import Conflict, HostFault, LimitReached, Message, NotFound, StoreFault
from ..devices.driver_thread import DriverThread
from ..devices.health import HealthEvent, HealthReport, HealthWatcher, WatchableDriver
from ..host.attribution import NotHere, leases_of
from ..protocols import CommandSink, StateReader, TaskSupervisor
from ..supervisor import wait_for_event
from .inventory import ids_of_those_there

log = logging.getLogger("fastgpu.pool")
#: The longest time between two checks.
CHECK_INTERVAL_S = 30.0
#: The pause after the driver refused to be watched.
RETRY_S = 5.0
#: Events that may be queued; of a device that reports more at once, the rest says nothing new.
EVENTS_MAX = 1000


class HealthMonitor:
    """The monitor of one driver's devices. A driver that cannot be watched has healthy devices only.

    ``count_fault`` is called with the code of each fault.
    """

    def __init__(
        self,
        driver: WatchableDriver | None,
        driver_thread: DriverThread,
        *,
        state: StateReader,
        commands: CommandSink,
        supervisor: TaskSupervisor,
        count_fault: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._driver_thread = driver_thread
        self._state = state
        self._commands = commands
        self._supervisor = supervisor
        self._count_fault = count_fault
        self._watcher: HealthWatcher | None = None
        self._events: asyncio.Queue[HealthEvent] = asyncio.Queue(EVENTS_MAX)
        self._check_due = asyncio.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch, if the driver can be watched."""
        if self._driver is not None:
            self._supervisor.run_forever("errors", self._submit_next_event)
            self._supervisor.run_forever("health", self._check_all)

    async def restore(self, device_id: str, key: str | None = None) -> None:
        """Put a device back into service that was unhealthy. Raises :class:`Conflict` if it still is."""
        known = device_id in await self._state.read(_device_ids)
        try:
            report = await self.check(device_id) if known else HealthReport(Health.HEALTHY)
        except HostFault as unresponsive:
            raise Conflict(f"{unresponsive} Nothing was changed.") from unresponsive
        if report.health is not Health.HEALTHY:
            raise Conflict(f"{report.reason} Nothing was changed; mend it and try again.")
        await self._commands.submit(c.RestoreDevice(device_id), key)

    async def check(self, device_id: str) -> HealthReport:
        """Return the health of a device now. Raises :class:`HostFault` if the driver does not answer."""
        if self._watcher is None:
            return HealthReport(Health.HEALTHY)
        return await self._driver_thread.call(self._watcher.check, device_id)

    async def close(self) -> None:
        """Stop watching; a thread that hangs in the driver is left behind."""
        self._closed.set()
        if self._thread is not None and self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 2)

    async def _check_all(self) -> None:
        """Check every device, then wait for the next event or interval."""
        assert self._driver is not None
        if self._watcher is None:
            try:
                self._watcher = await self._driver_thread.call(self._driver.watch)
            except HostFault as error:
                log.warning("%s", error)
                await asyncio.sleep(RETRY_S)
                return
            events = (asyncio.get_running_loop(), self._watcher)
            self._thread = threading.Thread(
                target=self._wait_for_events, args=events, name="health-events", daemon=True
            )
            self._thread.start()
        self._check_due.clear()
        for device_id in await self._state.read(ids_of_those_there):
            with suppress(HostFault):  # the driver thread has reported it
                report = await self.check(device_id)
                reason = Message.of_optional(report.reason)
                await self._submit(c.SetHealth(device_id, report.health, reason, report.lost))
        await wait_for_event(self._check_due, CHECK_INTERVAL_S)

    async def _submit_next_event(self) -> None:
        """Submit the fault of the next event as it arrives."""
        event = await self._events.get()
        self._check_due.set()  # even if submitting fails
        if event.fault is not None:
            self._count_fault(event.fault.code)
            await self._submit(await self._with_suspects(event, event.fault))

    async def _submit(self, command: c.Command) -> None:
        # What is refused now is seen again at the next check.
        with suppress(StoreFault, LimitReached, NotFound):
            await self._commands.submit(command)

    async def _with_suspects(self, event: HealthEvent, fault: DeviceFault) -> c.ReportFault:
        """Return the report with the leases that have a process there; one lease on a partition is certain."""
        assert self._watcher is not None
        suspects: tuple[str, ...] = ()
        with suppress(HostFault):
            pids = await self._driver_thread.call(self._watcher.processes, event.device_id, event.partition)
            holders = await self._state.read(lambda state, _: _holders_on(state, event.device_id))
            suspects = tuple(dict.fromkeys(lease_id for pid in pids for lease_id in _leases_of(pid, holders)))
        certain = event.partition is not None and len(suspects) == 1
        return c.ReportFault(event.device_id, fault, suspects, certain)

    # -- in the thread that waits -------------------------------------------------------------------------------------

    def _wait_for_events(self, loop: asyncio.AbstractEventLoop, watcher: HealthWatcher) -> None:
        def call_in_loop(function: Callable[..., object], *args: object) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(function, *args)

        reported = ""
        while not self._closed.is_set():
            try:
                event = watcher.next_event()
            except HostFault as error:
                if str(error) != reported:
                    log.warning("%s", error)
                reported = str(error)
                call_in_loop(self._check_due.set)
                self._closed.wait(RETRY_S)
            except Exception as error:  # noqa: BLE001 (without this thread no error of a device would be seen)
                call_in_loop(self._supervisor.report_failure, "errors", error)
                self._closed.wait(RETRY_S)
            else:
                if event is not None:
                    call_in_loop(self._add_event, event)
        watcher.close()

    def _add_event(self, event: HealthEvent) -> None:
        log.warning("Device %s reported %s.", event.device_id, event.fault.code if event.fault else "an event")
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(event)


def _leases_of(pid: int, holders: dict[str, Holder]) -> list[str]:
    try:
        return sorted(leases_of(pid, holders))
    except NotHere:
        return []


def _device_ids(state: State, _: Instant) -> list[str]:
    return list(state.devices)


def _holders_on(state: State, device_id: str) -> dict[str, Holder]:
    device = state.devices.get(device_id)
    return {name: state.leases[name].holder for name in device.lease_ids} if device else {}
