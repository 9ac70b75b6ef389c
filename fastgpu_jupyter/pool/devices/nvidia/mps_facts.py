"""What NVML says of MPS: whether a GPU can serve by it, and which processes run by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from ..mechanisms.mps import MpsFacts

T = TypeVar("T")


def mps_facts(handle: Any) -> MpsFacts:
    """What decides whether a GPU can serve by MPS."""
    capability = _try(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return MpsFacts(
        capability=None if capability is None else (capability[0], capability[1]),
        compute_mode=_try(lambda: pynvml.nvmlDeviceGetComputeMode(handle)),
        cuda=_try(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        lists=_try(lambda: pynvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)) is not None,
    )


def _try(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (pynvml.NVMLError, AttributeError):  # the driver, or its bindings, are too old to say
        return None
