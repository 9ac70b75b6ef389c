"""The pool: a command is decided, its events applied, and waiting requests are served.

``decide`` reads the state and changes nothing; ``apply`` changes it and cannot fail except on a bug. ``Pool.execute``
strings them together for the runtime, which journals the events before anybody learns of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from .apply import apply
from .decide import decide
from .lease import resize
from .model import commands as c
from .model import events as e
from .model.entities import Instant, Lease, LogicalGPU, Mechanism, ParkReason, State
from .model.events import Event
from .model.lifecycle import HOLDING_CAPACITY, RELEASING_CAPACITY, LeaseState
from .placement import idleness, logical_gpus, parkability
from .scheduling import preemption
from .scheduling.expected_decision import ExpectedDecision, QueueContext
from .scheduling.preemption import PreemptionPlan
from .scheduling.scheduler import Scheduler

#: Events after which one that waits stands elsewhere in the queue, or no longer in it.
_REQUEUED = {
    e.LeaseGranted,
    e.LeaseResuming,
    e.LeaseEnded,
    e.LeaseResumeWithdrawn,
    e.LeaseResized,
    e.LeaseTransferred,
    e.LeaseRetentionSet,
    e.HolderBound,
}
#: Commands that complete what was begun.
_COMPLETES = {c.PrepareSucceeded, c.PrepareFailed, c.ParkSucceeded, c.ResumeSucceeded, c.DrainSucceeded}
#: Events of a lease after which it stands, holds and may be parked as before.
_FOR_THE_RECORD = {
    e.LeaseForgotten,
    e.LeaseActivityReported,
    e.LeaseGPUIdle,
    e.LeaseGPUUsed,
    e.LeaseIdleWarned,
    e.LeaseIdleStepTaken,
    e.LeaseSnoozed,
    e.LeaseUseRecorded,
}
#: Events with which a lease begins to wait.
_JOINS = {e.LeaseRequested, e.LeasePrepareFailed, e.LeaseResumeRequested, e.LeaseResumePostponed}


class Pool:
    """One state and the scheduler that follows it; nothing else changes that state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._scheduler = Scheduler(state)
        #: Active leases on devices that can park; without any, no room can be made.
        self._parkable = self._find_parkable()
        self._room_changed = False  #: whether the present command changed what of the devices is free
        self._parked = {one.id: None for one in state.leases.values() if one.state is LeaseState.PARKED}

    def _find_parkable(self) -> dict[str, None]:
        active = (lease for lease in self.state.leases.values() if lease.state is LeaseState.ACTIVE)
        return {lease.id: None for lease in active if parkability.can_park(self.state, lease)}

    def execute(self, command: c.Command, at: Instant) -> list[Event]:
        """Decide ``command``, apply what follows from it and return the events, in order.

        Raises a :class:`~fastgpu_jupyter.errors.CallerError` and changes nothing where the command is refused.
        """
        events = decide(self.state, command, at)
        self._room_changed = False
        self._apply(events, at)
        if type(command) is c.Tick:
            self._scheduler.reconsider()
            self._room_changed = True  # or leases have become idle
        decided = len(events)
        make_room = _may_give_rights(self.state, command, events)
        while more := self.advance(at, make_room=make_room):
            self._apply(more, at)
            events += more
        if len(events) == decided:
            self._scheduler.do_idle_work()
        return events

    def advance(self, at: Instant, *, make_room: bool = True) -> list[Event]:
        """Return the next size that was deferred, else the next grant, else what to park so that one can be made."""
        if self.state.deferred and (resized := resize.complete_deferred(self.state, at)):
            return resized
        found = self._scheduler.next_grant(at.ms)
        if found is None:
            return self._make_room(at) if make_room else []
        lease, requirements, devices = found
        logical_gpu = logical_gpus.make_logical_gpu(requirements, devices, self.state.generations + 1)
        if logical_gpu.mechanism is Mechanism.MPS:
            logical_gpu = replace(logical_gpu, owner_uid=lease.holder.uid)
        granted = e.LeaseResuming if lease.has_image else e.LeaseGranted
        return [granted(lease.id, logical_gpu)]

    def expected_decisions(self, lease: Lease, at: Instant, devices: State) -> Callable[[Lease], ExpectedDecision]:
        """Return a function of a lease with other sizes: what would become of it if it waited now.

        ``lease`` waits, or is one that does not exist yet; ``devices`` is a state with a device of each kind. The
        function is valid until the state changes.
        """
        context = self._scheduler.queue_context(lease, at.ms, devices)
        plan: PreemptionPlan | None = None

        def expected(of_other_size: Lease) -> ExpectedDecision:
            nonlocal plan
            devices, has_room = self._scheduler.devices_for(of_other_size, context)
            if devices is not None or not self._parkable:
                return ExpectedDecision(devices, has_room)
            if plan is None:
                plan = self._plan_behind(lease, context, at)
            may_hold = self._scheduler.may_make_room_for(of_other_size, context)
            return ExpectedDecision(None, has_room, parks=may_hold and bool(plan.options_for(of_other_size)))

        return expected

    def _plan_behind(self, lease: Lease, context: QueueContext, at: Instant) -> PreemptionPlan:
        """Return the plan of what a request can preempt, after the requests that come before it."""
        highest = max(self._scheduler.highest_priority(), lease.request.priority)
        in_need = {lease.tenant} if idleness.takes_resting(lease) else ()
        plan = PreemptionPlan(self.state, highest, self._parkable, at.ms, in_need=in_need, devices=context.devices)
        for other, reserved in self._scheduler.unserved_before(context):
            if plan.is_exhausted():
                break
            plan.take(plan.options_for(other), reserved)
        return plan

    def _make_room(self, at: Instant) -> list[Event]:
        if not self._parkable:
            return []
        if not self.state.queue:
            return self._park_ahead(at)
        waiting = self._scheduler.unserved(at.ms)
        found = preemption.plan_preemptions(
            self.state, waiting, self._scheduler.highest_priority(), self._parkable, at.ms
        )
        if not found and self.state.policy.defragments:
            return self._move(at)
        return [e.LeaseParking(parked.lease.id, parked.reason) for parked in found]

    def _park_ahead(self, at: Instant) -> list[Event]:
        if self.state.policy.ahead_ms is None or not self._parked or not self._room_changed:
            return []
        self._room_changed = False
        found = self._scheduler.plan_ahead(self._parkable, self._parked, at.ms)
        return [e.LeaseParking(parked.lease.id, parked.reason) for parked in found]

    def _move(self, at: Instant) -> list[Event]:
        if any(device.releasing_bytes for device in self.state.devices.values()):
            return []  # what comes of that is waited for first
        moved = self._scheduler.lease_to_migrate(self._parkable, at.ms)
        return [e.LeaseParking(moved.id, ParkReason.DEFRAGMENTATION)] if moved else []

    def _apply(self, events: Iterable[Event], at: Instant) -> None:
        state = self.state
        for event in events:
            if type(event) in _FOR_THE_RECORD:
                apply(state, event, at)
                continue
            lease = state.leases.get(getattr(event, "lease_id", ""))
            if lease is None:
                apply(state, event, at)
                self._follow_others(event)
            else:
                self._apply_to(lease, event, at)

    def _apply_to(self, lease: Lease, event: Event, at: Instant) -> None:
        """Apply the event and update the scheduler from the lease before and after it."""
        if lease.request.cluster is not None:  # an engine places it
            apply(self.state, event, at)
            return
        before, tenant, scheduler = lease.state, lease.tenant, self._scheduler
        held = lease.logical_gpu if before in HOLDING_CAPACITY else None
        requeued = before is LeaseState.WAITING and type(event) in _REQUEUED
        if requeued:
            scheduler.dequeue(lease)
        apply(self.state, event, at)
        after = lease.state
        holds = lease.logical_gpu if after in HOLDING_CAPACITY else None
        if after is LeaseState.WAITING and (requeued or type(event) in _JOINS):
            scheduler.enqueue(lease)
        if holds is not held or (
            after is not before and (after in RELEASING_CAPACITY) != (before in RELEASING_CAPACITY)
        ):
            scheduler.devices_changed(_devices_of(held, holds))
            self._room_changed = True
        if held is not None and (holds is not held or lease.tenant != tenant):
            scheduler.usage_decreased(tenant)
        if after is LeaseState.PARKED:
            self._parked[lease.id] = None
        elif before is LeaseState.PARKED:
            self._parked.pop(lease.id, None)
        if after is LeaseState.ACTIVE and parkability.can_park(self.state, lease):
            self._parkable[lease.id] = None
        elif self._parkable:
            self._parkable.pop(lease.id, None)

    def _follow_others(self, event: Event) -> None:
        """What is not about a lease that was there before."""
        match event:
            case e.LeaseRequested(lease_id=lease_id) if event.request.cluster is None:
                self._scheduler.enqueue(self.state.leases[lease_id])
            case e.TenantSet() | e.GroupSet() | e.PolicySet() | e.BudgetSet() | e.MonthBegan():
                self._scheduler.entitlements_changed()
            case e.ReservationBegan() | e.ReservationEnded():
                self._scheduler.entitlements_changed()
            case e.DeviceHealthChanged(device_id=device_id) | e.DeviceDrained(device_id=device_id):
                self._scheduler.availability_changed(device_id)
            case e.DeviceScrubPendingSet(device_id=device_id) | e.DeviceMemoryAssessed(device_id=device_id):
                self._scheduler.availability_changed(device_id)
            case e.DeviceMissing(device_id=device_id):
                self._scheduler.availability_changed(device_id)
            case e.DeviceAppeared() | e.DeviceVanished() | e.HostAppeared():
                self._scheduler.inventory_changed()
                self._parkable = self._find_parkable()  # a device may be able to park by now


def _devices_of(before: LogicalGPU | None, after: LogicalGPU | None) -> tuple[str, ...]:
    """The devices of either."""
    if before is None or after is None or before is after:
        gpu = before or after
        return () if gpu is None else gpu.device_ids
    return tuple(dict.fromkeys((*before.device_ids, *after.device_ids)))


def _may_give_rights(state: State, command: c.Command, events: list[Event]) -> bool:
    """Return whether the command may entitle a tenant to more; otherwise room is made at the next tick."""
    lease = state.leases.get(getattr(command, "lease_id", ""))
    if type(command) in {c.ReportGPUUse, c.RecordUse}:  # of the first the idle policy decides
        return False
    if type(command) is c.ReportActivity and command.busy:  # a lease that computes only gives others less right
        return bool(events) and lease is not None and lease.state is LeaseState.WAITING
    if type(command) in _COMPLETES:  # it may be ready when no cell needs it any more
        return lease is not None and idleness.is_resting(state, lease)
    return True


def replay(state: State, events: Iterable[Event], at: Instant) -> None:
    """Apply journalled events; no request is served before all of them are applied."""
    for event in events:
        apply(state, event, at)
