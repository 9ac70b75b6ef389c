"""What an event changes in the state. This module is a table; each applier is with its subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InternalError
from .accounting import budgets, changes, meter, reservations, tenants
from .lease import (
    budget,
    cluster,
    cpu_meanwhile,
    device_health,
    ending,
    grant,
    growth,
    history,
    holder,
    idle,
    memory_limit,
    migration,
    parking,
    preparation,
    presence,
    rename,
    request,
    resize,
    startup,
    timer,
    transfer,
    unaccounted_memory,
    use,
)
from .model import events as e
from .model.entities import Instant, State
from .model.events import Event
from .placement import inventory

APPLIERS: dict[type[Event], Callable[[State, Any, Instant], None]] = {
    e.PoolStarted: startup.apply_started,
    e.HostAppeared: inventory.apply_host,
    e.DeviceAppeared: presence.apply_appeared,
    e.DeviceMissing: presence.apply_missing,
    e.DeviceVanished: inventory.apply_device_vanished,
    e.DeviceHealthChanged: device_health.apply_health,
    e.DeviceDrained: inventory.apply_drained,
    e.DeviceScrubPendingSet: inventory.apply_scrub_pending,
    e.DeviceMemoryAssessed: unaccounted_memory.apply_assessed,
    e.TenantSet: tenants.apply_tenant,
    e.TenantNamed: tenants.apply_named,
    e.GroupSet: tenants.apply_group,
    e.PolicySet: parking.apply_policy,
    e.BudgetSet: budgets.apply_budget,
    e.BudgetThresholdPassed: budgets.apply_threshold_passed,
    e.MonthBegan: meter.apply_month,
    e.ReservationMade: reservations.apply_reservation,
    e.ReservationBegan: reservations.apply_reservation,
    e.ReservationEnded: reservations.apply_reservation,
    e.LeaseBudgetSet: budget.apply_budget,
    e.LeaseBudgetThresholdPassed: budget.apply_threshold_passed,
    e.LeaseRequested: request.apply_requested,
    e.LeaseGranted: grant.apply_granted,
    e.LeasePrepared: preparation.apply_prepared,
    e.LeasePrepareFailed: preparation.apply_prepare_failed,
    e.LeaseLimitSet: memory_limit.apply_limit,
    e.LeaseOverLimit: memory_limit.apply_over_limit,
    e.LeaseWithinLimit: memory_limit.apply_within_limit,
    e.LeaseRetentionSet: parking.apply_retention,
    e.LeaseCpuMeanwhileSet: cpu_meanwhile.apply_set,
    e.LeaseActivityReported: holder.apply_activity,
    e.LeaseGPUIdle: idle.apply_gpu_idle,
    e.LeaseGPUUsed: idle.apply_gpu_used,
    e.LeaseIdleWarned: idle.apply_warned,
    e.LeaseIdleStepTaken: idle.apply_step_taken,
    e.LeaseSnoozed: idle.apply_snoozed,
    e.LeaseUseRecorded: use.apply_recorded,
    e.AdviceSilenced: use.apply_silenced,
    e.LeaseFaulted: device_health.apply_fault,
    e.LeaseParking: parking.apply_parking,
    e.LeaseParked: parking.apply_parked,
    e.LeaseParkFailed: parking.apply_park_failed,
    e.LeaseResumeRequested: parking.apply_resume_requested,
    e.LeaseResumeWithdrawn: parking.apply_resume_withdrawn,
    e.LeaseResuming: grant.apply_granted,
    e.LeaseResumePostponed: parking.apply_resume_postponed,
    e.LeaseResumed: preparation.apply_prepared,
    e.HolderBound: holder.apply_bound,
    e.LeaseResized: resize.apply_resized,
    e.LeaseResizeDeferred: growth.apply_deferred,
    e.LeaseResizeDropped: growth.apply_dropped,
    e.LeaseResizeAcknowledged: resize.apply_acknowledged,
    e.LeaseMigrationRequested: migration.apply_requested,
    e.LeaseRenamed: rename.apply_renamed,
    e.LeaseTransferred: transfer.apply_transferred,
    e.LeaseJobSubmitted: cluster.apply_submitted,
    e.LeaseTimeLimitSet: cluster.apply_time_limit,
    e.LeaseOrphaned: cluster.apply_orphaned,
    e.LeaseDraining: ending.apply_draining,
    e.LeaseEnded: ending.apply_ended,
    e.LeaseForgotten: history.apply_forgotten,
    e.ChangeCounted: changes.apply_counted,
    e.Ticked: timer.apply_tick,
}


def apply(state: State, event: Event, at: Instant) -> State:
    """Make ``event`` true in ``state``, and return the same object. Nothing else changes a state.

    Raises :class:`InternalError` where the event does not fit, which no event of :func:`.decide.decide` can.
    """
    applier = APPLIERS.get(type(event))
    if applier is None:
        raise InternalError(f"There is no rule to apply {event!r}.")
    month = state.month
    if not month.begins_wall_ms <= at.wall_ms < month.ends_wall_ms:
        meter.turn_month(state, at)
    applier(state, event, at)
    state.last = at
    return state
