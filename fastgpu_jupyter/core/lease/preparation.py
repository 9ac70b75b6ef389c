"""Preparation of granted logical GPUs, and what follows when it fails.

A failed preparation does not cost the lease its position: it waits again where it was, and is granted what is free by
then. Another process may have created a partition in its place, or something may be in use for a while. The lease ends
after :data:`TRIES_MAX` failures in a row, or when no device of the pool could ever serve it as they are now.
"""

from __future__ import annotations

from dataclasses import replace

from ...errors import Message, NoSuchDevice
from ..accounting import fairshare, meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Instant, Lease, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from ..placement import refusals
from . import allocation, parking, request, resize
from .lookup import find_granted
from .transition import advance

#: With the rests between them, half a minute.
TRIES_MAX = 8
#: The rest after the first failure; it doubles with each.
PAUSE_MS = 250


def succeeded(state: State, command: c.PrepareSucceeded, at: Instant) -> list[Event]:
    """The logical GPU is ready."""
    lease = current(state, command)
    return [e.LeasePrepared(lease.id, command.driver_handle)] if lease else []


def failed(state: State, command: c.PrepareFailed, at: Instant) -> list[Event]:
    """Let the lease wait again after a failed preparation, or end it with the reason why another try is useless."""
    lease = current(state, command)
    if lease is None:
        return []
    why_never = _why_never(state, lease)
    if why_never is None and lease.prepare_attempts + 1 >= TRIES_MAX:
        why_never = Message.of("prepare.gave_up", attempts_max=TRIES_MAX)
    if why_never is None:
        return [e.LeasePrepareFailed(lease.id, command.detail)]
    detail = Message.of("prepare.failed_for_good", detail=command.detail, reason=why_never)
    return [e.LeaseDraining(lease.id, EndReason.PREPARE_FAILED, detail)]


def _why_never(state: State, lease: Lease) -> Message | None:
    try:
        refusals.require_satisfiable(state, lease.requirements)
    except NoSuchDevice as never:
        return never.message
    return None


def current(state: State, report: c.PrepareSucceeded | c.PrepareFailed) -> Lease | None:
    """The lease that a report is about, while that grant of it is being made."""
    return find_granted(state, report.lease_id, report.generation, LeaseState.PREPARING)


def pause_ms(lease: Lease) -> int:
    """How long to rest after the failure that comes now."""
    return PAUSE_MS << min(lease.prepare_attempts, TRIES_MAX)


def message(lease: Lease) -> Message | None:
    """Return the message about the last failure to prepare the lease's GPU; ``None`` where there was none."""
    if lease.prepare_failure is None:
        return None
    return Message.of(
        "prepare.retrying", attempt=lease.prepare_attempts, attempts_max=TRIES_MAX, detail=lease.prepare_failure
    )


def apply_prepared(state: State, event: e.LeasePrepared | e.LeaseResumed, at: Instant) -> None:
    """Make the lease active and bill it from here on."""
    lease = advance(state, event.lease_id, event)
    parking.drop_image(state, lease)
    if event.driver_handle and lease.logical_gpu is not None:
        lease.logical_gpu = replace(lease.logical_gpu, driver_handle=event.driver_handle)
    lease.limit_detail, lease.cpu_meanwhile = None, False
    lease.scrub = lease.scrub_bytes = lease.scrub_detail = None
    lease.resize_unacknowledged = (
        lease.resize_unacknowledged and lease.logical_gpu is not None and resize.has_library_limit(lease.logical_gpu)
    )
    lease.prepare_attempts, lease.prepare_failure = 0, None
    lease.resume_attempts, lease.resume_obstacle = 0, None
    lease.last_activity_ms = at.ms
    meter.open_segment(state, lease, at.ms)


def apply_prepare_failed(state: State, event: e.LeasePrepareFailed, at: Instant) -> None:
    """Put the lease back into the queue where it was, as if it had not been granted; the attempt is counted."""
    lease = advance(state, event.lease_id, event)
    gpu, lease.logical_gpu = lease.logical_gpu, None
    assert gpu is not None
    lease.prepare_attempts, lease.prepare_failure = lease.prepare_attempts + 1, event.detail
    if not lease.metered_ms:  # it was never ready
        lease.granted_at = None
    request.requeue_at_original_position(state, lease)
    expires_ms = lease.expires_ms
    if expires_ms is not None:
        state.expiring[lease.id] = expires_ms
    fairshare.wait(state, lease.tenant, at.ms)  # before it gives anything back, so that its tenant's turn is not over
    allocation.free(state, lease, gpu, at)
