"""The inventory: compares the devices in the state with those of the driver, and records the differences."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

from ...core.lease import presence
from ...core.model import commands as c
from ...core.model.entities import DeviceSpec, Instant, LogicalGPU, State
from ...core.model.lifecycle import LeaseState
from ...core.placement.inventory import find_device
from ...errors import Conflict, HostFault, InternalError, LimitReached, Message, NotFound, StoreFault
from ..devices.driver import Driver, ListedProcesses, PartitionMode, ProcessList
from ..devices.driver_thread import NO_ANSWER, DriverThread
from ..devices.selection import START_S
from ..host import machine
from ..host.threads import call_with_timeout
from ..protocols import ChangePublisher, CommandSink, StateReader, TaskSupervisor

#: The pause between two comparisons: a device may vanish, appear, or be partitioned by another program.
REFRESH_INTERVAL_S = 5.0


class Inventory:
    """The devices of one driver. ``message`` is what the driver said at the start if it lacks devices."""

    def __init__(
        self,
        driver: Driver,
        driver_thread: DriverThread,
        supervisor: TaskSupervisor,
        *,
        state: StateReader,
        commands: CommandSink,
        changes: ChangePublisher,
        message: Message | None = None,
    ) -> None:
        self._driver = driver
        self._driver_thread = driver_thread
        self._supervisor = supervisor
        self._state = state
        self._commands = commands
        self._changes = changes
        self._message = message
        driver_thread.subscribe(lambda: supervisor.run_once(self._record_responsiveness()))

    @property
    def message(self) -> Message | None:
        """What the driver says if it has no devices, or not all."""
        return self._message

    async def refresh_regularly(self) -> None:
        """Pause, then refresh once."""
        await asyncio.sleep(REFRESH_INTERVAL_S)
        await self.refresh_if_responsive()

    async def refresh_once(self) -> None:
        """Refresh; errors are reported to the supervisor."""
        await self._supervisor.attempt("devices", self.refresh_if_responsive)

    async def refresh_if_responsive(self) -> None:
        """Refresh; while the driver or the disk does not answer, the next refresh has to do."""
        # An internal error of the rules was reported already, and stops grants.
        with suppress(HostFault, StoreFault, LimitReached, InternalError):
            await self.refresh()

    async def refresh(self) -> None:
        """Record which devices there are now. Raises :class:`HostFault`, and changes nothing, if the driver fails."""
        try:
            specs, message = await self._driver_thread.call(self._driver.inventory)
        except HostFault:
            await self._report_no_answer()
            raise
        if Message.of_optional(message) != self._message:
            self._message = Message.of_optional(message)
            self._changes.publish_pool()
        listed = {spec.id: spec for spec in specs}
        known = await self._state.read(specs_of)
        silent = [one for one in known if one not in listed and await self._driver_thread.call(self._driver.knows, one)]
        missing = await self._state.read(_missing)
        for device_id in missing & listed.keys():  # before anything is granted there
            health, reason = await self._driver_thread.call(self._driver.health, device_id)
            with suppress(NotFound):
                await self._commands.submit(c.SetHealth(device_id, health, Message.of_optional(reason)))
        if listed != known or missing:
            await self._commands.submit(c.SetDevices(tuple(specs), (machine.spec(),), tuple(silent)))
        for lease_id, gpu in await self._state.read(_losable):
            why = await self._driver_thread.call(self._driver.loss_reason, gpu)
            if why is not None:
                await self._commands.submit(c.LogicalGPULost(lease_id, gpu.generation, Message.of_text(why)))

    async def _report_no_answer(self) -> None:
        """Record that nothing is known of the devices, where the state has any of which something is known."""
        if await self._state.read(_would_become_missing):
            with suppress(StoreFault, LimitReached):  # the next refresh reports it again
                await self._commands.submit(c.ReportNoAnswer())

    async def _record_responsiveness(self) -> None:
        """Record that the driver became unresponsive, or refresh because it answers again."""
        if self._driver_thread.unresponsive_message is None:
            await self.refresh_once()
        else:
            await self._report_no_answer()

    async def release_driver(self) -> None:
        """Release the driver, so that a GPU can be reset; until it is used again its devices are missing."""
        await self._driver_thread.release(self._driver.close)

    async def use_driver(self) -> None:
        """Use the driver again after :meth:`release_driver`. Raises :class:`HostFault` if it does not answer."""
        self._driver_thread.regain()
        await self.refresh()

    async def partition_mode(self, device_id: str) -> tuple[PartitionMode, ProcessList]:
        """Return the partition mode of a device, and its processes if it has such a mode."""
        mode = await self._driver_thread.call(self._driver.partition_mode, device_id)
        return mode, await self._driver_thread.call(
            self._driver.processes, device_id
        ) if mode.capable else ListedProcesses()

    async def set_partition_mode(self, device_id: str, *, on: bool) -> None:
        """Switch the partition mode of a device; it is drained meanwhile. Raises :class:`Conflict` if it is in use."""
        mode, processes = await self.partition_mode(device_id)
        if mode.on == mode.pending == on:
            return
        drained = await self._state.read(lambda state, _: find_device(state, device_id).drained)
        await self._commands.submit(c.DrainDevice(device_id, drained=True))
        try:
            held = await self._state.read(lambda state, _: len(state.devices[device_id].lease_ids))
            if held:
                raise Conflict(f"{held} leases are on this device. Nothing was changed; release them first.")
            if (
                isinstance(processes, ListedProcesses) and processes.processes
            ):  # where none are listed, the driver refuses it
                pids = ", ".join(str(process.pid) for process in processes.processes)
                raise Conflict(f"Processes are on this device: {pids}. Nothing was changed; end them first.")
            await self._driver_thread.call(self._driver.set_partition_mode, device_id, on)
            await self.refresh_once()
        finally:
            with suppress(NotFound):
                await self._commands.submit(c.DrainDevice(device_id, drained=drained))


class DriverAtStartup:
    """The driver as recovery uses it, before its thread and the event loop run."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def adopt(self, held: Collection[LogicalGPU]) -> None:
        """Take over the logical GPUs that leases held when the last pool manager ended."""
        self._driver.adopt(list(held))

    def observe(self, state: State) -> tuple[list[c.Command], Message | None]:
        """Return the commands that bring ``state`` in line with the devices, and the driver's message.

        If the driver does not answer, all devices are missing.
        """
        try:
            specs, message = call_with_timeout(START_S, self._driver.inventory, NO_ANSWER)
            listed = {spec.id for spec in specs}
            unlisted = [device_id for device_id in specs_of(state) if device_id not in listed]
            silent = call_with_timeout(START_S, lambda: list(filter(self._driver.knows, unlisted)), NO_ANSWER)
        except HostFault as error:
            return [c.ReportNoAnswer()], error.message
        return [c.SetDevices(tuple(specs), (machine.spec(),), tuple(silent))], Message.of_optional(message)


def is_present(state: State, device_id: str) -> bool:
    """Return whether the device is there, or missing and not given up."""
    device = state.devices.get(device_id)
    return device is not None and device.present


def specs_of(state: State, _: Instant | None = None) -> dict[str, DeviceSpec]:
    """Return the specs of the devices that are present or missing, by id."""
    return {device.spec.id: device.spec for device in state.devices.values() if device.present}


def ids_of_those_there(state: State, _: Instant) -> list[str]:
    """Return the ids of the devices of which something is known."""
    return [device.spec.id for device in state.devices.values() if device.missing is None]


def _missing(state: State, _: Instant) -> set[str]:
    return {device.spec.id for device in state.devices.values() if device.missing is not None}


def _would_become_missing(state: State, at: Instant) -> bool:
    return bool(presence.report_no_answer(state, c.ReportNoAnswer(), at))


def _losable(state: State, _: Instant) -> list[tuple[str, LogicalGPU]]:
    """Return what the driver made for leases and another program can destroy while the device is there."""
    there = (one for one in state.leases.values() if presence.missing_device(state, one) is None)
    held = ((one.id, one.logical_gpu) for one in there if one.state is LeaseState.ACTIVE)
    made = ((lease_id, gpu) for lease_id, gpu in held if gpu is not None)
    return [(lease_id, gpu) for lease_id, gpu in made if gpu.partition is not None or gpu.owner_uid is not None]
