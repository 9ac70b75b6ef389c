"""The processes on a GPU, whether whole, divided by MIG or served by MPS, or why they are not known."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pynvml

from ....core.model.entities import LogicalGPU
from ....errors import HostFault, Message
from ...host import pid_namespace
from ..driver import DeviceGone, DeviceProcess, ListedProcesses, ProcessList, UnlistedProcesses
from . import session
from .mig import MigController
from .mps.mechanism import MpsMechanism
from .process_calls import running_processes, unowned_bytes, used_bytes

log = logging.getLogger("fastgpu.pool")
#: NVML lists processes by the numbers that they have on the machine. In a container the same numbers are others'.
OTHER_NUMBERS = Message.of("processes.other_namespace")
#: On some platforms (WSL2, a MIG instance inside a container) NVML lists no processes, or refuses to.
NOT_LISTED = Message.of("processes.not_listed")
_CUDA, _NVML, _DEVICE_FILE = b"libcuda.so", b"libnvidia-ml.so", "/dev/nvidia"


class ProcessLister:
    """Lists processes on the GPUs of one session. ``handle_of`` returns a GPU's handle."""

    def __init__(self, handle_of: Callable[[str], Any], mig: MigController, mps: MpsMechanism) -> None:
        self._handle_of = handle_of
        self._mig = mig
        self._mps = mps
        self.sees_the_machine = pid_namespace.is_first() is True

    def processes(self, device_id: str) -> ProcessList:
        """Return the processes with a CUDA context on the GPU, each once, or why they cannot be listed."""
        try:
            handle = self._handle_of(device_id)
            divided = session.in_mig_mode(handle)
            try:
                parts = self._mig.devices(device_id) if divided else [handle]
                found = [(part, self._on_device(device_id, part)) for part in parts]
            except session.Unanswerable as error:
                log.debug("Processes on %s: %s", device_id, error)
                return UnlistedProcesses(NOT_LISTED, used_bytes(pynvml, handle))
        except HostFault as error:
            if session.is_known(device_id):  # one that is lost may come back, with what was on it
                raise
            raise DeviceGone(f"This machine has no GPU {device_id} any more.") from error
        if not self.sees_the_machine:
            return UnlistedProcesses(OTHER_NUMBERS, used_bytes(pynvml, handle))
        left = [unowned_bytes(pynvml, part, listed) for part, listed in found]
        own = [one for _, listed in found for one in listed if not self._mps.is_server(one.pid)]
        return ListedProcesses(tuple(self._merged(device_id, own)), None if None in left else sum(filter(None, left)))

    def _on_device(self, device_id: str, handle: Any) -> list[Any]:
        """Return the processes on a GPU or on a MIG device, as NVML lists them."""
        found = list(session.ask("list the processes of its GPU", running_processes, pynvml, handle))
        if self._mps.serves(device_id):
            found += session.ask("list the MPS processes of its GPU", running_processes, pynvml, handle, "MPSCompute")
        return found

    def _merged(self, device_id: str, found: Sequence[Any]) -> list[DeviceProcess]:
        """Return each process once: MPS clients may be listed twice, and a process may have several instances."""
        twice = self._mps.serves(device_id)
        used: dict[int, int | None] = {}
        for one in found:
            more, before = session.plausible_bytes(one.usedGpuMemory), used.get(one.pid, 0)
            used[one.pid] = more if twice or more is None or before is None else before + more
        return [DeviceProcess(pid, memory_bytes) for pid, memory_bytes in used.items()]

    def used_bytes(self, gpu: LogicalGPU) -> int | None:
        """Return the memory in use on a MIG device."""
        handle = session.ask("find the MIG device", pynvml.nvmlDeviceGetHandleByUUID, gpu.driver_handle)
        return used_bytes(pynvml, handle)


def may_have_memory(pid: int) -> bool:
    """Return whether a process has CUDA's library, or the file of a GPU open for another purpose than to watch it.

    True where that may not be read.
    """
    folder = Path(f"/proc/{pid}")
    try:
        libraries = (folder / "maps").read_bytes()
        if _CUDA in libraries:
            return True
        return _NVML not in libraries and any(_is_device_file(name) for name in _open_files(folder))
    except PermissionError:
        return True
    except OSError:
        return False  # it has ended


def _open_files(folder: Path) -> list[str]:
    names = []
    for number in os.listdir(folder / "fd"):  # noqa: PTH208 (names, not paths)
        try:
            names.append(os.readlink(folder / "fd" / number))  # noqa: PTH115 (a pipe is no path)
        except FileNotFoundError:
            continue  # it was closed meanwhile
    return names


def _is_device_file(name: str) -> bool:
    return name.startswith(_DEVICE_FILE) and name.removeprefix(_DEVICE_FILE).isdigit()
