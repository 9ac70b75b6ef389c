"""The starts that a Jupyter server expects before the first of them: FastGPU's default kernelspec, and those of late.

A start is what it would be if a notebook were opened now, by the objects that start kernels. One that turns out to be
another one is a cold start, after which it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from . import recent_starts
from .provisioner import FastGPUProvisioner
from .start_match import Start
from .threads import in_thread

#: The kernelspec that the package installs.
DEFAULT = "fastgpu"


async def expected_starts(kernels: MultiKernelManager) -> list[Start]:
    """Return the starts that are expected, the most likely last."""
    recent = {one.kernelspec: one.hidden for one in await in_thread(recent_starts.read)}
    names = [name for name in dict.fromkeys([DEFAULT, kernels.default_kernel_name]) if name not in recent]
    found = [await _start(kernels, name, recent.get(name)) for name in [*names, *recent]]
    return [start for start in found if start is not None]


async def _start(kernels: MultiKernelManager, name: str, hidden: Mapping[str, str] | None) -> Start | None:
    """Return the start of a kernel of kernelspec ``name``; None if that is not there, or has no standby kernels."""
    manager: Any
    try:
        manager, _, kernel_id = kernels.pre_start_kernel(name, {})
        factory: Any = KernelProvisionerFactory.instance(parent=kernels)
        provisioner = factory.create_provisioner_instance(kernel_id, manager.kernel_spec, parent=manager)
        if not isinstance(provisioner, FastGPUProvisioner):
            return None
        return await provisioner.expected_start(hidden)
    except (NoSuchKernel, ModuleNotFoundError, ValueError, OSError):
        return None  # its own launch says what is wrong with it
