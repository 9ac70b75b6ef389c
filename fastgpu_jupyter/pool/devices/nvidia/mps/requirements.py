"""What a GPU and its driver need to serve leases by MPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import pynvml

from .....errors import Message

T = TypeVar("T")
#: Volta, from which on each process has an address space of its own.
CAPABILITY_FROM = (7, 0)
#: CUDA with memory limits for MPS (R495).
CUDA_FROM = 11050
#: Compute mode in which processes of several programs may use the GPU; else a second user's daemon could not.
SHARED_MODE = 0


class MpsFacts(NamedTuple):
    """What decides whether a GPU can serve by MPS; ``None`` where the driver does not report it."""

    capability: tuple[int, int] | None
    compute_mode: int | None
    cuda: int | None
    lists_processes: bool  #: whether the driver lists MPS clients: else it is unknown whose memory has been freed


class Obstacle(NamedTuple):
    """What a GPU lacks, as the end of a sentence, and the command that changes it."""

    reason: Message
    remedy: str | None = None


def read_mps_facts(handle: Any) -> MpsFacts:
    """Return what NVML reports about a GPU as far as MPS needs it."""
    capability = _if_known(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return MpsFacts(
        capability=None if capability is None else (capability[0], capability[1]),
        compute_mode=_if_known(lambda: pynvml.nvmlDeviceGetComputeMode(handle)),
        cuda=_if_known(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        lists_processes=_if_known(lambda: pynvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)) is not None,
    )


def find_obstacle(facts: MpsFacts, index: int) -> Obstacle | None:
    """Return what prevents the GPU with that index from serving by MPS, or ``None``."""
    if facts.capability is None or facts.capability < CAPABILITY_FROM:
        return Obstacle(Message.of("mps.too_old"))
    if facts.cuda is None or facts.cuda < CUDA_FROM or not facts.lists_processes:
        return Obstacle(Message.of("mps.no_limits"))
    if facts.compute_mode != SHARED_MODE:
        remedy = f"sudo nvidia-smi -i {index} -c DEFAULT"
        return Obstacle(Message.of("mps.exclusive_mode"), remedy)
    return None


def _if_known(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (pynvml.NVMLError, AttributeError):  # the driver, or its bindings, are too old to say
        return None
