"""Views of leases and of their readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ....core.accounting import budgets, meter
from ....core.lease import (
    cpu_meanwhile,
    device_health,
    idle,
    memory_limit,
    migration,
    parking,
    preparation,
    presence,
    resize,
)
from ....core.model.entities import Instant, Lease, LogicalGPU, State
from ....core.model.lifecycle import BECOMING_ACTIVE, LeaseState
from ....core.placement import mechanisms, parkability
from ....errors import Message
from ....messages import view_of
from ....wire.schemas import (
    DeviceAccessView,
    LeaseEnforcementView,
    LeaseHealthView,
    LeaseIdleView,
    LeaseMoneyView,
    LeaseParkingView,
    LeaseQueueView,
    LeaseReading,
    LeaseScrubView,
    LeaseSizeView,
    LeaseTimesView,
    LeaseUsageView,
    LeaseView,
    LogicalGPUView,
    MessageView,
)
from ...devices.driver import DeviceUsage
from ...identity import with_display_name
from ..steps import in_steps
from .cluster import cluster_queue_view, lease_cluster_view
from .context import UNKNOWN_USAGE, AccessScope, ViewContext, tenant_reference
from .queue import estimate_basis, pending_reason, queue_holder

#: How many leases that have ended a list has: a program that requests in a loop must not slow every list down.
ENDED_LISTED_MAX = 1000


async def lease_views(
    state: State, at: Instant, access: AccessScope, context: ViewContext, only: Iterable[str] | None = None
) -> list[LeaseView]:
    """Return the leases within ``access``, or those of them that are named, oldest first.

    Without names, of those that have ended the newest :data:`ENDED_LISTED_MAX` only.
    """
    if only is None:
        ended = (lease_id for lease_id in reversed(state.ended) if access.includes(state.leases[lease_id]))
        listed = set(islice(ended, ENDED_LISTED_MAX))
        found = [
            lease
            for lease in state.leases.values()
            if access.includes(lease) and (lease.id in listed or lease.id not in state.ended)
        ]
    else:
        named = (state.leases.get(lease_id) for lease_id in only)
        found = [lease for lease in named if lease is not None and access.includes(lease)]
        found.sort(key=lambda lease: lease.requested_at.ms)
    return await in_steps(lambda lease: lease_view(state, lease, at, context), found)


def lease_view(state: State, lease: Lease, at: Instant, context: ViewContext) -> LeaseView:
    """Return one lease with everything that its tenant may know."""
    request, gpu = lease.request, lease.logical_gpu
    usage = context.usage.leases.get(lease.id, UNKNOWN_USAGE)
    return {
        "id": lease.id,
        "version": lease.version,
        "state": lease.state.value,
        "tenant": tenant_reference(lease.tenant, context.name_of),
        "end_reason": _enumerated("end", lease.end_reason),
        "notes": list(_notes(lease, context)),
        "environment": context.environment_of(lease),
        "hidden_environment": context.hidden_environment,
        "holder": {
            "kernel_id": request.kernel_id,
            "notebook": request.notebook,
            "job": request.job,
            "pid": lease.holder.pid,
            "orphaned_at": _wall_ms(at, lease.orphaned_since_ms),
        },
        "request": {
            "size": request.name,
            "priority": request.priority.name.lower(),
            "isolation": request.isolation.value,
            "cpu_milli": request.cpu_milli,
            "host_memory_bytes": request.host_memory_bytes,
        },
        "size": _size(lease),
        "gpu": _gpu(state, gpu, context) if gpu else None,
        "memory": {
            "limit_bytes": (gpu.memory_bytes or None) if gpu else request.memory_bytes,
            "used_bytes": usage.memory_used_bytes,
        },
        "usage": _usage(lease, at, usage),
        "money": _money(state, lease, at, context),
        "queue": _queue(state, lease, at, context),
        "cpu_meanwhile": lease.cpu_meanwhile,
        "enforcement": _enforcement(state, lease),
        "device_access": _device_access(lease, context),
        "parking": _parking(state, lease, usage),
        "scrub": _scrub(lease),
        "health": _health(state, lease),
        "idle": _idle(state, lease, at),
        "cluster": None if context.cluster is None else lease_cluster_view(context.cluster, lease, at),
        "times": _times(lease),
    }


def lease_reading(lease: Lease, at: Instant, usage: DeviceUsage) -> LeaseReading:
    """Return the fields of a lease that change each second."""
    return {
        "id": lease.id,
        "memory": {"used_bytes": usage.memory_used_bytes},
        "usage": {"utilization_percent": usage.utilization_percent, "active_ms": meter.active_ms(lease, at.ms)},
        "money": {
            "billed_micro_per_hour": lease.billed_micro_per_hour,
            "cost_micro": meter.cost_micro(lease, at.ms),
            "cost_at": at.wall_ms,
        },
    }


def _enumerated(prefix: str, value: str | None) -> MessageView | None:
    """Return the message of a member of an enumeration."""
    return None if value is None else view_of(Message(f"{prefix}.{value}"))


def _notes(lease: Lease, context: ViewContext) -> Iterator[MessageView]:
    """Yield why the lease ended, failed preparations, the progress of scrubbing, or why the lease stays parked."""
    retry = view_of(preparation.message(lease) or parking.resume_message(lease))
    if lease.state is LeaseState.WAITING:
        found: list[MessageView | None] = [view_of(cpu_meanwhile.message(lease)), retry]
    else:
        found = [
            view_of(lease.end_detail),
            retry if lease.state in BECOMING_ACTIVE else None,
            view_of(context.scrub_progress_of(lease.id)),
        ]
        if not any(found):
            found = [view_of(budgets.why_parked(lease)), view_of(_unseen(lease, context))]
    yield from (note for note in found if note is not None)


def _unseen(lease: Lease, context: ViewContext) -> Message | None:
    """Return that the processes on the devices of a lease cannot be seen, and why."""
    names = () if lease.logical_gpu is None else lease.logical_gpu.device_ids
    reason = next((context.unseen[name] for name in names if name in context.unseen), None)
    return None if reason is None else Message.of("lease.processes_unseen", reason=reason)


def _size(lease: Lease) -> LeaseSizeView:
    outcome, deferred = resize.outcome(lease), lease.resize_deferred
    return {
        "requested": None if deferred is None else deferred.name,
        "applied": None if outcome is None else outcome.value,
        "message": view_of(resize.message(lease)),
    }


def _gpu(state: State, gpu: LogicalGPU, context: ViewContext) -> LogicalGPUView:
    simulated = gpu.mechanism.value == "simulated"
    if gpu.cluster is None:
        device = state.devices.get(gpu.device_id)
        model = device.spec.model if device else None
    else:
        model = gpu.cluster.devices[0].model
        simulated = context.cluster is not None and context.cluster.is_simulated
    return {
        "device_ids": list(gpu.device_ids),
        "model": model,
        "simulated": simulated,
        "mechanism": gpu.mechanism.value,
        "mechanism_reason": view_of(mechanisms.reason(gpu)),
        "partition": gpu.partition.profile if gpu.partition else None,
    }


def _usage(lease: Lease, at: Instant, usage: DeviceUsage) -> LeaseUsageView:
    requested_at = lease.requested_at.wall_ms
    return {
        "utilization_percent": usage.utilization_percent,
        "active_ms": meter.active_ms(lease, at.ms),
        "busy": lease.busy,
        "last_used_at": at.wall_ms - (at.ms - lease.last_activity_ms) if lease.last_activity_ms else requested_at,
    }


def _money(state: State, lease: Lease, at: Instant, context: ViewContext) -> LeaseMoneyView:
    message = budgets.message(state, lease)
    return {
        "currency": context.currency,
        "rate_micro_per_hour": lease.logical_gpu.rate_micro_per_hour if lease.logical_gpu else None,
        "billed_micro_per_hour": lease.billed_micro_per_hour,
        "covered_milli": lease.covered_milli,
        "cost_micro": meter.cost_micro(lease, at.ms),
        "cost_at": at.wall_ms,
        "budget_micro": lease.request.budget_micro,
        "budget_percent": lease.budget_percent or None,
        "message": view_of(message and with_display_name(message, context.name_of)),
    }


def _queue(state: State, lease: Lease, at: Instant, context: ViewContext) -> LeaseQueueView | None:
    if lease.cluster_job is not None and context.cluster is not None:
        return cluster_queue_view(context.cluster, lease, at)
    entry = context.queue.find(lease.id) if lease.state is LeaseState.WAITING else None
    if entry is None:
        return None
    estimate = context.queue.estimator.of(entry.position)
    return {
        "position": entry.position,
        "reason": pending_reason(*entry),
        "holder": queue_holder(state, lease, entry),
        "estimate_ms": estimate.wait_ms,
        "estimate_basis": estimate_basis(estimate),
    }


def _enforcement(state: State, lease: Lease) -> LeaseEnforcementView:
    gpu = lease.logical_gpu
    return {
        "memory_limit": gpu.enforcement.value if gpu else None,
        "scope": gpu.scope.value if gpu else None,
        "message": view_of(memory_limit.message(state, lease)),
    }


def _device_access(lease: Lease, context: ViewContext) -> DeviceAccessView:
    access = context.device_access_of(lease.id)
    return {
        "nodes": context.device_nodes_of(lease),
        "restricted": access.enforced,
        "message": view_of(Message.of_optional(access.detail)),
    }


def _parking(state: State, lease: Lease, usage: DeviceUsage) -> LeaseParkingView:
    active = lease.state is LeaseState.ACTIVE
    return {
        "retention": lease.request.retention.value,
        "parkable": active and parkability.park_refusal(state, lease) is None,
        "obstacle": view_of(parkability.obstacle(state, lease, usage.memory_used_bytes)) if active else None,
        "reason": _enumerated("park", lease.park_reason),
        "parked_bytes": lease.parked_bytes,
    }


def _scrub(lease: Lease) -> LeaseScrubView | None:
    if lease.scrub is None:
        return None
    return {
        "result": lease.scrub.value,
        "bytes": lease.scrub_bytes,
        "message": view_of(lease.scrub_detail),
    }


def _health(state: State, lease: Lease) -> LeaseHealthView:
    option, device = migration.migration_option(state, lease), presence.missing_device(state, lease)
    return {
        "migration": option.value if option else None,
        "message": view_of(device_health.message(state, lease)),
        "missing_since": device.missing.since.wall_ms if device and device.missing else None,
    }


def _idle(state: State, lease: Lease, at: Instant) -> LeaseIdleView:
    following = idle.next_step(state, lease)
    cells_ms = lease.last_activity_ms if lease.busy is False and lease.last_activity_ms else None
    snoozed = lease.idle_snoozed_until_ms > at.ms
    return {
        "cells_idle_since": _wall_ms(at, cells_ms),
        "gpu_idle_since": _wall_ms(at, lease.gpu_idle_since_ms),
        "next": {"step": following.step.value, "at": max(0, at.wall_ms + following.at_ms - at.ms)}
        if following
        else None,
        "steps": [{"step": step.value, "after_ms": time_ms} for step, time_ms in idle.steps_of(state, lease).items()],
        "taken": lease.idle_step.value if lease.idle_step else None,
        "snoozed_until": _wall_ms(at, lease.idle_snoozed_until_ms) if snoozed else None,
        "message": view_of(idle.message(state, lease, at)),
    }


def _wall_ms(at: Instant, ms: int | None) -> int | None:
    """Return a time of the pool on the wall clock."""
    return None if ms is None else max(0, at.wall_ms - (at.ms - ms))


def _times(lease: Lease) -> LeaseTimesView:
    return {
        "requested_at": lease.requested_at.wall_ms,
        "granted_at": lease.granted_at.wall_ms if lease.granted_at else None,
        "ended_at": lease.ended_at.wall_ms if lease.ended_at else None,
    }
