"""The steps of the idle policy: notify, park, release, shut down.

A lease is idle while no cell runs or waits and its device is not used. Both must be known: a kernel that has not
reported, and a device whose readings are unknown, are not idle. A parked lease uses no device. The time counts from
the later of the two, and begins again with a cell, with a use of the device, and with a grant.

Each step but the first is announced by a warning before. The times of the steps are those of the pool for the size of
the lease; its request can only shorten them. A pinned lease is notified and keeps its device. Parking because another
request waits is independent of this; see :mod:`core.placement.idleness`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ...errors import Conflict, InvalidRequest, Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, IdleStep, Instant, Lease, ParkReason, Retention, State
from ..model.events import Event
from ..model.idle import STEPS
from ..model.lifecycle import OVER, WITHOUT_CAPACITY, LeaseState
from ..placement import parkability
from .lookup import find_granted, find_live_lease
from .transition import advance

#: A pool that did not run for longer begins to count again, because nothing is known of the devices meanwhile.
GAP_MS_MAX = 5 * 60_000
#: Time is recorded more often than this while a lease is active, so that a longer gap is one without readings.
UNRECORDED_MS_MAX = 150_000
SNOOZE_MS_MIN = 60_000

_ORDER = {step: at for at, step in enumerate(IdleStep)}
_STATES = frozenset({LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.PARKED})


class NextStep(NamedTuple):
    """The next step for an idle lease."""

    step: IdleStep
    at_ms: int
    warning_ms: int  #: how long before it its user is warned


# -- what is known ----------------------------------------------------------------------------------------------------


def idle_since_ms(lease: Lease) -> int | None:
    """Return since when nothing has used the lease; ``None`` where something does, or that is unknown."""
    if lease.busy is not False or lease.gpu_idle_since_ms is None or lease.state not in _STATES:
        return None
    return max(lease.last_activity_ms, lease.gpu_idle_since_ms)


def steps_of(state: State, lease: Lease) -> dict[IdleStep, int]:
    """Return the steps that apply to the lease, and how long it must have been idle for each, in their order."""
    times = dict(state.policy.idle_policy.times_of(lease.request.name).by_step())
    for step, own_ms in lease.request.idle.by_step().items():
        times[step] = min(own_ms, times.get(step, own_ms))
    pinned = lease.request.retention is Retention.HOLD
    return {
        step: times[step]
        for step in STEPS
        if step in times
        and (step is IdleStep.NOTIFY or not pinned)
        and (step is not IdleStep.PARK or lease.request.parkable is not False)
        and (step is not IdleStep.SHUT_DOWN or lease.request.kernel_id is not None)
    }


def next_step(state: State, lease: Lease) -> NextStep | None:
    """Return the next step for the lease if it stays idle, or ``None`` where it is not idle or no step follows."""
    since_ms = idle_since_ms(lease)
    if since_ms is None:
        return _shut_down_after_release(state, lease)
    if lease.idle_step is IdleStep.SHUT_DOWN:
        return NextStep(IdleStep.SHUT_DOWN, lease.idle_step_ms, 0)  # it is its server's turn
    times = steps_of(state, lease)
    taken = lease.idle_step
    steps = [step for step in times if _is_ahead(state, lease, step)]
    if not steps:
        return None
    step = min(steps, key=lambda one: (times[one], _ORDER[one]))
    warning_ms = 0 if step is IdleStep.NOTIFY else min(state.policy.idle_policy.warning_ms, times[step] // 2)
    at_ms = max(since_ms + times[step], lease.idle_snoozed_until_ms)
    if taken is not None and taken in times:  # as far after the last one as they are apart
        at_ms = max(at_ms, lease.idle_step_ms + times[step] - times[taken])
    if step is IdleStep.PARK:
        at_ms = max(at_ms, lease.park_retry_ms)
    if lease.idle_warned is step:
        at_ms = max(at_ms, lease.idle_warned_ms + warning_ms)
    return NextStep(step, at_ms, warning_ms)


def _is_ahead(state: State, lease: Lease, step: IdleStep) -> bool:
    """Return whether the step was not taken yet and can be, as the lease is now."""
    if lease.idle_step is not None and _ORDER[step] <= _ORDER[lease.idle_step]:
        return False
    if step in (IdleStep.NOTIFY, IdleStep.PARK) and lease.state is not LeaseState.ACTIVE:
        return False  # a lease that is parked costs nothing
    return step is not IdleStep.PARK or parkability.park_refusal(state, lease) is None


def _shut_down_after_release(state: State, lease: Lease) -> NextStep | None:
    """Return the shutdown of the kernel of a lease that was released because it was idle."""
    if lease.state not in OVER or lease.end_reason is not EndReason.IDLE or lease.idle_step is not IdleStep.RELEASE:
        return None
    times = steps_of(state, lease)
    if IdleStep.SHUT_DOWN not in times or IdleStep.RELEASE not in times:
        return None
    apart_ms = max(0, times[IdleStep.SHUT_DOWN] - times[IdleStep.RELEASE])
    return NextStep(IdleStep.SHUT_DOWN, lease.idle_step_ms + apart_ms, 0)


def message(state: State, lease: Lease, at: Instant) -> Message | None:
    """Return what the user of the lease should know of the idle policy, or ``None`` where there is nothing."""
    since_ms = idle_since_ms(lease)
    if since_ms is None:
        return None
    following = next_step(state, lease)
    idle_ms = max(0, at.ms - since_ms)
    if following is not None and lease.idle_warned is following.step:
        left_ms = max(0, following.at_ms - at.ms)
        return _announcement(following.step, idle_ms, left_ms)
    if lease.idle_step is IdleStep.NOTIFY:
        return Message.of("idle.notified", idle_ms=idle_ms)
    return None


def _announcement(step: IdleStep, idle_ms: int, left_ms: int) -> Message:
    if step is IdleStep.PARK:
        return Message.of("idle.park_ahead", idle_ms=idle_ms, left_ms=left_ms)
    if step is IdleStep.RELEASE:
        return Message.of("idle.release_ahead", idle_ms=idle_ms, left_ms=left_ms)
    return Message.of("idle.shut_down_ahead", idle_ms=idle_ms, left_ms=left_ms)


# -- reports and steps ------------------------------------------------------------------------------------------------


def report_gpu_use(state: State, command: c.ReportGPUUse, at: Instant) -> list[Event]:
    """Record that the device of the lease became idle, or that it is used or unknown again."""
    lease = find_granted(state, command.lease_id, command.generation, LeaseState.ACTIVE)
    if lease is None:
        return []
    since_ms = command.idle_since_ms
    if since_ms is None:
        return [e.LeaseGPUUsed(lease.id)] if lease.gpu_idle_since_ms is not None else []
    if lease.busy is not False or (lease.gpu_idle_since_ms is not None and lease.gpu_idle_confirmed):
        return []
    known_ms = lease.gpu_idle_since_ms
    return [e.LeaseGPUIdle(lease.id, min(since_ms, at.ms) if known_ms is None else known_ms)]


def snooze_lease(state: State, command: c.SnoozeLease, at: Instant) -> list[Event]:
    """Put off the steps, for as long as the policy allows. Raises :class:`Conflict` where it allows no more."""
    lease = find_live_lease(state, command.lease_id)
    if command.for_ms < SNOOZE_MS_MIN:
        raise InvalidRequest(Message.of("idle.snooze_too_short", least_ms=SNOOZE_MS_MIN))
    left_ms = state.policy.idle_policy.snooze_ms_max - lease.idle_snoozed_ms
    from_ms = max(at.ms, lease.idle_snoozed_until_ms)
    until_ms = min(at.ms + command.for_ms, from_ms + left_ms)
    if until_ms <= from_ms:
        if command.for_ms <= lease.idle_snoozed_until_ms - at.ms:
            return []
        raise Conflict(Message.of("idle.snooze_used_up", most_ms=state.policy.idle_policy.snooze_ms_max))
    return [e.LeaseSnoozed(lease.id, until_ms)]


def end_idle_lease(state: State, command: c.EndIdleLease, at: Instant) -> list[Event]:
    """End the lease because its kernel is shut down now. Raises :class:`Conflict` where it is in use again."""
    lease = find_live_lease(state, command.lease_id)
    since_ms = idle_since_ms(lease)
    if since_ms is None or lease.idle_step is not IdleStep.SHUT_DOWN or lease.state is LeaseState.PARKING:
        raise Conflict(Message.of("idle.in_use_again"))
    return [_end(lease, Message.of("end.idle_shut_down", idle_ms=max(0, at.ms - since_ms)))]


def due(state: State, at: Instant, excluded: Collection[str]) -> Iterator[Event]:
    """Yield the warnings and the steps that are due, of leases whose idleness is known now.

    ``excluded``: ids of leases for which something else is decided at this instant.
    """
    recorded = at.ms - state.last.ms <= UNRECORDED_MS_MAX
    for lease_id in state.idling:
        lease = state.leases[lease_id]
        seen = lease.state is LeaseState.PARKED or (recorded and lease.gpu_idle_confirmed)
        if seen and lease.state is not LeaseState.PARKING and lease_id not in excluded:
            yield from _due(state, lease, at)


def _due(state: State, lease: Lease, at: Instant) -> Iterator[Event]:
    following = next_step(state, lease)
    if following is None or lease.idle_step is IdleStep.SHUT_DOWN:
        return
    step = following.step
    if step is not IdleStep.NOTIFY and lease.idle_warned is not step:
        if at.ms >= following.at_ms - following.warning_ms:
            yield e.LeaseIdleWarned(lease.id, step)
        return
    if at.ms < following.at_ms:
        return
    yield e.LeaseIdleStepTaken(lease.id, step)
    if step is IdleStep.PARK:
        yield e.LeaseParking(lease.id, ParkReason.IDLE_POLICY)
    elif step is IdleStep.RELEASE:
        since_ms = idle_since_ms(lease)
        assert since_ms is not None
        yield _end(lease, Message.of("end.idle_released", idle_ms=at.ms - since_ms))


def _end(lease: Lease, detail: Message) -> Event:
    if lease.state in WITHOUT_CAPACITY:
        return e.LeaseEnded(lease.id, EndReason.IDLE, detail)
    return e.LeaseDraining(lease.id, EndReason.IDLE, detail)


# -- what events change -----------------------------------------------------------------------------------------------


def apply_gpu_idle(state: State, event: e.LeaseGPUIdle, at: Instant) -> None:
    """Record since when the device is idle, as readings show."""
    lease = advance(state, event.lease_id, event)
    lease.gpu_idle_since_ms, lease.gpu_idle_confirmed = event.since_ms, True
    state.idling[lease.id] = None


def apply_gpu_used(state: State, event: e.LeaseGPUUsed, at: Instant) -> None:
    """Record that the device is used, or that this is unknown."""
    end_idleness(state, advance(state, event.lease_id, event))


def apply_warned(state: State, event: e.LeaseIdleWarned, at: Instant) -> None:
    """Record that a step was announced."""
    lease = advance(state, event.lease_id, event)
    lease.idle_warned, lease.idle_warned_ms = event.step, at.ms


def apply_step_taken(state: State, event: e.LeaseIdleStepTaken, at: Instant) -> None:
    """Record the last step that was taken."""
    lease = advance(state, event.lease_id, event)
    lease.idle_step, lease.idle_step_ms = event.step, at.ms


def apply_snoozed(state: State, event: e.LeaseSnoozed, at: Instant) -> None:
    """Record until when no step is taken; a warning is given again before the next one."""
    lease = advance(state, event.lease_id, event)
    lease.idle_snoozed_ms += event.until_ms - max(at.ms, lease.idle_snoozed_until_ms)
    lease.idle_snoozed_until_ms = event.until_ms
    lease.idle_warned = None
    if lease.idle_step is IdleStep.SHUT_DOWN:  # its kernel was not shut down yet: it is announced again
        lease.idle_step = IdleStep.RELEASE


def note_parked(state: State, lease: Lease, at: Instant) -> None:
    """Record that the lease uses no device from here on."""
    if lease.gpu_idle_since_ms is None:
        lease.gpu_idle_since_ms = at.ms
    lease.gpu_idle_confirmed = True
    state.idling[lease.id] = None


def end_idleness(state: State, lease: Lease) -> None:
    """Forget the steps: something uses the lease, or that is unknown. What was put off stays put off."""
    lease.gpu_idle_since_ms, lease.gpu_idle_confirmed = None, False
    lease.idle_step = lease.idle_warned = None
    lease.idle_snoozed_ms = 0
    state.idling.pop(lease.id, None)


def note_cell(state: State, lease: Lease, at: Instant) -> None:
    """Forget the steps because a cell runs or its process is unknown; a parked lease goes on to use no device."""
    parked = lease.state is LeaseState.PARKED
    end_idleness(state, lease)
    if parked:
        note_parked(state, lease, at)


def note_end(state: State, lease: Lease) -> None:
    """Remove a lease that is over from the list of idle ones; what is known of it stays to be shown."""
    state.idling.pop(lease.id, None)


def note_start(state: State, at: Instant) -> None:
    """Require readings again of a pool manager that starts; after a long gap, count from the beginning."""
    long_gap = at.ms - state.last.ms > GAP_MS_MAX
    for lease in [state.leases[lease_id] for lease_id in state.idling]:
        if lease.state is not LeaseState.PARKED:
            lease.gpu_idle_confirmed = False
            if long_gap:
                end_idleness(state, lease)
