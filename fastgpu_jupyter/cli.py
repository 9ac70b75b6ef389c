"""``jupyter fastgpu …``: the command line for people and scripts.

``pool`` runs the pool manager; everything else talks to one over its socket like any other client.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from jupyter_core.application import JupyterApp, base_aliases
from traitlets import Bool

from . import __version__
from .errors import FastGPUError, PoolUnreachable
from .kernelspec import KernelSpecApp
from .pool.app import FastGPUPool
from .pool.devices.nvml import NoDriver, NvmlDriver
from .units import format_duration, format_memory, format_money
from .wire.client import PoolClient
from .wire.locate import pool_socket
from .wire.views import StatusView

PROBE_NO_DRIVER = 3
PROBE_BROKEN = 4


class _ClientApp(JupyterApp):
    """A command that talks to the pool and ends with one clear line where it cannot."""

    version = __version__
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    aliases = dict(base_aliases)
    flags = {"json": ({"_ClientApp": {"as_json": True}}, "Print JSON for programs.")}

    def start(self) -> None:
        super().start()
        try:
            self.run(PoolClient(pool_socket()))
        except FastGPUError as error:
            print(f"jupyter fastgpu: {error}", file=sys.stderr)
            sys.exit(2 if isinstance(error, PoolUnreachable) else 1)

    def run(self, client: PoolClient) -> None:
        """Do the command."""
        raise NotImplementedError


class StatusApp(_ClientApp):
    """Show devices, leases and the queue."""

    name = "jupyter-fastgpu-status"
    description = "Show the pool's devices, your leases and the queue."

    def run(self, client: PoolClient) -> None:
        """Print the status as a table or as one JSON object."""
        status = client.status()
        print(json.dumps(status, indent=2) if self.as_json else "\n".join(_tables(status)))


class ReleaseApp(_ClientApp):
    """Give a lease back."""

    name = "jupyter-fastgpu-release"
    description = "Give back the lease with the given id; its kernel and its variables stay."

    def run(self, client: PoolClient) -> None:
        """Release each lease that is named."""
        if not self.extra_args:
            print("jupyter fastgpu release: name a lease; `jupyter fastgpu status` lists them.", file=sys.stderr)
            sys.exit(1)
        for lease_id in self.extra_args:
            lease = client.release(lease_id)
            cost = format_money(lease["cost_micro"], lease["currency"])
            print(
                json.dumps(lease)
                if self.as_json
                else f"Released {lease['id']} ({lease['state']}) after {format_duration(lease['active_ms'])}, {cost}."
            )


class ProbeApp(JupyterApp):
    """Say in one line and by exit status whether GPUs answer on this machine."""

    name = "jupyter-fastgpu-probe"
    version = __version__
    description = "Exit 0 where NVIDIA GPUs answer, 3 where there is no driver, 4 where one does not work."

    def start(self) -> None:
        """Ask NVML, and nothing else."""
        super().start()
        try:
            driver = NvmlDriver({})
            specs, message = driver.inventory()
            driver.close()
        except NoDriver as error:
            print(error)
            sys.exit(PROBE_NO_DRIVER)
        except FastGPUError as error:
            print(error)
            sys.exit(PROBE_BROKEN)
        print(", ".join(spec.model for spec in specs) if specs else message)
        sys.exit(0 if specs else PROBE_BROKEN)


class FastGPUApp(JupyterApp):
    """The command that has the others below it."""

    name = "jupyter-fastgpu"
    version = __version__
    description = "Lease logical GPUs to notebooks."
    subcommands = {
        "pool": (FastGPUPool, "Run the pool manager."),
        "status": (StatusApp, StatusApp.description),
        "release": (ReleaseApp, ReleaseApp.description),
        "kernelspec": (KernelSpecApp, KernelSpecApp.description),
        "probe": (ProbeApp, ProbeApp.description),
    }

    def start(self) -> None:
        """Run the subcommand, or say which there are."""
        if self.subapp is None:
            self.print_help()
            sys.exit(1)
        self.subapp.start()


def _tables(status: StatusView) -> list[str]:
    pool = status["pool"]
    lines = [f"FastGPU pool {pool['version']} ({pool['scope']}{', simulated' if pool['simulated'] else ''})"]
    if pool["message"]:
        lines.append(pool["message"])
    lines += ["", *_table(("DEVICE", "MODEL", "FREE", "OF", "USE", "HEALTH"), map(_device_row, status["devices"]))]
    lines += ["", *_table(("LEASE", "STATE", "PROFILE", "DEVICE", "NOTEBOOK", "ACTIVE", "COST"),
                          map(_lease_row, status["leases"]))]  # fmt: skip
    lines += ["", *_table(("PLACE", "LEASE", "PROFILE", "REASON"), map(_queue_row, status["queue"]))]
    return lines


def _device_row(device: Any) -> tuple[str, ...]:
    name = device["model"] + (" (simulated)" if device["simulated"] else "")
    use = "-" if device["utilization_percent"] is None else f"{device['utilization_percent']} %"
    free, total = format_memory(device["memory_free_bytes"]), format_memory(device["memory_bytes"])
    return device["id"], name, free, total, use, device["health"]


def _lease_row(lease: Any) -> tuple[str, ...]:
    cost = format_money(lease["cost_micro"], lease["currency"])
    active = format_duration(lease["active_ms"])
    reason = f" ({lease['end_reason']})" if lease["end_reason"] else ""
    return (
        lease["id"],
        lease["state"] + reason,
        lease["profile"],
        lease["device_id"] or "-",
        lease["notebook"] or "-",
        active,
        cost,
    )


def _queue_row(ticket: Any) -> tuple[str, ...]:
    return str(ticket["place"]), ticket["lease_id"] or "(somebody else's)", ticket["profile"], ticket["detail"]


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    table = [head, *rows]
    if len(table) == 1:
        return [f"{head[0].capitalize()}s: none."] if head[0] != "PLACE" else ["Nobody waits."]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def main() -> None:
    """Entry point of ``jupyter-fastgpu``."""
    FastGPUApp.launch_instance()
