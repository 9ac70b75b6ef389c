"""Commands for devices: drain, MIG mode and probe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from jupyter_core.application import JupyterApp
from traitlets import Bool

from .. import __version__
from ..errors import FastGPUError, InvalidRequest, Message
from ..messages import say
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


class ProbeApp(JupyterApp):
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
            write(str(error))
            sys.exit(PROBE_NO_DRIVER)
        except FastGPUError as error:
            write(str(error))
            sys.exit(PROBE_BROKEN)
        write(", ".join(spec.model for spec in specs) if specs else message or "")
        sys.exit(0 if specs else PROBE_BROKEN)


def _mig_mode_lines(view: Any, wanted: str, *, done: bool) -> Iterator[str]:
    if not view["capable"]:
        yield f"{view['device_id']} does not support MIG."
        return
    now = "on" if view["on"] else "off"
    yield f"MIG mode of {view['device_id']} is {now}."
    if view["pending"] != view["on"]:
        yield f"It becomes {'on' if view['pending'] else 'off'} when the GPU is reset: {view['reset_command']}."
    if done or now == wanted:
        return
    yield f"To switch it {wanted}:"
    yield f"  leases that must be released first: {', '.join(view['leases']) or 'none'}"
    processes = view["processes"]
    listed = "not known: they cannot be listed here" if processes is None else ", ".join(map(str, processes)) or "none"
    yield f"  processes that must end first: {listed}"
    yield "  the GPU must be reset after" if view["needs_reset"] else "  no reset is needed"
    yield (
        "  it survives a restart"
        if view["survives_restart"]
        else "  it does not survive a restart of the machine or driver"
    )
    yield "Nothing was changed; repeat the command with --yes to switch."
