"""What follows from a command: events, or a typed refusal. Pure: the state is read and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from ..errors import Conflict, InternalError, InvalidRequest, Message, NotFound
from .accounting import budgets, meter, reservations
from .lease import device_health, memory_limit, migration, preparation, resize
from .lease.transition import find_granted
from .model import commands as c
from .model import events as e
from .model.entities import (
    RELOCATING,
    Device,
    DeviceSpec,
    EndReason,
    Instant,
    Lease,
    ParkReason,
    PartitionProfile,
    Retention,
    State,
    requirements_of,
)
from .model.events import Event
from .model.lifecycle import EXPOSED_TO_FAULTS, OVER, PARKED_OR_PARKING, WITHOUT_CAPACITY, LeaseState
from .model.size import Size
from .placement import device_share, eligibility, logical_gpus, mechanisms, mig_partitions, parkability, refusals

#: How long a lease that ended stays in the state, so that people see what it cost.
REMEMBER_ENDED_MS = 3_600_000
#: How many of them stay at most: a program that asks in a loop must not slow every view down.
REMEMBER_ENDED_MAX = 1000
#: A new lease makes so many be forgotten, and a tick so many more: no command has many to forget.
FORGET_AT_REQUEST, FORGET_AT_TICK = 2, 16
#: How much a sudden reboot can leave unbilled.
TICK_MS = 60_000
WEIGHT_MAX = 1_000_000


def decide(state: State, command: c.Command, at: Instant) -> list[Event]:
    """What follows from ``command`` alone. Pure. Raises a typed refusal where it cannot be."""
    decider = _DECIDERS.get(type(command))
    if decider is None:
        raise InternalError(f"There is no rule for {command!r}.")
    return decider(state, command, at)


def _start_pool(state: State, command: c.StartPool, at: Instant) -> list[Event]:
    if command.boot_id == state.boot_id:
        return [e.PoolStarted(command.boot_id, state.clock_epoch_ms)]
    # No process survives a reboot: every lease ended when the journal last heard of it, and time goes on from there.
    started = e.PoolStarted(command.boot_id, command.boot_clock_ms - state.last.ms)
    events: list[Event] = [started, *device_health.rebooted(state)]
    for lease in state.leases.values():
        if lease.state in EXPOSED_TO_FAULTS:
            events.append(e.LeaseDraining(lease.id, EndReason.HOLDER_DIED, Message.of("end.machine_restarted")))
        elif lease.state in WITHOUT_CAPACITY:
            events.append(e.LeaseEnded(lease.id, EndReason.HOLDER_DIED, Message.of("end.machine_restarted")))
    return events


def _set_devices(state: State, command: c.SetDevices, at: Instant) -> list[Event]:
    shown = {spec.id: spec for spec in command.specs}
    present = [device for device in state.devices.values() if device.present]
    # Divided while it was leased whole, or the other way: the device that was leased is no more.
    switched = [device for device in present if device.lease_ids and _is_switched(device, shown.get(device.spec.id))]
    gone = [device for device in present if device.spec.id not in shown] + switched
    # A lease of several devices is lost with the first of them, once.
    lost = dict.fromkeys(lease_id for device in gone for lease_id in device.lease_ids)
    leases = [state.leases[lease_id] for lease_id in lost]
    switched_message = Message.of("end.mig_switched")
    of_switched = {lease_id for device in switched for lease_id in device.lease_ids}
    events: list[Event] = [
        e.LeaseDraining(lease.id, EndReason.DEVICE_LOST, switched_message if lease.id in of_switched else None)
        for lease in leases
        if lease.state is not LeaseState.DRAINING
    ]
    events += [e.DeviceVanished(device.spec.id) for device in gone]
    for host in command.hosts:
        known_host = state.hosts.get(host.id)
        if known_host is None or known_host.spec != host:
            events.append(e.HostAppeared(host))
    for spec in command.specs:
        known = state.devices.get(spec.id)
        if known is not None and known.lease_ids and _counts(known.spec) != _counts(spec):
            continue  # a driver that counts differently: what is promised of it stands until it is empty
        if known is None or not known.present or known.spec != spec:
            events.append(e.DeviceAppeared(spec))
    return events


def _is_switched(device: Device, now: DeviceSpec | None) -> bool:
    return now is not None and mig_partitions.is_partitioned(device.spec) != mig_partitions.is_partitioned(now)


def _counts(spec: DeviceSpec) -> tuple[int, tuple[PartitionProfile, ...]]:
    return spec.memory_bytes, spec.profiles


def _drain_device(state: State, command: c.DrainDevice, at: Instant) -> list[Event]:
    device = device_health.find_device(state, command.device_id)
    events: list[Event] = []
    if device.drained != command.drained:
        events.append(e.DeviceDrained(command.device_id, command.drained))
    if not command.drained and device.scrub_pending is not None:  # an administrator goes on without
        events.append(e.DeviceScrubPendingSet(command.device_id, None))
    return events


def _set_unclean(state: State, command: c.ReportScrubFailure, at: Instant) -> list[Event]:
    device = state.devices.get(command.device_id)
    if device is None or device.scrub_pending == command.reason:
        return []
    return [e.DeviceScrubPendingSet(command.device_id, command.reason)]


def _set_tenant(state: State, command: c.SetTenant, at: Instant) -> list[Event]:
    _require_entitlement(command)
    event = e.TenantSet(
        command.tenant, command.weight, command.limit_milli, command.guaranteed_milli, command.group or None
    )
    known = state.tenants.get(command.tenant)
    if known is not None and event == e.TenantSet(
        command.tenant, known.weight, known.limit_milli, known.guaranteed_milli, known.group
    ):
        return []
    return [event]


def _set_group(state: State, command: c.SetGroup, at: Instant) -> list[Event]:
    _require_entitlement(command)
    event = e.GroupSet(command.group, command.weight, command.limit_milli, command.guaranteed_milli)
    known = state.groups.get(command.group)
    if known is not None and event == e.GroupSet(
        command.group, known.weight, known.limit_milli, known.guaranteed_milli
    ):
        return []
    return [event]


def _require_entitlement(command: c.SetTenant | c.SetGroup) -> None:
    if not 1 <= command.weight <= WEIGHT_MAX:
        raise InvalidRequest(Message.of("tenant.weight_out_of_range", weight_max=WEIGHT_MAX))
    if command.guaranteed_milli < 0 or (command.limit_milli is not None and command.limit_milli < 0):
        raise InvalidRequest(Message.of("tenant.quota_negative"))
    if command.limit_milli is not None and command.guaranteed_milli > command.limit_milli:
        raise InvalidRequest(Message.of("tenant.guarantee_above_limit"))


def _request_lease(state: State, command: c.RequestLease, at: Instant) -> list[Event]:
    command.request.validate()
    requirements = requirements_of(command.request)
    refusals.require_satisfiable(state, requirements)
    tenant = state.tenants.get(command.tenant)
    if tenant is not None and tenant.limit_milli is not None:
        wanted = eligibility.nominal_milli(state, requirements)
        if wanted > tenant.limit_milli:
            raise InvalidRequest(
                Message.of(
                    "request.above_quota",
                    size=command.request.name,
                    requested_milli=wanted,
                    tenant=command.tenant,
                    limit_milli=tenant.limit_milli,
                )
            )
    return [
        e.LeaseRequested(command.lease_id, command.tenant, command.request, command.holder, command.token_sha256),
        *islice(_stale(state, at), FORGET_AT_REQUEST),
    ]


def _bind_holder(state: State, command: c.BindHolder, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    if lease.holder == command.holder:
        return []
    return [*migration.rebound(state, lease), e.HolderBound(lease.id, command.holder)]


def _move_lease(state: State, command: c.MigrateLease, at: Instant) -> list[Event]:
    return migration.move(state, _live(state, command.lease_id))


def _resize_lease(state: State, command: c.ResizeLease, at: Instant) -> list[Event]:
    lease = find_lease(state, command.lease_id)
    request = resize.request_of(lease, command.profile)
    size = request.size
    if lease.has_image:
        return resize.resize_parked(state, lease, request, at)
    if lease.state is LeaseState.WAITING:
        refusals.require_satisfiable(state, lease.requirements._replace(size=size))
        return [] if size == lease.request.size else [e.LeaseResized(lease.id, request, None)]
    if lease.state is not LeaseState.ACTIVE or lease.logical_gpu is None:
        raise Conflict(Message.of("resize.wrong_state", state=lease.state.value))
    if size == lease.request.size:
        return []
    devices = refusals.require_resizable(state, lease, size)
    gpu = logical_gpus.make_logical_gpu(
        refusals.live_resize_requirements(lease, size), devices, lease.logical_gpu.generation
    )
    gpu = replace(gpu, driver_handle=lease.logical_gpu.driver_handle)  # which is still there
    if command.used_bytes is not None and command.used_bytes > gpu.memory_bytes:
        raise Conflict(
            Message.of(
                "resize.memory_in_use", used_bytes=command.used_bytes, limit_bytes=gpu.memory_bytes, size=str(size)
            )
        )
    _require_within_limit(state, lease, device_share.milli(size, devices))
    if lease.requirements.non_preemptible:
        _require_not_reserved_by_others(state, lease, size)
    return [e.LeaseResized(lease.id, request, gpu)]


def _require_within_limit(state: State, lease: Lease, wanted_milli: int) -> None:
    tenant = state.tenants.get(lease.tenant)
    if tenant is None or tenant.limit_milli is None:
        return
    held = device_share.milli(lease.request.size, device_share.devices_of(state, lease))
    if tenant.held_milli - held + wanted_milli > tenant.limit_milli:
        raise Conflict(Message.of("resize.above_quota", tenant=lease.tenant, limit_milli=tenant.limit_milli))


def _transfer_lease(state: State, command: c.TransferLease, at: Instant) -> list[Event]:
    lease = find_lease(state, command.lease_id)
    if lease.state not in (LeaseState.WAITING, LeaseState.ACTIVE):
        raise Conflict(Message.of("transfer.wrong_state", state=lease.state.value))
    if lease.tenant == command.tenant:
        return []
    if lease.logical_gpu is not None and lease.logical_gpu.owner_uid is not None:
        raise Conflict(Message.of("transfer.mps"))
    return [e.LeaseTransferred(lease.id, command.tenant)]


def _retain_lease(state: State, command: c.SetRetention, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    if lease.request.retention is command.retention:
        return []
    if lease.logical_gpu is not None and command.retention is Retention.HOLD:
        _require_not_reserved_by_others(state, lease, lease.request.size)
    return [e.LeaseRetentionSet(lease.id, command.retention)]


def _require_not_reserved_by_others(state: State, lease: Lease, size: Size) -> None:
    """Raise where the lease, of that size, would have for good what is reserved for others."""
    request = replace(lease.request, profile=str(size), memory_bytes=None, retention=Retention.HOLD)
    held = replace(lease, request=request)
    if not reservations.ReservationGuard(state, but=lease.id).leaves_room(held, device_share.devices_of(state, lease)):
        raise Conflict(Message.of("reservation.capacity_borrowed"))


def _use_lease(state: State, command: c.ReportActivity, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    known = lease.reports_activity and lease.busy == command.busy
    events: list[Event] = [] if known else [e.LeaseActivityReported(lease.id, command.busy)]
    wakes = command.busy and lease.state is LeaseState.PARKED and not budgets.is_spent(lease, at.ms)
    return [*events, e.LeaseResumeRequested(lease.id)] if wakes else events


def _park_lease(state: State, command: c.ParkLease, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    if lease.state in PARKED_OR_PARKING:
        return []
    refusal = parkability.park_refusal(state, lease)
    if refusal is not None:
        raise Conflict(Message.of("parking.refused", reason=refusal))
    return [e.LeaseParking(lease.id, ParkReason.REQUESTED)]


def _resume_lease(state: State, command: c.ResumeLease, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    if lease.state is not LeaseState.PARKED:
        return []
    if budgets.is_spent(lease, at.ms):
        raise Conflict(Message.of("resume.budget_spent"))
    return [e.LeaseResumeRequested(lease.id)]


def _set_lease_budget(state: State, command: c.SetLeaseBudget, at: Instant) -> list[Event]:
    lease = _live(state, command.lease_id)
    budget = command.budget_micro
    if budget is not None and budget <= meter.cost_micro(lease, at.ms):
        raise InvalidRequest(Message.of("budget.below_cost"))
    if lease.request.budget_micro == budget:
        return []
    stopped = lease.state is LeaseState.PARKED and budgets.is_spent(lease, at.ms)
    wakes = stopped and (lease.busy or not lease.reports_activity)
    event = e.LeaseBudgetSet(lease.id, budget)
    return [event, e.LeaseResumeRequested(lease.id)] if wakes else [event]


def _set_policy(state: State, command: c.SetPolicy, at: Instant) -> list[Event]:
    return [] if state.policy == command.policy else [e.PolicySet(command.policy)]


def _release_lease(state: State, command: c.ReleaseLease, at: Instant) -> list[Event]:
    return _over(find_lease(state, command.lease_id), command.reason)


def _holder_ended(state: State, command: c.HolderEnded, at: Instant) -> list[Event]:
    lease = state.leases.get(command.lease_id)
    if lease is None or lease.holder != command.holder:
        return []
    return _over(lease, EndReason.HOLDER_DIED)


def _park_succeeded(state: State, command: c.ParkSucceeded, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.PARKING)
    if lease is None:
        return []
    parked: list[Event] = [e.LeaseParked(lease.id, command.host_memory_bytes, *(command.scrub_result or ()))]
    # A cell runs or began meanwhile, or its process could not say so: it waits to go on, as one that comes now.
    stays = lease.park_reason in (ParkReason.REQUESTED, ParkReason.OVER_LIMIT)
    goes_on = not stays and (lease.busy or not lease.reports_activity)
    goes_on = goes_on or lease.park_reason in RELOCATING
    return [*parked, e.LeaseResumeRequested(lease.id)] if goes_on and not budgets.is_spent(lease, at.ms) else parked


def _park_failed(state: State, command: c.ParkFailed, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.PARKING)
    if lease is None:
        return []
    stays = e.LeaseParkFailed(lease.id, command.detail)
    return (
        [stays, e.LeaseFaulted(lease.id, Message.of("parking.broke_process", detail=command.detail))]
        if command.broken
        else [stays]
    )


def _resume_succeeded(state: State, command: c.ResumeSucceeded, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.RESUMING)
    return [e.LeaseResumed(lease.id, command.driver_handle)] if lease else []


def _limit_set(state: State, command: c.LimitSet, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.ACTIVE)
    if lease is None or lease.logical_gpu is None:
        return []
    gpu = lease.logical_gpu
    if command.memory_bytes not in (None, gpu.memory_bytes):
        # It was given another size meanwhile: what was made is there, and is asked to be what it should be now.
        made = e.LeaseLimitSet(lease.id, gpu.enforcement, command.driver_handle, lease.limit_detail)
        return [] if gpu.driver_handle == command.driver_handle else [made]
    if (gpu.enforcement, gpu.driver_handle) == (command.enforcement, command.driver_handle):
        return []
    limited = e.LeaseLimitSet(lease.id, command.enforcement, command.driver_handle, command.detail)
    if gpu.whole or command.enforcement in mechanisms.ENFORCED_BY[lease.request.isolation]:
        return [limited]
    # It was granted because the driver keeps its limit, and it does not: that is not passed over.
    return [limited, e.LeaseDraining(lease.id, EndReason.PREPARE_FAILED, command.detail)]


def _logical_gpu_lost(state: State, command: c.LogicalGPULost, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.ACTIVE)
    return [e.LeaseDraining(lease.id, EndReason.DEVICE_LOST, command.detail)] if lease else []


def _resume_failed(state: State, command: c.ResumeFailed, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.RESUMING)
    if lease is None:
        return []
    if not lease.has_image:  # a restart came between: there is nothing left to bring back, and the device is there
        return [e.LeaseResumed(lease.id)]
    return [e.LeaseDraining(lease.id, EndReason.RESUME_FAILED, command.detail)]


def _drain_succeeded(state: State, command: c.DrainSucceeded, at: Instant) -> list[Event]:
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.DRAINING)
    if lease is None or lease.end_reason is None:
        return []
    return [e.LeaseEnded(lease.id, lease.end_reason, lease.end_detail, *command.scrub_result)]


def _tick(state: State, command: c.Tick, at: Instant) -> list[Event]:
    stale = islice(_stale(state, at), FORGET_AT_TICK)
    expired = [
        e.LeaseEnded(lease_id, EndReason.EXPIRED)
        for lease_id, expires_ms in state.expiring.items()
        if at.ms >= expires_ms
    ]
    due = at.ms - state.last.ms >= TICK_MS
    running = due and any(tenant.active for tenant in state.tenants.values())
    events = [*stale, *expired, *reservations.due(state, at), *budgets.due(state, at)]
    if not any(isinstance(event, e.LeaseParking) for event in events):  # one reason to go is enough
        events += device_health.due(state)
    return [*events, e.Ticked()] if running else events


def _stale(state: State, at: Instant) -> Iterator[Event]:
    """What is to be forgotten: those that ended first come first."""
    for number, lease_id in enumerate(state.ended):
        ended_at = state.leases[lease_id].ended_at or at
        if len(state.ended) - number <= REMEMBER_ENDED_MAX and at.ms - ended_at.ms < REMEMBER_ENDED_MS:
            return
        yield e.LeaseForgotten(lease_id)


def _over(lease: Lease, reason: EndReason) -> list[Event]:
    if lease.state in WITHOUT_CAPACITY:
        cancelled = reason is EndReason.RELEASED and lease.granted_at is None
        return [e.LeaseEnded(lease.id, EndReason.CANCELLED if cancelled else reason)]
    if lease.state in OVER:
        return []  # release, death and revocation may race: one wins
    return [_draining(lease, reason)]


def _draining(lease: Lease, reason: EndReason) -> Event:
    return e.LeaseDraining(lease.id, reason)


def _live(state: State, lease_id: str) -> Lease:
    """The lease. Raises where it is over."""
    lease = find_lease(state, lease_id)
    if lease.state in OVER:
        raise Conflict(Message.of("lease.over"))
    return lease


def find_lease(state: State, lease_id: str) -> Lease:
    """The lease with that id. Raises :class:`NotFound`."""
    lease = state.leases.get(lease_id)
    if lease is None:
        raise NotFound(Message.of("lease.not_found", lease=repr(lease_id[:40])))
    return lease


_DECIDERS: dict[type[c.Command], Callable[[State, Any, Instant], list[Event]]] = {
    c.StartPool: _start_pool,
    c.SetDevices: _set_devices,
    c.SetHealth: device_health.set_health,
    c.ReportFault: device_health.report_fault,
    c.RestoreDevice: device_health.restore,
    c.DrainDevice: _drain_device,
    c.ReportScrubFailure: _set_unclean,
    c.SetTenant: _set_tenant,
    c.SetGroup: _set_group,
    c.SetPolicy: _set_policy,
    c.SetBudget: budgets.set_budget,
    c.SetLeaseBudget: _set_lease_budget,
    c.ReserveCapacity: reservations.reserve,
    c.CancelReservation: reservations.cancel,
    c.RequestLease: _request_lease,
    c.BindHolder: _bind_holder,
    c.ResizeLease: _resize_lease,
    c.MigrateLease: _move_lease,
    c.ReportLibraries: resize.report,
    c.TransferLease: _transfer_lease,
    c.SetRetention: _retain_lease,
    c.ReportActivity: _use_lease,
    c.ParkLease: _park_lease,
    c.ResumeLease: _resume_lease,
    c.ReleaseLease: _release_lease,
    c.HolderEnded: _holder_ended,
    c.PrepareSucceeded: preparation.succeeded,
    c.PrepareFailed: preparation.failed,
    c.ParkSucceeded: _park_succeeded,
    c.ParkFailed: _park_failed,
    c.ResumeSucceeded: _resume_succeeded,
    c.ResumeFailed: _resume_failed,
    c.LimitSet: _limit_set,
    c.ReportMemory: memory_limit.report_memory,
    c.DrainSucceeded: _drain_succeeded,
    c.LogicalGPULost: _logical_gpu_lost,
    c.Tick: _tick,
}
