"""Changes of a lease's size while it is active, waiting or parked, and whether the new size is applied.

A size that only libraries in the kernel enforce is applied once they have it. The kernel sets it before its next cell
and reports the outcome; a library that has initialized cannot always follow, and keeps the earlier size until the
kernel restarts. Until then the lease shows the requested and the applied size separately.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ...errors import CallerError, Conflict, Message, NeedsRestart
from ..accounting import budgets, meter, reservations
from ..model import commands as c
from ..model import events as e
from ..model.entities import Enforcement, Instant, Lease, LeaseRequest, LogicalGPU, ParkReason, State, requirements_of
from ..model.events import Event
from ..model.lifecycle import LIVE, WITHOUT_CAPACITY, LeaseState
from ..model.size import Size, parse_size
from ..placement import device_share, logical_gpus, refusals
from . import allocation, growth, memory_limit
from .lookup import find_lease
from .transition import advance


class Outcome(StrEnum):
    """What came of the last change of size."""

    APPLIED = "applied"
    PENDING = "pending"  #: the kernel has not said yet whether its libraries follow
    NEEDS_RESTART = "needs_restart"  #: some of them keep the earlier size until the kernel restarts


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
        raise Conflict(
            Message.of(
                "resize.parked_does_not_fit",
                size=str(size),
                parked_bytes=needed,
                limit_bytes=has,
                kept=lease.request.name,
            )
        )


def changes_library_limit(before: LogicalGPU, after: LogicalGPU) -> bool:
    """Return whether libraries in the kernel have to apply another limit."""
    asked = memory_limit.WATCHED & {before.enforcement, after.enforcement}
    return bool(asked) and _memory(before) != _memory(after)


def has_library_limit(gpu: LogicalGPU) -> bool:
    """Return whether libraries in the kernel have a limit of device memory to apply."""
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
    if lease.state is LeaseState.ACTIVE and (deferred := growth.message(lease)) is not None:
        return deferred
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


def resize_lease(state: State, command: c.ResizeLease, at: Instant) -> list[Event]:
    """Give the lease another size while its kernel runs. Raises :class:`Conflict` where that is not possible."""
    lease = find_lease(state, command.lease_id)
    if lease.cluster_job is not None:
        raise Conflict(Message.of("cluster.cannot_resize"))
    request = request_of(lease, command.profile)
    size = request.size
    _require_seen(lease, command.seen)
    if size == lease.request.size and lease.state in LIVE - WITHOUT_CAPACITY:
        return [] if lease.resize_deferred is None else [e.LeaseResizeDropped(lease.id)]
    if lease.has_image:
        return resize_parked(state, lease, request, at)
    if lease.state is LeaseState.WAITING:
        refusals.require_satisfiable(state, lease.requirements._replace(size=size))
        return [] if size == lease.request.size else [e.LeaseResized(lease.id, request, None)]
    if lease.state is not LeaseState.ACTIVE or lease.logical_gpu is None:
        raise Conflict(Message.of("resize.wrong_state", state=lease.state.value))
    if any(state.devices[name].missing for name in lease.logical_gpu.device_ids):
        raise Conflict(Message.of("resize.device_missing"))
    devices = refusals.require_resizable(state, lease, size)
    gpu = logical_gpus.make_logical_gpu(
        refusals.live_resize_requirements(lease, size), devices, lease.logical_gpu.generation
    )
    gpu = replace(gpu, driver_handle=lease.logical_gpu.driver_handle)  # which is still there
    if command.used_bytes is not None and command.used_bytes > gpu.memory_bytes:
        raise Conflict(
            Message.of(
                "resize.memory_in_use",
                size=str(size),
                used_bytes=command.used_bytes,
                limit_bytes=gpu.memory_bytes,
                kept=lease.request.name,
            )
        )
    _require_within_quota(state, lease, device_share.milli(size, devices))
    if lease.requirements.non_preemptible:
        reservations.require_not_reserved_by_others(state, lease, size)
    if not growth.has_room(devices[0], lease, request):
        return growth.defer(state, lease, request, devices[0], at)
    return [e.LeaseResized(lease.id, request, gpu)]


def _require_seen(lease: Lease, seen: str | None) -> None:
    """Raise :class:`Conflict` where the lease has another size by now than its user saw."""
    if seen is not None and parse_size(seen) != lease.request.size:
        raise Conflict(Message.of("resize.changed_meanwhile", kept=lease.request.name))


def complete_deferred(state: State, at: Instant) -> list[Event]:
    """Return what follows for the first lease whose size was deferred and that need not wait for it any longer.

    It gets that size, more leases are parked for it, or it keeps the size that it has and its user learns why.
    """
    for lease in map(state.leases.__getitem__, state.deferred):
        request, gpu = lease.resize_deferred, lease.logical_gpu
        assert request is not None
        assert gpu is not None
        device = state.devices[gpu.device_id]
        if device.releasing_bytes and not growth.has_room(device, lease, request):
            continue
        try:
            return resize_lease(state, c.ResizeLease(lease.id, request.name), at)
        except CallerError as refusal:
            return [e.LeaseResizeDropped(lease.id, refusal.message)]
    return []


def _require_within_quota(state: State, lease: Lease, wanted_milli: int) -> None:
    tenant = state.tenants.get(lease.tenant)
    if tenant is None or tenant.limit_milli is None:
        return
    held = device_share.milli(lease.request.size, device_share.devices_of(state, lease))
    if tenant.held_milli - held + wanted_milli > tenant.limit_milli:
        raise Conflict(Message.of("resize.above_quota", tenant=lease.tenant, limit_milli=tenant.limit_milli))


def apply_resized(state: State, event: e.LeaseResized, at: Instant) -> None:
    """Bill the lease at its new size from here on, and allocate the difference."""
    lease = advance(state, event.lease_id, event)
    growth.forget(state, lease)
    if event.logical_gpu is None or lease.logical_gpu is None:
        lease.request = event.request
        lease.resize_unacknowledged = lease.has_image
        return
    lease.resize_unacknowledged = lease.resize_unacknowledged or changes_library_limit(
        lease.logical_gpu, event.logical_gpu
    )
    meter.close_segment(state, lease, at.ms)  # at the old rate
    allocation.free(state, lease, lease.logical_gpu, at)
    lease.request, lease.logical_gpu = event.request, event.logical_gpu
    allocation.allocate(state, lease, event.logical_gpu, at)
    meter.open_segment(state, lease, at.ms)


def apply_acknowledged(state: State, event: e.LeaseResizeAcknowledged, at: Instant) -> None:
    """Record which libraries follow the size of the lease only after a restart."""
    lease = advance(state, event.lease_id, event)
    lease.resize_unacknowledged, lease.libraries_needing_restart = False, event.libraries_needing_restart
