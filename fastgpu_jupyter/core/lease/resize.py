"""Another size for a lease: while it is active, while it waits, and while it is parked; and whether it holds already.

A size that nobody but libraries in the kernel keeps holds once those were told. The kernel tells them before its next
cell and says what came of it; a library that has begun cannot always follow, and keeps the earlier size until the
kernel is started anew. Of that a lease is not said to have what was only asked.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ...errors import Conflict, Message, NeedsRestart
from ..accounting import budgets
from ..model import commands as c
from ..model import events as e
from ..model.entities import Enforcement, Instant, Lease, LeaseRequest, LogicalGPU, ParkReason, State, requirements_of
from ..model.events import Event
from ..model.lifecycle import WITHOUT_CAPACITY, LeaseState
from ..model.size import Size
from ..placement import refusals
from . import memory_limit


class Outcome(StrEnum):
    """What came of the last change of size."""

    APPLIED = "applied"
    PENDING = "pending"  #: the kernel has not said yet whether its libraries follow
    NEEDS_RESTART = "needs_restart"  #: some of them keep the earlier size until the kernel is started anew


def resize_parked(state: State, lease: Lease, request: LeaseRequest, at: Instant) -> list[Event]:
    """Another size for a lease whose memory waits in the host's; one that was parked for too much of it is wanted back.

    Raises :class:`Conflict` where what is parked would not fit, and what :func:`.placement.require_possible` raises.
    """
    image, size = lease.image, request.size
    if lease.state not in WITHOUT_CAPACITY or image is None:
        raise Conflict(Message.of("resize.try_again", state=lease.state.value))
    if size == lease.request.size:
        return []
    if not size.matches(image.model, image.device_memory_bytes):
        raise Conflict(Message.of("resize.parked_on_other_model", size=str(size), model=image.model))
    if size.devices != max(1, len(image.device_ids)):
        raise NeedsRestart(Message.of("resize.parked_device_count"))
    refusals.require_satisfiable(state, requirements_of(request).on_kind(image.model, image.device_memory_bytes))
    _require_room(lease, size, image.device_memory_bytes)
    resized = e.LeaseResized(lease.id, request, None)
    # One that its user parked stays until it is wanted.
    computes = lease.busy or lease.park_reason is ParkReason.OVER_LIMIT
    wanted = lease.state is LeaseState.PARKED and computes and not budgets.is_spent(lease, at.ms)
    return [resized, e.LeaseResumeRequested(lease.id)] if wanted else [resized]


def _require_room(lease: Lease, size: Size, device_memory_bytes: int) -> None:
    needed = lease.parked_bytes
    if lease.park_reason is ParkReason.OVER_LIMIT:
        needed = max(needed, lease.over_limit_bytes)
    has = size.memory_on(device_memory_bytes) * size.devices
    if needed > has:
        raise Conflict(Message.of("resize.parked_does_not_fit", parked_bytes=needed, limit_bytes=has, size=str(size)))


def is_told_anew(before: LogicalGPU, after: LogicalGPU) -> bool:
    """Whether libraries in the kernel have to be told of the change."""
    asked = memory_limit.WATCHED & {before.enforcement, after.enforcement}
    return bool(asked) and _memory(before) != _memory(after)


def is_told(gpu: LogicalGPU) -> bool:
    """Whether libraries in the kernel have to be told how much of a device they may take."""
    return gpu.enforcement in memory_limit.WATCHED or gpu.enforcement is Enforcement.HARDWARE


def _memory(gpu: LogicalGPU) -> int | None:
    return None if gpu.whole else gpu.memory_bytes


def report(state: State, command: c.ReportLibraries, at: Instant) -> list[Event]:
    """The kernel told its libraries a size; nothing where that is not the size any more."""
    lease = state.leases.get(command.lease_id)
    gpu = lease.logical_gpu if lease is not None else None
    if lease is None or gpu is None or lease.state is not LeaseState.ACTIVE or _memory(gpu) != command.memory_bytes:
        return []
    stuck = tuple(sorted(set(command.libraries_needing_restart)))
    return (
        [e.LeaseResizeAcknowledged(lease.id, stuck)]
        if lease.resize_unacknowledged or lease.libraries_needing_restart != stuck
        else []
    )


def outcome(lease: Lease) -> Outcome | None:
    """What came of the last change of size of an active lease; ``None`` of any other."""
    if lease.state is not LeaseState.ACTIVE:
        return None
    if lease.libraries_needing_restart:
        return Outcome.NEEDS_RESTART
    return Outcome.PENDING if lease.resize_unacknowledged else Outcome.APPLIED


def message(lease: Lease) -> Message | None:
    """Return the message about the last change of size, or ``None`` where there is nothing to say."""
    match outcome(lease):
        case Outcome.PENDING:
            return Message.of("resize.pending")
        case Outcome.NEEDS_RESTART:
            libraries = lease.libraries_needing_restart
            return Message.of("resize.needs_restart", libraries=libraries, count=len(libraries))
        case _:
            return None


def request_of(lease: Lease, profile: str) -> LeaseRequest:
    """What the lease asks for with another size. Raises :class:`~fastgpu_jupyter.errors.InvalidRequest`."""
    request = replace(lease.request, profile=profile, memory_bytes=None)
    request.validate()
    return request
