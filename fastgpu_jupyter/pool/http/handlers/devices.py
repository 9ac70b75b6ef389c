"""Handlers of devices and of their MIG mode."""

from __future__ import annotations

import logging

from ....core.model import commands as c
from ....core.model.entities import Instant, State
from ....core.placement.inventory import find_device
from ....errors import Conflict, Message
from ....wire.schemas import DeviceList, DeviceView, HistoryView, PartitionModeView
from ...devices.driver import ListedProcesses, ProcessList
from .. import request_parsing
from ..call import HttpCall
from .base import HandlerContext, HandlerTable
from .found import found
from .history import window_of

log = logging.getLogger("fastgpu.pool")


class DeviceHandlers:
    """Handlers of the operations on devices."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._backend, self._reader = context.backend, context.reader

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "GET /v1/devices": self.list_devices,
            "PUT /v1/devices/{device_id}": self.drain,
            "DELETE /v1/devices/{device_id}": self.forget,
            "PUT /v1/driver": self.set_driver,
            "GET /v1/devices/{device_id}/history": self.history,
            "GET /v1/devices/{device_id}/mig": self.partition_mode,
            "PUT /v1/devices/{device_id}/mig": self.set_partition_mode,
        }

    async def list_devices(self, call: HttpCall) -> DeviceList:
        """Return all devices of the pool."""
        return {"devices": await self._reader.devices(call.caller)}

    async def history(self, call: HttpCall) -> HistoryView:
        """Return the usage of a device, for every caller, as its utilization is."""
        resolution, since = window_of(call)
        device_id = call.path["device_id"]

        def read(state: State, at: Instant) -> HistoryView:
            find_device(state, device_id)
            return self._backend.telemetry.history.device(device_id, resolution, since, at)

        return await self._backend.state.read(read)

    async def drain(self, call: HttpCall) -> DeviceView:
        """Drain a device, or return it to service if it is healthy."""
        device_id = call.path["device_id"]
        command = c.DrainDevice(device_id, request_parsing.yes_or_no(call.body, "drained"))
        if not command.drained:
            await self._backend.health.restore(device_id)
        await self._backend.commands.submit(command, call.key)
        devices = await self._reader.devices(call.caller)
        return found(devices, lambda view: view["id"] == device_id, device_id)

    async def forget(self, call: HttpCall) -> DeviceList:
        """Give a missing device up, so that its leases end, and return the devices that are left."""
        device_id = call.path["device_id"]
        await self._backend.commands.submit(c.ForgetDevice(device_id), call.key)
        log.warning("%s gave the missing device %s up.", self._context.names.name_of(call.caller.tenant), device_id)
        return await self.list_devices(call)

    async def set_driver(self, call: HttpCall) -> DeviceList:
        """Release the driver or use it again, and return the devices."""
        used = request_parsing.yes_or_no(call.body, "used")
        await (self._backend.inventory.use_driver() if used else self._backend.inventory.release_driver())
        return await self.list_devices(call)

    async def partition_mode(self, call: HttpCall) -> PartitionModeView:
        """Return MIG mode of a device, and what a switch of it would disturb."""
        device_id = call.path["device_id"]
        leases = await self._backend.state.read(lambda state, _: _leases_on(state, device_id))
        mode, processes = await self._backend.inventory.partition_mode(device_id)
        return {
            "device_id": device_id,
            "capable": mode.capable,
            "on": mode.on,
            "pending": mode.pending,
            "needs_reset": mode.needs_reset,
            "survives_restart": mode.survives_restart,
            "reset_command": mode.reset_command,
            "leases": leases,
            "processes": _pids(processes),
        }

    async def set_partition_mode(self, call: HttpCall) -> PartitionModeView:
        """Switch MIG mode of an unused device."""
        device_id = call.path["device_id"]
        on = request_parsing.yes_or_no(call.body, "on")
        mode = await self.partition_mode(call)
        if on and not mode["capable"]:
            raise Conflict(Message.of("device.no_partition_mode"))
        await self._backend.inventory.set_partition_mode(device_id, on=on)
        name = self._context.names.name_of(call.caller.tenant)
        log.warning("%s switched MIG mode of %s %s.", name, device_id, "on" if on else "off")
        return await self.partition_mode(call)


def _pids(processes: ProcessList) -> list[int] | None:
    return [process.pid for process in processes.processes] if isinstance(processes, ListedProcesses) else None


def _leases_on(state: State, device_id: str) -> list[str]:
    return list(find_device(state, device_id).lease_ids)
