"""What NVML says of the processes on a GPU, by calls that every release has, and of memory that none of them has."""

from __future__ import annotations

from typing import Any

import pynvml

from ....units import MIB
from .counter_calls import within

#: Below this it is not worth a call to find out which programs that only display have it.
DISPLAY_BYTES_MIN = 512 * MIB


def running_processes(nvml: Any, handle: Any, kind: str = "Compute") -> list[Any]:
    """Return the processes on a device in NVML's own structures. Raises NVML's errors.

    A driver before R510 lacks the newest form of the call; then the bindings raise an error that is not one of NVML's.
    """
    name = f"nvmlDeviceGet{kind}RunningProcesses"
    try:
        return list(getattr(nvml, name)(handle))
    except (pynvml.NVMLLibraryMismatchError, nvml.NVMLError_FunctionNotFound):
        return list(getattr(nvml, f"{name}_v2")(handle))


def used_bytes(nvml: Any, handle: Any) -> int | None:
    """Return the memory in use on a device without what the driver keeps for itself, where it tells them apart.

    ``None`` where it does not report memory.
    """
    for version in (getattr(nvml, "nvmlMemory_v2", None), None):
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(*(handle,) if version is None else (handle, version))
        except (nvml.NVMLError, AttributeError):
            continue
        return within(memory.used, memory.total)
    return None


def unowned_bytes(nvml: Any, handle: Any, listed: list[Any]) -> int | None:
    """Return the memory in use on a device that none of the listed processes has; ``None`` where that is not known."""
    used = used_bytes(nvml, handle)
    if used is None:
        return None
    amounts = {one.pid: within(one.usedGpuMemory, used + DISPLAY_BYTES_MIN) for one in listed}
    if None in amounts.values():
        return None
    left = used - sum(filter(None, amounts.values()))
    if left >= DISPLAY_BYTES_MIN:
        left -= _displaying_bytes(nvml, handle, set(amounts))
    return max(0, left)


def _displaying_bytes(nvml: Any, handle: Any, known: set[int]) -> int:
    """Return the memory of processes that display and do not compute."""
    try:
        displaying = running_processes(nvml, handle, "Graphics")
    except (nvml.NVMLError, AttributeError):
        return 0
    return sum(within(one.usedGpuMemory, 2**62) or 0 for one in displaying if one.pid not in known)
