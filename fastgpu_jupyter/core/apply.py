"""What an event changes: the only code that touches a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import InternalError
from .accounting import budgets, fairshare, meter, reservation_coverage
from .lease import resize
from .lease.transition import next_state
from .model import events as e
from .model.entities import (
    GRANTS_TO_OVERTAKE_ALL,
    RECENT_REQUESTS_MAX,
    RELOCATING,
    Device,
    Health,
    Host,
    Image,
    Instant,
    Lease,
    LeaseRequest,
    LogicalGPU,
    ParkReason,
    State,
)
from .model.events import Event
from .model.lifecycle import RELEASING_CAPACITY, LeaseState
from .placement import parkability


def apply(state: State, event: Event, at: Instant) -> State:
    """Make ``event`` true in ``state`` (the same object is returned).

    Raises :class:`InternalError` where the event does not fit, which no event of :func:`decide` can.
    """
    applier = _APPLIERS.get(type(event))
    if applier is None:
        raise InternalError(f"There is no rule to apply {event!r}.")
    month = state.month
    if not month.begins_wall_ms <= at.wall_ms < month.ends_wall_ms:
        meter.turn_month(state, at)
    applier(state, event, at)
    state.last = at
    return state


def _pool_started(state: State, event: e.PoolStarted, at: Instant) -> None:
    state.boot_id, state.clock_epoch_ms = event.boot_id, event.clock_epoch_ms


def _host_appeared(state: State, event: e.HostAppeared, at: Instant) -> None:
    state.hosts.setdefault(event.spec.id, Host(event.spec)).spec = event.spec
    state.cpu_milli = sum(host.spec.cpu_milli for host in state.hosts.values())
    state.memory_bytes = sum(host.spec.memory_bytes for host in state.hosts.values())


def _device_appeared(state: State, event: e.DeviceAppeared, at: Instant) -> None:
    device = state.devices.setdefault(event.spec.id, Device(event.spec))
    device.spec, device.present = event.spec, True


def _device_vanished(state: State, event: e.DeviceVanished, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.present = False
    if not device.lease_ids:
        _forget_device(state, event.device_id)


def _forget_device(state: State, device_id: str) -> None:
    del state.devices[device_id]
    state.suspect.pop(device_id, None)


def _device_health_changed(state: State, event: e.DeviceHealthChanged, at: Instant) -> None:
    device = state.devices[event.device_id]
    device.health, device.health_reason, device.fault_code = event.health, event.reason, event.fault_code
    if event.health is Health.SUSPECT:
        state.suspect[event.device_id] = None
    else:
        state.suspect.pop(event.device_id, None)


def _device_drained(state: State, event: e.DeviceDrained, at: Instant) -> None:
    state.devices[event.device_id].drained = event.drained


def _device_unclean(state: State, event: e.DeviceScrubPendingSet, at: Instant) -> None:
    if event.device_id in state.devices:  # it may have gone meanwhile
        state.devices[event.device_id].scrub_pending = event.reason


def _policy_set(state: State, event: e.PolicySet, at: Instant) -> None:
    state.policy = event.policy


def _tenant_set(state: State, event: e.TenantSet, at: Instant) -> None:
    tenant = fairshare.tenant_of(state, event.tenant)
    fairshare.settle(state, tenant, at.ms)
    tenant.weight, tenant.limit_milli = event.weight, event.limit_milli
    tenant.guaranteed_milli = event.guaranteed_milli
    fairshare.join(state, event.tenant, event.group, at.ms)


def _group_set(state: State, event: e.GroupSet, at: Instant) -> None:
    group = fairshare.group_of(state, event.group)
    fairshare.settle(state, group, at.ms)
    group.weight, group.limit_milli, group.guaranteed_milli = event.weight, event.limit_milli, event.guaranteed_milli


def _budget_set(state: State, event: e.BudgetSet, at: Instant) -> None:
    tenant = fairshare.tenant_of(state, event.tenant)
    tenant.budget_micro, tenant.budget_policy = event.budget_micro, event.policy
    passed = budgets.threshold(meter.spent_micro(state, event.tenant, at), event.budget_micro)
    tenant.budget_percent = min(tenant.budget_percent, passed)


def _budget_passed(state: State, event: e.BudgetThresholdPassed, at: Instant) -> None:
    state.tenants[event.tenant].budget_percent = event.percent


def _lease_budget_set(state: State, event: e.LeaseBudgetSet, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.request = replace(lease.request, budget_micro=event.budget_micro)
    if event.budget_micro is None:
        state.budgeted.pop(lease.id, None)
    else:
        state.budgeted[lease.id] = None
    passed = budgets.threshold(meter.cost_micro(lease, at.ms), event.budget_micro)
    lease.budget_percent = min(lease.budget_percent, passed)


def _lease_budget_passed(state: State, event: e.LeaseBudgetThresholdPassed, at: Instant) -> None:
    _move(state, event.lease_id, event).budget_percent = event.percent


def _month_began(state: State, event: e.MonthBegan, at: Instant) -> None:
    """The time of its record has turned the month already."""


def _reservation(state: State, event: e.ReservationMade | e.ReservationBegan | e.ReservationEnded, at: Instant) -> None:
    one = reservation_coverage.after(state.reservations.get(event.reservation_id), event, at)
    state.reservations[one.id] = one
    tenant = fairshare.tenant_of(state, one.tenant)
    tenant.reserved_milli = sum(other.milli for other in meter.running(state, one.tenant))
    meter.recut(state, one.tenant, at.ms)


def _lease_requested(state: State, event: e.LeaseRequested, at: Instant) -> None:
    if event.lease_id in state.leases:
        raise InternalError(f"Lease {event.lease_id} was requested twice.")
    state.arrivals += 1
    lease = state.leases[event.lease_id] = Lease(
        id=event.lease_id,
        tenant=event.tenant,
        request=event.request,
        holder=event.holder,
        token_sha256=event.token_sha256,
        arrival=state.arrivals,
        requested_at=at,
        waiting_since=at,
        grants_before=state.generations,
    )
    state.queue[lease.id] = None
    expires_ms = lease.expires_ms
    if expires_ms is not None:
        state.expiring[lease.id] = expires_ms
    if lease.request.budget_micro is not None:
        state.budgeted[lease.id] = None
    _remember(state, event.request)
    fairshare.wait(state, event.tenant, at.ms)
    state.tenants[event.tenant].leases += 1


def _remember(state: State, request: LeaseRequest) -> None:
    size = request.profile or f"{request.memory_bytes}B"
    state.recent_requests.append((size, request.cpu_milli, request.host_memory_bytes))
    if len(state.recent_requests) >= RECENT_REQUESTS_MAX:
        del state.recent_requests[: RECENT_REQUESTS_MAX // 2]


def _lease_granted(state: State, event: e.LeaseGranted | e.LeaseResuming, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    del state.queue[lease.id]
    fairshare.served(state, lease.tenant, at.ms)
    state.expiring.pop(lease.id, None)
    gpu = event.logical_gpu
    lease.logical_gpu, lease.granted_at = gpu, at
    state.generations = gpu.generation
    _take(state, lease, gpu, at)


def _lease_prepared(state: State, event: e.LeasePrepared | e.LeaseResumed, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    _drop_image(state, lease)
    if event.driver_handle and lease.logical_gpu is not None:
        lease.logical_gpu = replace(lease.logical_gpu, driver_handle=event.driver_handle)
    lease.limit_detail = None
    lease.scrub = lease.scrub_bytes = lease.scrub_detail = None
    lease.resize_unacknowledged = (
        lease.resize_unacknowledged and lease.logical_gpu is not None and resize.is_told(lease.logical_gpu)
    )
    lease.prepare_attempts, lease.prepare_failure = 0, None
    lease.last_activity_ms = at.ms
    meter.open_segment(state, lease, at.ms)


def _lease_not_prepared(state: State, event: e.LeasePrepareFailed, at: Instant) -> None:
    """It waits where it stood, as if it had not been granted, but that it was tried."""
    lease = _move(state, event.lease_id, event)
    gpu, lease.logical_gpu = lease.logical_gpu, None
    assert gpu is not None
    lease.prepare_attempts, lease.prepare_failure = lease.prepare_attempts + 1, event.detail
    if not lease.metered_ms:  # it was never ready
        lease.granted_at = None
    _stand_where_it_stood(state, lease)
    expires_ms = lease.expires_ms
    if expires_ms is not None:
        state.expiring[lease.id] = expires_ms
    fairshare.wait(state, lease.tenant, at.ms)  # before it gives anything back, so that its tenant's turn is not over
    _give_back(state, lease, gpu, at)


def _stand_where_it_stood(state: State, lease: Lease) -> None:
    state.queue[lease.id] = None
    in_order = sorted(state.queue, key=lambda lease_id: state.leases[lease_id].arrival)
    state.queue.clear()
    state.queue.update(dict.fromkeys(in_order))


def _lease_limited(state: State, event: e.LeaseLimitSet, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    assert lease.logical_gpu is not None
    lease.logical_gpu = replace(lease.logical_gpu, enforcement=event.enforcement, driver_handle=event.driver_handle)
    lease.limit_detail = event.detail


def _lease_over_limit(state: State, event: e.LeaseOverLimit, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.over_limit_bytes = at.ms, event.used_bytes


def _lease_within_limit(state: State, event: e.LeaseWithinLimit, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.over_limit_bytes, lease.over_limit_parks = None, 0, 0


def _lease_retained(state: State, event: e.LeaseRetentionSet, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.request = replace(lease.request, retention=event.retention)


def _lease_used(state: State, event: e.LeaseActivityReported, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.reports_activity, lease.busy, lease.last_activity_ms = True, event.busy, at.ms


def _lease_faulted(state: State, event: e.LeaseFaulted, at: Instant) -> None:
    _move(state, event.lease_id, event).fault = event.detail


def _lease_parking(state: State, event: e.LeaseParking, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    meter.close_segment(state, lease, at.ms)
    gpu = lease.logical_gpu
    assert gpu is not None
    spec = state.devices[gpu.device_id].spec
    lease.park_reason, lease.migration_requested = event.reason, False
    lease.over_limit_since_ms, lease.over_limit_parks = (
        None,
        lease.over_limit_parks + (event.reason is ParkReason.OVER_LIMIT),
    )
    lease.image = Image(lease.holder, spec.model, spec.memory_bytes, gpu.device_ids)
    # At most; what it really is, is known when it is done.
    moved = event.reason is not ParkReason.RESTART
    _set_parked_bytes(state, lease, parkability.parking_host_bytes(state, lease) if moved else 0)


def _lease_parked(state: State, event: e.LeaseParked, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    gpu, lease.logical_gpu = lease.logical_gpu, None
    assert gpu is not None
    _give_back(state, lease, gpu, at)
    _set_parked_bytes(state, lease, event.host_memory_bytes)
    lease.scrub, lease.scrub_bytes, lease.scrub_detail = event.scrub, event.scrub_bytes, event.scrub_detail


def _lease_not_parked(state: State, event: e.LeaseParkFailed, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    _drop_image(state, lease)
    lease.park_failure = event.detail
    meter.open_segment(state, lease, at.ms)


def _lease_wanted(state: State, event: e.LeaseResumeRequested, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.waiting_since, lease.grants_before = at, state.generations
    if lease.park_reason in RELOCATING:
        lease.grants_before -= GRANTS_TO_OVERTAKE_ALL  # it made room or had to go, and must not lose its turn by that
    if lease.park_reason is ParkReason.RESTART:
        _stand_where_it_stood(state, lease)  # it takes anything, so who came after it may want the same
    else:
        state.arrivals += 1
        lease.arrival = state.arrivals
        state.queue[lease.id] = None
    fairshare.wait(state, lease.tenant, at.ms)


def _drop_image(state: State, lease: Lease) -> None:
    lease.image = None
    if lease.parked_bytes:
        _set_parked_bytes(state, lease, 0)


def _set_parked_bytes(state: State, lease: Lease, memory_bytes: int) -> None:
    state.parked_bytes += memory_bytes - lease.parked_bytes
    lease.parked_bytes = memory_bytes


def _holder_bound(state: State, event: e.HolderBound, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.holder, lease.reports_activity, lease.busy, lease.fault = event.holder, False, False, None
    lease.resize_unacknowledged, lease.libraries_needing_restart = False, ()


def _lease_resized(state: State, event: e.LeaseResized, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    if event.logical_gpu is None or lease.logical_gpu is None:
        lease.request = event.request
        lease.resize_unacknowledged = lease.has_image
        return
    lease.resize_unacknowledged = lease.resize_unacknowledged or resize.is_told_anew(
        lease.logical_gpu, event.logical_gpu
    )
    meter.close_segment(state, lease, at.ms)  # at the old rate
    _give_back(state, lease, lease.logical_gpu, at)
    lease.request, lease.logical_gpu = event.request, event.logical_gpu
    _take(state, lease, event.logical_gpu, at)
    meter.open_segment(state, lease, at.ms)


def _lease_libraries_told(state: State, event: e.LeaseResizeAcknowledged, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.resize_unacknowledged, lease.libraries_needing_restart = False, event.libraries_needing_restart


def _lease_moving(state: State, event: e.LeaseMigrationRequested, at: Instant) -> None:
    _move(state, event.lease_id, event).migration_requested = True


def _lease_transferred(state: State, event: e.LeaseTransferred, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    gpu, active = lease.logical_gpu, lease.state is LeaseState.ACTIVE
    meter.close_segment(state, lease, at.ms)
    if gpu is not None:
        _give_back(state, lease, gpu, at)
    else:
        fairshare.leave(state, lease.tenant, at.ms)
        fairshare.wait(state, event.tenant, at.ms)
    state.tenants[lease.tenant].leases -= 1
    fairshare.tenant_of(state, event.tenant).leases += 1
    lease.tenant = event.tenant
    if gpu is not None:
        _take(state, lease, gpu, at)
    if active:
        meter.open_segment(state, lease, at.ms)


def _lease_draining(state: State, event: e.LeaseDraining, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.over_limit_since_ms, lease.migration_requested = None, False
    meter.close_segment(state, lease, at.ms)
    _drop_image(state, lease)
    lease.end_reason, lease.end_detail = event.reason, event.detail


def _lease_ended(state: State, event: e.LeaseEnded, at: Instant) -> None:
    lease = _move(state, event.lease_id, event)
    lease.end_reason, lease.end_detail, lease.ended_at = event.reason, event.detail, at
    if event.scrub is not None:  # else it had no device, or that was known when it was parked
        lease.scrub, lease.scrub_bytes, lease.scrub_detail = event.scrub, event.scrub_bytes, event.scrub_detail
    if lease.id in state.queue:
        del state.queue[lease.id]
        fairshare.leave(state, lease.tenant, at.ms)
        state.expiring.pop(lease.id, None)
    if state.budgeted:
        state.budgeted.pop(lease.id, None)
    state.ended[lease.id] = None
    state.tenants[lease.tenant].leases -= 1
    _drop_image(state, lease)
    if lease.logical_gpu is not None:
        _give_back(state, lease, lease.logical_gpu, at)


def _take(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    held_milli = 0
    for device, memory_bytes in _parts(state, gpu):
        device.lease_ids[lease.id] = None
        device.promised_bytes += memory_bytes
        held_milli += _milli(device, memory_bytes) if gpu.partition is None else gpu.partition.milli
        if gpu.whole:
            device.whole_lease_id = lease.id
        if gpu.partition is not None:
            device.partitions[lease.id] = gpu.partition
    taken = fairshare.ResourceAmounts(held_milli, lease.request.cpu_milli, lease.request.host_memory_bytes)
    _hold(state, lease, taken, gpu.host_id, at)


def _give_back(state: State, lease: Lease, gpu: LogicalGPU, at: Instant) -> None:
    held_milli = 0
    for device, memory_bytes in _parts(state, gpu):
        del device.lease_ids[lease.id]
        device.promised_bytes -= memory_bytes
        held_milli += _milli(device, memory_bytes) if gpu.partition is None else gpu.partition.milli
        if device.whole_lease_id == lease.id:
            device.whole_lease_id = None
        device.partitions.pop(lease.id, None)
        if not device.present and not device.lease_ids:
            _forget_device(state, device.spec.id)
    given = fairshare.ResourceAmounts(-held_milli, -lease.request.cpu_milli, -lease.request.host_memory_bytes)
    _hold(state, lease, given, gpu.host_id, at)


def _hold(state: State, lease: Lease, change: fairshare.ResourceAmounts, host_id: str, at: Instant) -> None:
    """Enter a change in the books of tenant and host."""
    host = state.hosts.get(host_id)
    if host is not None:
        host.held_cpu_milli += change.cpu_milli
        host.held_memory_bytes += change.memory_bytes
    fairshare.hold(state, lease.tenant, change, at.ms)


def _parts(state: State, gpu: LogicalGPU) -> list[tuple[Device, int]]:
    """The devices of a logical GPU and what it has of each."""
    if not gpu.more_device_ids:
        return [(state.devices[gpu.device_id], gpu.memory_bytes)]
    devices = [state.devices[device_id] for device_id in gpu.device_ids]
    return [(device, device.spec.memory_bytes) for device in devices]


def _milli(device: Device, memory_bytes: int) -> int:
    return -(-memory_bytes * 1000 // device.spec.memory_bytes)


def _lease_forgotten(state: State, event: e.LeaseForgotten, at: Instant) -> None:
    del state.leases[event.lease_id]
    state.ended.pop(event.lease_id, None)


def _ticked(state: State, event: e.Ticked, at: Instant) -> None:
    """Only the time of its record matters."""


def _move(state: State, lease_id: str, event: Event) -> Lease:
    lease = state.leases[lease_id]
    before = lease.state
    after = lease.state = next_state(lease, event)
    lease.version += 1
    if after is not before and lease.logical_gpu is not None:
        leaves = (after in RELEASING_CAPACITY) - (before in RELEASING_CAPACITY)
        if leaves:
            for device, memory_bytes in _parts(state, lease.logical_gpu):
                device.releasing_bytes += leaves * memory_bytes
    return lease


_APPLIERS: dict[type[Event], Callable[[State, Any, Instant], None]] = {
    e.PoolStarted: _pool_started,
    e.HostAppeared: _host_appeared,
    e.DeviceAppeared: _device_appeared,
    e.DeviceVanished: _device_vanished,
    e.DeviceHealthChanged: _device_health_changed,
    e.DeviceDrained: _device_drained,
    e.DeviceScrubPendingSet: _device_unclean,
    e.TenantSet: _tenant_set,
    e.GroupSet: _group_set,
    e.PolicySet: _policy_set,
    e.BudgetSet: _budget_set,
    e.BudgetThresholdPassed: _budget_passed,
    e.MonthBegan: _month_began,
    e.ReservationMade: _reservation,
    e.ReservationBegan: _reservation,
    e.ReservationEnded: _reservation,
    e.LeaseBudgetSet: _lease_budget_set,
    e.LeaseBudgetThresholdPassed: _lease_budget_passed,
    e.LeaseRequested: _lease_requested,
    e.LeaseGranted: _lease_granted,
    e.LeasePrepared: _lease_prepared,
    e.LeasePrepareFailed: _lease_not_prepared,
    e.LeaseLimitSet: _lease_limited,
    e.LeaseOverLimit: _lease_over_limit,
    e.LeaseWithinLimit: _lease_within_limit,
    e.LeaseRetentionSet: _lease_retained,
    e.LeaseActivityReported: _lease_used,
    e.LeaseFaulted: _lease_faulted,
    e.LeaseParking: _lease_parking,
    e.LeaseParked: _lease_parked,
    e.LeaseParkFailed: _lease_not_parked,
    e.LeaseResumeRequested: _lease_wanted,
    e.LeaseResuming: _lease_granted,
    e.LeaseResumed: _lease_prepared,
    e.HolderBound: _holder_bound,
    e.LeaseResized: _lease_resized,
    e.LeaseResizeAcknowledged: _lease_libraries_told,
    e.LeaseMigrationRequested: _lease_moving,
    e.LeaseTransferred: _lease_transferred,
    e.LeaseDraining: _lease_draining,
    e.LeaseEnded: _lease_ended,
    e.LeaseForgotten: _lease_forgotten,
    e.Ticked: _ticked,
}
