"""``jupyter fastgpu``: the command line for people and scripts.

``pool`` runs the pool manager; ``fsck``, ``probe`` and ``doctor`` examine this machine without a pool; every other
command is a client of a pool.
"""

from __future__ import annotations

import os
import sys

from .. import __version__
from ..messages import language
from ..messages.help import CommandApp
from ..pool.app import FastGPUPool
from .accounts import BudgetApp, QuotaApp, RatesApp, ReserveApp, StatementApp
from .advice import AdviseApp
from .devices import DevicesApp, DrainApp, MigApp, ProbeApp
from .doctor import DoctorApp
from .fsck import FsckApp
from .leases import (
    MigrateApp,
    ParkApp,
    PinApp,
    QueueApp,
    ReleaseApp,
    ResizeApp,
    ResumeApp,
    SnoozeApp,
    StatusApp,
    UnpinApp,
)
from .output import can_show, run
from .sizes import SizesApp


class FastGPUApp(CommandApp):
    """The command whose subcommands do the work."""

    name = "jupyter-fastgpu"
    version = __version__
    description = "Lease logical GPUs to notebooks."
    subcommands = {
        "pool": (FastGPUPool, "Run the pool manager."),
        "status": (StatusApp, StatusApp.description),
        "release": (ReleaseApp, ReleaseApp.description),
        # By name: importing it loads jupyter_client, which the pool manager does not need.
        "kernelspec": ("fastgpu_jupyter.cli.kernelspec.KernelSpecApp", "Install kernelspecs that lease a GPU."),
        "queue": (QueueApp, QueueApp.description),
        "quota": (QuotaApp, QuotaApp.description),
        "budget": (BudgetApp, BudgetApp.description),
        "reserve": (ReserveApp, ReserveApp.description),
        "migrate": (MigrateApp, MigrateApp.description),
        "park": (ParkApp, ParkApp.description),
        "pin": (PinApp, PinApp.description),
        "unpin": (UnpinApp, UnpinApp.description),
        "advise": (AdviseApp, AdviseApp.description),
        "snooze": (SnoozeApp, SnoozeApp.description),
        "resume": (ResumeApp, ResumeApp.description),
        "rates": (RatesApp, RatesApp.description),
        # By name: the other commands do not need it.
        "run": ("fastgpu_jupyter.cli.run.RunApp", "Run a command on a leased GPU."),
        "resize": (ResizeApp, ResizeApp.description),
        "sizes": (SizesApp, SizesApp.description),
        "statement": (StatementApp, StatementApp.description),
        # By name: it loads jupyter_client when it ends a kernel, and the records of kernels.
        "kernels": ("fastgpu_jupyter.cli.kernels.KernelsApp", "List kernels without a server, and end or attach one."),
        "devices": (DevicesApp, DevicesApp.description),
        "drain": (DrainApp, DrainApp.description),
        "mig": (MigApp, MigApp.description),
        # By name, like the kernelspecs: it is imported when it is used.
        "job": ("fastgpu_jupyter.cli.jobs.JobApp", "Run notebooks and commands as jobs, and look after jobs."),
        "fsck": (FsckApp, FsckApp.description),
        "probe": (ProbeApp, ProbeApp.description),
        "doctor": (DoctorApp, DoctorApp.description),
    }

    def start(self) -> None:
        """Run the subcommand; without one print the list and exit with 1."""
        if self.subapp is None:
            self.print_help()
            sys.exit(1)
        self.subapp.start()


def main() -> None:
    """Run ``jupyter-fastgpu``, as its entry point, in the language of the environment."""
    # A terminal that cannot show Chinese gets English.
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    language.use(language.preferred(os.environ) if can_show(encoding, "中") else language.ENGLISH)
    run(FastGPUApp.launch_instance)
