"""What follows from a command: events, or a typed refusal. The state is read and never changed.

This module is a table; each decider is with its subject.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InternalError
from .accounting import budgets, changes, reservations, tenants
from .lease import (
    budget,
    cluster,
    cpu_meanwhile,
    device_health,
    ending,
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
from .model import commands as c
from .model.entities import Instant, State
from .model.events import Event
from .placement import inventory

DECIDERS: dict[type[c.Command], Callable[[State, Any, Instant], list[Event]]] = {
    c.StartPool: startup.start_pool,
    c.SetDevices: presence.set_devices,
    c.ReportNoAnswer: presence.report_no_answer,
    c.ForgetDevice: presence.forget_device,
    c.SetHealth: device_health.set_health,
    c.ReportFault: device_health.report_fault,
    c.RestoreDevice: device_health.restore,
    c.DrainDevice: inventory.drain_device,
    c.ReportScrubFailure: inventory.report_scrub_failure,
    c.ReportUnownedMemory: unaccounted_memory.report,
    c.SetTenant: tenants.set_tenant,
    c.SetGroup: tenants.set_group,
    c.SetPolicy: parking.set_policy,
    c.SetBudget: budgets.set_budget,
    c.SetLeaseBudget: budget.set_lease_budget,
    c.ReserveCapacity: reservations.reserve,
    c.CancelReservation: reservations.cancel,
    c.RequestLease: request.request_lease,
    c.BindHolder: holder.bind_holder,
    c.ResizeLease: resize.resize_lease,
    c.MigrateLease: migration.migrate_lease,
    c.ReportLibraries: resize.report,
    c.RenameLease: rename.rename_lease,
    c.TransferLease: transfer.transfer_lease,
    c.SetRetention: parking.set_retention,
    c.SetCpuMeanwhile: cpu_meanwhile.set_cpu_meanwhile,
    c.SnoozeLease: idle.snooze_lease,
    c.EndIdleLease: idle.end_idle_lease,
    c.ReportGPUUse: idle.report_gpu_use,
    c.RecordUse: use.record_use,
    c.SilenceAdvice: use.silence_advice,
    c.ReportActivity: holder.report_activity,
    c.ParkLease: parking.park_lease,
    c.ResumeLease: parking.resume_lease,
    c.ReleaseLease: ending.release_lease,
    c.HolderEnded: ending.holder_ended,
    c.PrepareSucceeded: preparation.succeeded,
    c.PrepareFailed: preparation.failed,
    c.ParkSucceeded: parking.park_succeeded,
    c.ParkFailed: parking.park_failed,
    c.ResumeSucceeded: parking.resume_succeeded,
    c.ResumeFailed: parking.resume_failed,
    c.ResumePostponed: parking.resume_postponed,
    c.LimitSet: memory_limit.limit_set,
    c.ReportMemory: memory_limit.report_memory,
    c.DrainSucceeded: ending.drain_succeeded,
    c.LogicalGPULost: ending.logical_gpu_lost,
    c.ClusterJobSubmitted: cluster.job_submitted,
    c.ClusterJobRefused: cluster.job_refused,
    c.ClusterGranted: cluster.granted,
    c.ClusterTimeSet: cluster.time_set,
    c.ClusterJobEnded: cluster.job_ended,
    c.CountChange: changes.count_change,
    c.Tick: timer.tick,
}


def decide(state: State, command: c.Command, at: Instant) -> list[Event]:
    """Return the events that follow from ``command`` alone. Raises a typed refusal where it cannot be carried out."""
    decider = DECIDERS.get(type(command))
    if decider is None:
        raise InternalError(f"There is no rule for {command!r}.")
    return decider(state, command, at)
