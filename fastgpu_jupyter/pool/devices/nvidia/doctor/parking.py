"""Findings about parking: the first need that is not met, or how parked memory comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .....units import format_memory
from ....host.machine import default_parked_bytes
from ...diagnosis import DoctorFinding, FindingState, HostFacts
from ..checkpoint_process import EXTRA
from ..cuda_checkpoint import MOVE_FROM, PARK_FROM
from .basics import DRIVER_PAGE
from .facts import NvidiaFacts


def parking(host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
    """Yield the first need of parking that is not met, or where parked memory comes back to."""
    missing = why_not_parkable(host, facts)
    if missing is not None:
        yield missing
        return
    where = "the same GPU or another of its model" if facts.since(MOVE_FROM) else "the same GPU"
    said = f"idle leases can be parked, and come back to {where}"
    yield DoctorFinding("parking", FindingState.OK, said + _within_host_memory(host, facts))


def _within_host_memory(host: HostFacts, facts: NvidiaFacts) -> str:
    """Return how much memory a parked lease may have, where that is less than a GPU has; otherwise an empty text."""
    most_bytes = default_parked_bytes(host.memory_bytes)
    largest_bytes = max((gpu.memory_bytes or 0 for gpu in facts.working() if not gpu.divided), default=0)
    if not host.memory_bytes or largest_bytes <= most_bytes:
        return ""
    return (
        f"; a GPU has {format_memory(largest_bytes)}, and all parked leases together may take "
        f"{format_memory(most_bytes)} of host memory unless Parking.host_memory says otherwise, so one that uses more "
        "keeps its GPU"
    )


def why_not_parkable(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    """The first need of parking that is not met, or ``None``."""
    return next((finding for rule in _PARKING if (finding := rule(host, facts)) is not None), None)


def _needs_driver(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.since(PARK_FROM):
        return None
    said = f"needs a driver of R{PARK_FROM} or newer, this is {facts.driver_name}"
    return DoctorFinding("parking", FindingState.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


def _needs_whole_gpus(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if not all(gpu.divided for gpu in facts.working()):
        return None
    return DoctorFinding("parking", FindingState.OFF, "what is divided by MIG cannot be parked")


def _needs_bindings(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.cuda_bindings is not None:
        return None
    return DoctorFinding("parking", FindingState.OFF, "needs NVIDIA's Python package cuda-bindings", EXTRA)


def _needs_cuda(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.cuda_error is None:
        return None
    said = f"cuda-bindings {facts.cuda_bindings} cannot use the driver: {facts.cuda_error}"
    return DoctorFinding("parking", FindingState.BROKEN, said, f"{EXTRA} --upgrade")


def _needs_its_own_kind(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    """Before R580 memory comes back to the same GPU only, and the pool does not promise which one is free then."""
    names = [gpu.name for gpu in facts.working()]
    if facts.since(MOVE_FROM) or len(names) == len(set(names)):
        return None
    said = f"with several GPUs of a model it needs R{MOVE_FROM}, which brings memory back to any of them"
    return DoctorFinding("parking", FindingState.OFF, said, f"install R{MOVE_FROM} or newer: {DRIVER_PAGE}")


_PARKING: tuple[Callable[[HostFacts, NvidiaFacts], DoctorFinding | None], ...] = (
    _needs_driver, _needs_whole_gpus, _needs_bindings, _needs_cuda, _needs_its_own_kind,
)  # fmt: skip
