"""Render the state as its readers see it, as the JSON objects of :mod:`fastgpu_jupyter.wire.schemas`.

A tenant sees names only of what is its own; of others it sees what is taken, as it must to understand its wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ... import __version__
from ...core.accounting import budgets, meter
from ...core.lease import device_health, memory_limit, migration, preparation, resize
from ...core.model.entities import Device, Instant, Lease, PendingReason, Priority, Reservation, State
from ...core.model.lifecycle import LeaseState
from ...core.placement import mechanisms, parkability
from ...core.scheduling import queue_report
from ...wire.schemas import (
    DeviceUsageView,
    DeviceView,
    ForeignView,
    GroupView,
    HoldingView,
    LeaseUsageView,
    LeaseView,
    PoolView,
    PriorityName,
    QueueView,
    ReservationView,
    TenantView,
)
from ..devices.driver import DeviceUsage, Sample
from ..host.lease_groups import NOT_ENFORCED, DeviceAccess
from ..monitors.process_owners import ForeignProcess

PRIORITY_NAMES: dict[Priority, PriorityName] = {
    Priority.LOW: "low",
    Priority.NORMAL: "normal",
    Priority.HIGH: "high",
    Priority.SYSTEM: "system",
}
_UNKNOWN = DeviceUsage(None, None)
#: By lease that waits, its place and why; in order.
QueuePositions = Mapping[str, tuple[int, PendingReason]]


@dataclass(frozen=True, slots=True)
class AccessScope:
    """The tenants whose leases a caller may see by name."""

    tenant: str
    all_tenants: bool = False

    def includes(self, lease: Lease) -> bool:
        """Return whether the lease's names are visible within this scope."""
        return self.all_tenants or lease.tenant == self.tenant


@dataclass(frozen=True, slots=True)
class ViewContext:
    """What views need beside the state."""

    currency: str
    usage: Sample
    environment_of: Callable[[str], dict[str, str]]
    hidden_environment: dict[str, str]
    queue_positions: Callable[[], QueuePositions]
    device_nodes_of: Callable[[str], list[str]]
    foreign: Mapping[str, Sequence[ForeignProcess]]
    device_access_of: Callable[[str], DeviceAccess] = lambda _: NOT_ENFORCED
    doing: Callable[[str], str | None] = lambda _: None  #: what is being done to a lease's device, for its user


def pool_view(
    state: State,
    *,
    scope: str,
    currency: str,
    started_at: int,
    message: str | None,
    fault: str | None,
    silent_since: int | None,
) -> PoolView:
    """The pool manager itself."""
    return {
        "version": __version__,
        "scope": "system" if scope == "system" else "user",
        "simulated": any(device.spec.simulated for device in state.devices.values()),
        "currency": currency,
        "started_at": started_at,
        "message": fault or message,
        "accepting": fault is None,
        "counters_silent_since": silent_since,
    }


def device_views(
    state: State, access: AccessScope, facts: ViewContext, only: Iterable[str] | None = None
) -> list[DeviceView]:
    """All devices, or those named, in order of index."""
    chosen = state.devices.values() if only is None else (state.devices[i] for i in only if i in state.devices)
    return [
        _device_view(state, device, access, facts)
        for device in sorted(chosen, key=lambda device: device.spec.index)
        if device.present or device.lease_ids
    ]


def _device_view(state: State, device: Device, access: AccessScope, facts: ViewContext) -> DeviceView:
    usage = facts.usage.devices.get(device.spec.id, _UNKNOWN)
    return {
        "id": device.spec.id,
        "index": device.spec.index,
        "model": device.spec.model,
        "memory_bytes": device.spec.memory_bytes,
        "memory_free_bytes": device.free_bytes,
        "simulated": device.spec.simulated,
        "health": device.reported_health.value,
        "health_reason": device.health_reason or device.scrub_pending,
        "parkable": device.spec.parkable,
        "drained": device.drained or not device.present,
        "mechanisms": [mechanism.value for mechanism in device.spec.mechanisms],
        "partitions": [profile.name for profile in device.spec.profiles],
        "rate_micro_per_hour": device.spec.rate_micro_per_hour,
        "utilization_percent": usage.utilization_percent,
        "memory_used_bytes": usage.memory_used_bytes,
        "holdings": [_holding_view(state.leases[lease_id], access) for lease_id in device.lease_ids],
        "foreign": [_foreign_view(state, one, access) for one in facts.foreign.get(device.spec.id, ())],
    }


def _foreign_view(state: State, one: ForeignProcess, access: AccessScope) -> ForeignView:
    lease = state.leases.get(one.lease_id or "")
    return {
        "pid": one.holder.pid,
        "user": one.user,
        "memory_bytes": one.memory_bytes,
        "lease_id": lease.id if lease is not None and access.includes(lease) else None,
    }


def _holding_view(lease: Lease, access: AccessScope) -> HoldingView:
    own = access.includes(lease)
    return {
        "lease_id": lease.id if own else None,
        "tenant": lease.tenant if own else None,
        "notebook": lease.request.notebook if own else None,
        "state": lease.state.value,
        "memory_bytes": _memory_of_each(lease),
        "mine": lease.tenant == access.tenant,
    }


def _memory_of_each(lease: Lease) -> int:
    """Bytes that the lease holds of each of its devices."""
    gpu = lease.logical_gpu
    return gpu.memory_bytes // len(gpu.device_ids) if gpu else 0


def lease_views(
    state: State, at: Instant, access: AccessScope, facts: ViewContext, only: Iterable[str] | None = None
) -> list[LeaseView]:
    """Return the leases within ``access``, or those of them that are named, oldest first."""
    wanted = None if only is None else set(only)
    return [
        lease_view(state, lease, at, facts)
        for lease in state.leases.values()
        if access.includes(lease) and (wanted is None or lease.id in wanted)
    ]


def lease_view(state: State, lease: Lease, at: Instant, facts: ViewContext) -> LeaseView:
    """One lease, with its place and reason where it waits."""
    ticket = facts.queue_positions().get(lease.id) if lease.state is LeaseState.WAITING else None
    gpu = lease.logical_gpu
    device = state.devices.get(gpu.device_id) if gpu else None
    usage = facts.usage.leases.get(lease.id, _UNKNOWN)
    nodes = facts.device_access_of(lease.id)
    return {
        "id": lease.id,
        "version": lease.version,
        "state": lease.state.value,
        "end_reason": lease.end_reason.value if lease.end_reason else None,
        "kernel_id": lease.request.kernel_id,
        "notebook": lease.request.notebook,
        "pid": lease.holder.pid,
        "device_id": gpu.device_id if gpu else None,
        "device_ids": list(gpu.device_ids) if gpu else [],
        "device_model": device.spec.model if device else None,
        "simulated": gpu is not None and gpu.mechanism.value == "simulated",
        "tenant": lease.tenant,
        "profile": lease.request.name,
        "priority": priority_name(lease.request.priority),
        "isolation": lease.request.isolation.value,
        "retention": lease.request.retention.value,
        "cpu_milli": lease.request.cpu_milli,
        "host_memory_bytes": lease.request.host_memory_bytes,
        "busy": lease.busy,
        "used_at": at.wall_ms - (at.ms - lease.last_activity_ms)
        if lease.last_activity_ms
        else lease.requested_at.wall_ms,
        "parkable": lease.state is LeaseState.ACTIVE and parkability.park_refusal(state, lease) is None,
        "park_reason": lease.park_reason.value if lease.park_reason else None,
        "parked_bytes": lease.parked_bytes,
        "memory_bytes": gpu.memory_bytes if gpu else lease.request.memory_bytes,
        "mechanism": gpu.mechanism.value if gpu else None,
        "mechanism_reason": mechanisms.reason(gpu) if gpu else None,
        "partition": gpu.partition.profile if gpu and gpu.partition else None,
        "enforcement": gpu.enforcement.value if gpu else None,
        "limit_scope": gpu.scope.value if gpu else None,
        "limit_message": memory_limit.message(state, lease),
        "environment": facts.environment_of(lease.id),
        "hidden_environment": facts.hidden_environment,
        "device_nodes": facts.device_nodes_of(lease.id),
        "device_nodes_closed": nodes.enforced,
        "device_nodes_message": nodes.detail,
        "requested_at": lease.requested_at.wall_ms,
        "granted_at": lease.granted_at.wall_ms if lease.granted_at else None,
        "ended_at": lease.ended_at.wall_ms if lease.ended_at else None,
        "scrub": lease.scrub.value if lease.scrub else None,
        "scrub_bytes": lease.scrub_bytes,
        "scrub_detail": lease.scrub_detail,
        "active_ms": meter.active_ms(lease, at.ms),
        "rate_micro_per_hour": gpu.rate_micro_per_hour if gpu else None,
        "billed_micro_per_hour": lease.billed_micro_per_hour,
        "covered_milli": lease.covered_milli,
        "cost_micro": meter.cost_micro(lease, at.ms),
        "cost_at": at.wall_ms,
        "budget_micro": lease.request.budget_micro,
        "budget_percent": lease.budget_percent or None,
        "budget_message": budgets.message(state, lease),
        "fault_message": device_health.message(state, lease),
        "size_applied": applied.value if (applied := resize.outcome(lease)) else None,
        "size_message": resize.message(lease),
        "move": offer.value if (offer := migration.migration_option(state, lease)) else None,
        "currency": facts.currency,
        "utilization_percent": usage.utilization_percent,
        "memory_used_bytes": usage.memory_used_bytes,
        "place": ticket[0] if ticket else None,
        "pending_reason": ticket[1].value if ticket else None,
        "pending_detail": f"{queue_report.explain(*ticket)} {preparation.message(lease)}".rstrip()
        if ticket
        else _detail(lease, facts),
    }


def _detail(lease: Lease, facts: ViewContext) -> str | None:
    """What is being done, after why it is over."""
    tried = preparation.message(lease) if lease.state is LeaseState.PREPARING else None
    told = filter(None, (lease.end_detail, tried, facts.doing(lease.id)))
    return " ".join(told) or budgets.why_parked(lease)


def device_usage_view(device_id: str, usage: DeviceUsage) -> DeviceUsageView:
    """What is used of a device now."""
    return {
        "id": device_id,
        "utilization_percent": usage.utilization_percent,
        "memory_used_bytes": usage.memory_used_bytes,
    }


def lease_usage_view(lease: Lease, at: Instant, usage: DeviceUsage) -> LeaseUsageView:
    """What of a lease changes each second."""
    return {
        "id": lease.id,
        "utilization_percent": usage.utilization_percent,
        "memory_used_bytes": usage.memory_used_bytes,
        "active_ms": meter.active_ms(lease, at.ms),
        "billed_micro_per_hour": lease.billed_micro_per_hour,
        "cost_micro": meter.cost_micro(lease, at.ms),
        "cost_at": at.wall_ms,
    }


def queue_views(state: State, access: AccessScope, facts: ViewContext) -> list[QueueView]:
    """The queue in order of grant."""
    estimator = queue_report.Estimator(state)
    return [
        _queue_view(state.leases[lease_id], place, reason, access, estimator.of(place))
        for lease_id, (place, reason) in facts.queue_positions().items()
    ]


def priority_name(priority: Priority) -> PriorityName:
    """The name of a priority class on the wire."""
    return PRIORITY_NAMES[priority]


def tenant_views(state: State, at: Instant, access: AccessScope) -> list[TenantView]:
    """Return the tenants within ``access`` with their entitlements."""
    return [
        {
            "tenant": name,
            "group": it.group,
            "weight": it.weight,
            "guaranteed_milli": it.guaranteed_milli,
            "limit_milli": it.limit_milli,
            "held_milli": it.held_milli,
            "held_cpu_milli": it.held_cpu_milli,
            "held_memory_bytes": it.held_memory_bytes,
            "reserved_milli": it.reserved_milli,
            "budget_micro_per_month": it.budget_micro,
            "budget_policy": it.budget_policy.value,
            "budget_percent": it.budget_percent or None,
            "spent_micro": meter.spent_micro(state, name, at),
        }
        for name, it in sorted(state.tenants.items())
        if access.all_tenants or name == access.tenant
    ]


def reservation_views(state: State, access: AccessScope, currency: str) -> list[ReservationView]:
    """Return the reservations within ``access``; ended ones are included for two months."""
    return [
        reservation_view(one, currency)
        for one in state.reservations.values()
        if access.all_tenants or one.tenant == access.tenant
    ]


def reservation_view(one: Reservation, currency: str) -> ReservationView:
    """One reservation."""
    return {
        "id": one.id,
        "tenant": one.tenant,
        "milli": one.milli,
        "model": one.model,
        "plan": one.plan.value,
        "rate_micro_per_hour": one.rate_micro_per_hour,
        "currency": currency,
        "started_at": one.start_wall_ms,
        "ends_at": one.end_wall_ms,
        "state": "ended" if one.ended else "running" if one.runs else "future",
    }


def group_views(state: State, access: AccessScope) -> list[GroupView]:
    """Return the group of ``access``'s tenant, or all groups."""
    own = state.tenants.get(access.tenant)
    return [
        {
            "group": name,
            "weight": it.weight,
            "guaranteed_milli": it.guaranteed_milli,
            "limit_milli": it.limit_milli,
            "held_milli": it.held_milli,
            "held_cpu_milli": it.held_cpu_milli,
            "held_memory_bytes": it.held_memory_bytes,
        }
        for name, it in sorted(state.groups.items())
        if access.all_tenants or (own is not None and own.group == name)
    ]


def _queue_view(
    lease: Lease, place: int, reason: PendingReason, access: AccessScope, estimate: queue_report.Estimate
) -> QueueView:
    own = access.includes(lease)
    return {
        "lease_id": lease.id if own else None,
        "place": place,
        "reason": reason.value,
        "detail": queue_report.explain(place, reason),
        "estimate_ms": estimate.wait_ms,
        "estimate_basis": estimate.basis,
        "profile": lease.request.name,
        "priority": priority_name(lease.request.priority),
        "memory_bytes": lease.request.memory_bytes,
        "notebook": lease.request.notebook if own else None,
        "tenant": lease.tenant if own else None,
        "since": lease.waiting_since.wall_ms,
        "mine": lease.tenant == access.tenant,
    }
