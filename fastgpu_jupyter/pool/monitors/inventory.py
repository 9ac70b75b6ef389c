"""Which devices the host has, as their driver says it: taken over into the state, and given up while it is silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...core.lease.device_health import find_device
from ...core.model import commands as c
from ...core.model.entities import DeviceSpec, Health, Instant, LogicalGPU, State
from ...core.model.lifecycle import LeaseState
from ...errors import Conflict, HostFault, InternalError, LimitReached, NotFound, StoreFault
from ..devices.driver import DeviceProcess, Driver, PartitionMode
from ..effects.executor import NO_ANSWER, EffectExecutor
from ..host import machine
from ..supervisor import Supervisor
from .processes import Read

Say = Callable[[c.Command], Awaitable[object]]


class Inventory:
    """The devices of one driver. ``say`` takes a command, ``report`` takes it however long the disk does not.

    ``changed`` is called when there is another :attr:`message`.
    """

    def __init__(
        self,
        driver: Driver,
        executor: EffectExecutor,
        supervisor: Supervisor,
        *,
        read: Read,
        say: Say,
        report: Say,
        changed: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._executor = executor
        self._supervisor = supervisor
        self._read = read
        self._say = say
        self._report = report
        self._changed = changed
        #: What the driver says where there are no devices, or not all.
        self.message: str | None = None

    async def refresh_once(self) -> None:
        """Look, whatever comes of it."""
        await self._supervisor.attempt("devices", self.refresh_if_responsive)

    async def refresh_if_responsive(self) -> None:
        """Look; where somebody does not answer now, another look will do."""
        # A bug of the rules was said already, and stops grants.
        with suppress(HostFault, StoreFault, LimitReached, InternalError):
            await self.refresh()

    async def refresh(self) -> None:
        """Take over which devices there are now. Where the driver does not say, all stay what they were."""
        specs, message = await self._executor.call_driver(self._driver.inventory)
        if message != self.message:
            self.message = message
            self._changed()
        if {spec.id: spec for spec in specs} != await self._read(specs_of):
            await self._say(c.SetDevices(tuple(specs), (machine.spec(),)))
        for device_id in await self._read(_distrusted):  # it answers: let it say how each of them is
            health, reason = await self._executor.call_driver(self._driver.health, device_id)
            with suppress(NotFound):
                await self._report(c.SetHealth(device_id, health, reason))
        for lease_id, gpu in await self._read(_losable):
            why = await self._executor.call_driver(self._driver.lost, gpu)
            if why is not None:
                await self._say(c.LogicalGPULost(lease_id, gpu.generation, why))

    async def refresh_responsiveness(self) -> None:
        """The driver has fallen silent, and nothing is granted on its devices; or it answers again."""
        if self._executor.unresponsive_message is None:
            await self.refresh_once()
            return
        for device_id in await self._read(specs_of):
            if self._executor.unresponsive_message is not None:
                await self._report(c.SetHealth(device_id, Health.SUSPECT, NO_ANSWER, stays=True))

    async def partition_mode(self, device_id: str) -> tuple[PartitionMode, list[DeviceProcess]]:
        """The mode in which the hardware divides a device, and who is on it."""
        mode = await self._executor.call_driver(self._driver.partition_mode, device_id)
        return mode, list(await self._executor.call_driver(self._driver.processes, device_id)) if mode.capable else []

    async def set_partition_mode(self, device_id: str, *, on: bool) -> None:
        """Switch that mode of a device on which no lease is, and to which none comes meanwhile."""
        mode, processes = await self.partition_mode(device_id)
        if mode.on == mode.pending == on:
            return
        drained = await self._read(lambda state, _: find_device(state, device_id).drained)
        await self._say(c.DrainDevice(device_id, drained=True))
        try:
            held = await self._read(lambda state, _: len(state.devices[device_id].lease_ids))
            if held:
                raise Conflict(f"{held} leases are on this device. Nothing was changed; release them first.")
            if processes:
                pids = ", ".join(str(process.pid) for process in processes)
                raise Conflict(f"Processes are on this device: {pids}. Nothing was changed; end them first.")
            await self._executor.call_driver(self._driver.set_partition_mode, device_id, on)
            await self.refresh_once()
        finally:
            with suppress(NotFound):
                await self._say(c.DrainDevice(device_id, drained=drained))


def specs_of(state: State, _: Instant) -> dict[str, DeviceSpec]:
    """The devices that are there, by id."""
    return {device.spec.id: device.spec for device in state.devices.values() if device.present}


def _distrusted(state: State, _: Instant) -> list[str]:
    return [device.spec.id for device in state.devices.values() if device.health_reason == NO_ANSWER]


def _losable(state: State, _: Instant) -> list[tuple[str, LogicalGPU]]:
    """What a driver made for leases, that somebody can take away while its device is there."""
    held = ((one.id, one.logical_gpu) for one in state.leases.values() if one.state is LeaseState.ACTIVE)
    made = ((lease_id, gpu) for lease_id, gpu in held if gpu is not None)
    return [(lease_id, gpu) for lease_id, gpu in made if gpu.partition is not None or gpu.owner_uid is not None]
