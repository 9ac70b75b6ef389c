"""Commands for devices: drain, MIG mode and probe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from traitlets import Bool

from .. import __version__
from ..errors import FastGPUError, InvalidRequest, Message
from ..messages import say, text_of
from ..messages.help import CommandApp
from ..pool.devices.registration import DriverNotInstalled
from ..pool.devices.selection import probe
from ..wire.client import PoolClient
from .command import ClientApp
from .leases import device_lines
from .output import write

PROBE_NO_DRIVER = 3
PROBE_BROKEN = 4


class DrainApp(ClientApp):
    """The command that takes a device out of service or puts it back."""

    name = "jupyter-fastgpu-drain"
    description = (
        "Grant nothing new on the device that is named; its leases stay. --undo puts it back into service, also after "
        "a fault, where it is healthy again."
    )

    undo = Bool(False, help="Put the device back into service.").tag(config=True)
    flags = {**ClientApp.flags, "undo": ({"DrainApp": {"undo": True}}, "Put the device back into service.")}

    def run(self, client: PoolClient) -> None:
        """Drain each named device, or put it back into service."""
        if not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_device"))
        for device_id in self.extra_args:
            device = client.drain(device_id, drained=not self.undo)
            if self.undo:
                self.show(device, say("cli.in_service", device=device["id"]))
            else:
                self.show(device, say("cli.drained", device=device["id"], count=len(device["allocations"])))


class DevicesApp(ClientApp):
    """The command that lists the devices of the pool, gives missing ones up, and releases their driver."""

    name = "jupyter-fastgpu-devices"
    description = (
        "List the GPUs of the pool. `jupyter fastgpu devices forget DEVICE` says that a missing GPU is gone: its "
        "leases, which keep their place until then, end. Before a GPU is reset or its driver loaded again, `jupyter "
        "fastgpu devices release` makes the pool release the driver, and `devices use` makes it use it again: leases "
        "keep their places meanwhile, unbilled."
    )

    def run(self, client: PoolClient) -> None:
        """List all devices, after giving up those that are to be forgotten."""
        verb, *device_ids = self.extra_args or [""]
        if (verb, bool(device_ids)) not in {("", False), ("forget", True), ("release", False), ("use", False)}:
            raise InvalidRequest(Message.of("cli.devices_usage"))
        if verb in ("release", "use"):
            client.use_driver(used=verb == "use")
        for device_id in device_ids:
            client.forget_device(device_id)
        devices = client.devices()
        self.show({"devices": devices}, *device_lines(devices))


class MigApp(ClientApp):
    """The command that shows or switches the MIG mode of a device."""

    name = "jupyter-fastgpu-mig"
    description = (
        "Show what MIG mode of a device is and what switching it would disturb: jupyter fastgpu mig DEVICE on|off. "
        "It is switched with --yes only, and never while anything is on the device."
    )

    yes = Bool(False, help="Switch the mode.").tag(config=True)
    flags = {**ClientApp.flags, "yes": ({"MigApp": {"yes": True}}, "Switch the mode.")}

    def run(self, client: PoolClient) -> None:
        """Print what switching would disturb; switch with ``--yes``."""
        if len(self.extra_args) != 2 or self.extra_args[1] not in ("on", "off"):
            raise InvalidRequest(Message.of("cli.name_device_and_mode"))
        device_id, wanted = self.extra_args
        view = client.set_partition_mode(device_id, on=wanted == "on") if self.yes else client.partition_mode(device_id)
        self.show(view, *_mig_mode_lines(view, wanted, done=self.yes))


class ProbeApp(CommandApp):
    """The command that tells by its exit status whether GPUs answer on this machine."""

    name = "jupyter-fastgpu-probe"
    version = __version__
    description = "Exit 0 where GPUs answer, 3 where there is no driver, 4 where one does not work."

    def start(self) -> None:
        """Ask the drivers of this machine, without a pool."""
        super().start()
        try:
            specs, message = probe()
        except DriverNotInstalled as error:
            write(text_of(error))
            sys.exit(PROBE_NO_DRIVER)
        except FastGPUError as error:
            write(text_of(error))
            sys.exit(PROBE_BROKEN)
        write(", ".join(spec.model for spec in specs) if specs else message or "")
        sys.exit(0 if specs else PROBE_BROKEN)


def _mig_mode_lines(view: Any, wanted: str, *, done: bool) -> Iterator[str]:
    device = view["device_id"]
    if not view["capable"]:
        yield say("mig_mode.incapable", device=device)
        return
    now = "on" if view["on"] else "off"
    yield say("mig_mode.is", device=device, mode=_mode(now))
    if view["pending"] != view["on"]:
        pending = _mode("on" if view["pending"] else "off")
        yield say("mig_mode.becomes", mode=pending, command=view["reset_command"])
    if done or now == wanted:
        return
    yield say("mig_mode.to_switch", mode=_mode(wanted))
    none = say("mig_mode.none")
    processes = view["processes"]
    yield from (
        f"  {text}"
        for text in (
            say("mig_mode.leases", leases=", ".join(view["leases"]) or none),
            say("mig_mode.processes_unknown")
            if processes is None
            else say("mig_mode.processes", processes=", ".join(map(str, processes)) or none),
            say("mig_mode.needs_reset") if view["needs_reset"] else say("mig_mode.no_reset"),
            say("mig_mode.survives") if view["survives_restart"] else say("mig_mode.does_not_survive"),
        )
    )
    yield say("mig_mode.unchanged")


def _mode(mode: str) -> Message:
    return Message.of("mig_mode.on") if mode == "on" else Message.of("mig_mode.off")
