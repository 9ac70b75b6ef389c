"""How NVML answers on platforms where processes cannot be seen, or memory cannot be read, as one table.

Sources: NVIDIA/nvidia-docker#1483 (a container's own PID namespace), NVIDIA's list of what NVML lacks under WSL2,
XuehaiPan/nvitop#208 (GB10), NVIDIA/nvidia-container-toolkit#842 and NVIDIA/k8s-dra-driver-gpu#1073 (a MIG instance in
a container).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.nvml.machine import FakeMachine

NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND = 3, 4, 13
_MEMORY = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2")
_LIST = "nvmlDeviceGetComputeRunningProcesses_v3"


@dataclass(frozen=True)
class Platform:
    """What is different there, and what a driver makes of a process with memory on a GPU."""

    answers: Mapping[str, int] = field(default_factory=dict)  #: the error of each call that fails
    lists_none: bool = False  #: lists of processes are empty, also where there are some
    own_namespace: bool = False  #: the pool manager has process numbers of its own
    leased: bool = True  #: whether the GPU is leased there
    listed: bool = True  #: whether its processes are listed
    parkable: bool = True
    knows_memory: bool = True  #: whether it is known how much memory is in use

    def play(self, machine: FakeMachine) -> None:
        """Let a machine answer so from now on."""
        for function, error in self.answers.items():
            machine.fail(function, error)
        if self.lists_none:
            machine.hide_processes()


PLATFORMS = {
    "bare metal": Platform(),
    "container with its own PID namespace": Platform(own_namespace=True, listed=False),
    "WSL2": Platform(lists_none=True),
    "driver that lists no processes": Platform({_LIST: NOT_SUPPORTED}, listed=False),
    "process list without permission": Platform({_LIST: NO_PERMISSION}, listed=False),
    "driver before R510": Platform({_LIST: FUNCTION_NOT_FOUND}),
    "driver before R510, and without its list": Platform(
        {_LIST: FUNCTION_NOT_FOUND, "nvmlDeviceGetComputeRunningProcesses_v2": FUNCTION_NOT_FOUND}, listed=False
    ),
    "GB10": Platform(dict.fromkeys(_MEMORY, NOT_SUPPORTED), parkable=False, knows_memory=False),
    "MIG instance in a container": Platform(
        dict.fromkeys((*_MEMORY, _LIST), NO_PERMISSION), leased=False, listed=False, knows_memory=False
    ),
}
