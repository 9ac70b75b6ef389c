"""Findings about parking: the first need that is not met, or how parked memory comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .....errors import Message
from ....host.machine import default_parked_bytes
from ...diagnosis import DoctorFinding, FindingState, HostFacts, command
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
    moves = facts.since(MOVE_FROM)
    where = Message.of("doctor.to_model") if moves else Message.of("doctor.to_same_gpu")
    limit = _within_host_memory(host, facts)
    if limit is None:
        yield _finding(Message.of("doctor.parkable", where=where), state=FindingState.OK)
    else:
        yield _finding(Message.of("doctor.parkable_within", where=where, limit=limit), state=FindingState.OK)


def _finding(detail: Message, remedy: Message | None = None, state: FindingState = FindingState.OFF) -> DoctorFinding:
    return DoctorFinding(Message.of("doctor.parking"), state, detail, remedy)


def _within_host_memory(host: HostFacts, facts: NvidiaFacts) -> Message | None:
    """Return how much memory a parked lease may have, where that is less than a GPU has; otherwise None."""
    most_bytes = default_parked_bytes(host.memory_bytes)
    largest_bytes = max((gpu.memory_bytes or 0 for gpu in facts.working() if not gpu.divided), default=0)
    if not host.memory_bytes or largest_bytes <= most_bytes:
        return None
    return Message.of("doctor.host_memory", largest_bytes=largest_bytes, most_bytes=most_bytes)


def why_not_parkable(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    """The first need of parking that is not met, or ``None``."""
    return next((finding for rule in _PARKING if (finding := rule(host, facts)) is not None), None)


def _needs_driver(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.since(PARK_FROM):
        return None
    return _finding(Message.of("doctor.parking_from", release=str(PARK_FROM), driver=facts.driver_name), _INSTALL_NEWER)


def _needs_whole_gpus(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if not all(gpu.divided for gpu in facts.working()):
        return None
    return _finding(Message.of("doctor.divided_not_parkable"))


def _needs_bindings(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.cuda_bindings is not None:
        return None
    return _finding(Message.of("doctor.no_bindings"), command(EXTRA))


def _needs_cuda(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    if facts.cuda_error is None:
        return None
    said = Message.of("doctor.bindings_fail", version=facts.cuda_bindings or "", reason=facts.cuda_error)
    return _finding(said, command(f"{EXTRA} --upgrade"), FindingState.BROKEN)


def _needs_its_own_kind(host: HostFacts, facts: NvidiaFacts) -> DoctorFinding | None:
    """Before R580 memory comes back to the same GPU only, and the pool does not promise which one is free then."""
    names = [gpu.name for gpu in facts.working()]
    if facts.since(MOVE_FROM) or len(names) == len(set(names)):
        return None
    return _finding(Message.of("doctor.parking_of_model", release=str(MOVE_FROM)), _INSTALL_NEWER)


_INSTALL_NEWER = Message.of("doctor.install_release", release=str(MOVE_FROM), page=DRIVER_PAGE)
_PARKING: tuple[Callable[[HostFacts, NvidiaFacts], DoctorFinding | None], ...] = (
    _needs_driver, _needs_whole_gpus, _needs_bindings, _needs_cuda, _needs_its_own_kind,
)  # fmt: skip
