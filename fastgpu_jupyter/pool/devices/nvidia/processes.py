"""The processes that have memory on a GPU, whether whole, divided by MIG or served by MPS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from ....errors import HostFault
from ..driver import DeviceGone, DeviceProcess
from . import session
from .mig import MigController
from .mps.mechanism import MpsMechanism


class ProcessLister:
    """Lists processes on the GPUs of one session. ``handle_of`` returns a GPU's handle."""

    def __init__(self, handle_of: Callable[[str], Any], mig: MigController, mps: MpsMechanism) -> None:
        self._handle_of = handle_of
        self._mig = mig
        self._mps = mps

    def usage_of(self, device_id: str) -> dict[int, int | None]:
        """Return the memory of each process on the GPU, by pid; ``None`` where it is unknown."""
        return {process.pid: process.memory_bytes for process in self.processes(device_id)}

    def processes(self, device_id: str) -> Sequence[DeviceProcess]:
        """Return the processes with a CUDA context on the GPU, each once."""
        found: Sequence[Any]
        try:
            handle = self._handle_of(device_id)
            if session.in_mig_mode(handle):
                found = self._mig.processes(device_id)
            else:
                found = session.ask(
                    "list the processes of its GPU", pynvml.nvmlDeviceGetComputeRunningProcesses, handle
                )
                if self._mps.serves(device_id):
                    call = pynvml.nvmlDeviceGetMPSComputeRunningProcesses
                    return self._with_mps(found, session.ask("list the MPS processes of its GPU", call, handle))
        except HostFault as error:
            if session.is_known(device_id):  # one that is lost may come back, with what was on it
                raise
            raise DeviceGone(f"This machine has no GPU {device_id} any more.") from error
        used: dict[int, int | None] = {}
        for one in found:
            more, before = session.plausible_bytes(one.usedGpuMemory), used.get(one.pid, 0)
            used[one.pid] = None if more is None or before is None else before + more
        return [DeviceProcess(pid, memory_bytes) for pid, memory_bytes in used.items()]

    def _with_mps(self, found: Sequence[Any], by_mps: Sequence[Any]) -> list[DeviceProcess]:
        """Return the processes with the MPS clients, which some drivers list twice, and without the servers."""
        used = {one.pid: session.plausible_bytes(one.usedGpuMemory) for one in [*found, *by_mps]}
        return [DeviceProcess(pid, memory_bytes) for pid, memory_bytes in used.items() if not self._mps.is_server(pid)]
