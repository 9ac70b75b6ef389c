"""What NVML says about a machine, for the doctor. Changes nothing, and asks each thing only once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pynvml

from .. import session
from ..mps.requirements import find_obstacle, read_mps_facts
from ..process_calls import running_processes
from ..session import plausible_bytes
from .facts import GpuFacts, NvmlFacts

T = TypeVar("T")


def read() -> NvmlFacts:
    """All that NVML says; where it says nothing, why. May hang where the driver does."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return NvmlFacts(library=False, error="libnvidia-ml.so.1 was not found")
    except pynvml.NVMLError as error:
        return NvmlFacts(error=str(error))
    try:
        return _read()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
        return NvmlFacts(error=str(error), driver=_try(pynvml.nvmlSystemGetDriverVersion))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read() -> NvmlFacts:
    return NvmlFacts(
        driver=_try(pynvml.nvmlSystemGetDriverVersion),
        version=_try(pynvml.nvmlSystemGetNVMLVersion),
        cuda=_try(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        gpus=tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())),
    )


def _gpu(index: int) -> GpuFacts:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
        memory_bytes = plausible_bytes(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError as error:
        if not session.is_unanswerable(error):
            return GpuFacts(index, error=str(error))
        name, uuid = _try(lambda: pynvml.nvmlDeviceGetName(handle)), _try(lambda: pynvml.nvmlDeviceGetUUID(handle))
        memory_bytes = None
    mig = _try(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    persistent = _try(lambda: pynvml.nvmlDeviceGetPersistenceMode(handle))
    events = _try(lambda: pynvml.nvmlDeviceGetSupportedEventTypes(handle))
    return GpuFacts(
        index,
        name or "",
        uuid or "",
        mig=None if mig is None else (mig[0], mig[1]),
        persistent=None if persistent is None else bool(persistent),
        memory_limits=_knows_limits(handle),
        events=None if events is None else bool(events & pynvml.nvmlEventTypeXidCriticalError),
        gpm=bool(_try(lambda: pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)),
        memory_bytes=memory_bytes,
        mps=find_obstacle(read_mps_facts(handle), index),
        lists_processes=_try(lambda: running_processes(pynvml, handle)) is not None,
        shares_memory=session.shares_memory(handle),
    )


def _knows_limits(handle: Any) -> bool:
    """Whether this library, this driver and this GPU know limits of memory: whatever else they answer, they do."""
    if not hasattr(pynvml, "nvmlDeviceGetMemoryLimits_v1"):
        return False
    asked = pynvml.c_nvmlGetMemoryLimits_v1_t(nameSpace=b"/sys/fs/cgroup")
    try:
        pynvml.nvmlDeviceGetMemoryLimits_v1(handle, asked)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported):
        return False
    except pynvml.NVMLError:
        pass
    return True


def _try(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return None
