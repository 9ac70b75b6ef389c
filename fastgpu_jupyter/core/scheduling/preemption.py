"""Preemption: which active leases are parked so that waiting requests can be served.

:mod:`.claims` has the rights by which a request may preempt a lease, :mod:`.preemption_planner` the choice among
devices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..accounting.fairshare import FairShareKey
from ..accounting.reservations import ReservationGuard
from ..model.entities import Lease, Priority, Requirements, State
from ..placement import eligibility
from ..placement.parkability import ParkDecision
from .claims import Claimant, Rights, preemptible_by_device
from .max_tree import HIGHEST
from .preemption_planner import PreemptionOption, PreemptionPlanner, room_on_several


def plan_preemptions(
    state: State,
    unserved: Iterable[tuple[Lease, Collection[str]]],
    highest: Priority,
    parkable: Iterable[str],
    now_ms: int,
) -> list[ParkDecision]:
    """Return the leases to park so that waiting requests can be served, in the order of these requests.

    ``unserved``: the requests in order, each with the devices that are reserved for its class; ``highest``: the highest
    priority among them; ``parkable``: ids of active leases on devices that can park.
    """
    plan = PreemptionPlan(state, highest, parkable, now_ms)
    parkings: dict[str, ParkDecision] = {}  # a lease of several devices may make room for more than one request
    if plan.is_exhausted():
        return []
    for lease, reserved in unserved:
        options = plan.options_for(lease)
        parkings.update((parking.lease.id, parking) for option in options for parking in option.parkings)
        plan.take(options, reserved)
        if plan.is_exhausted():
            break
    return list(parkings.values())


class PreemptionPlan:
    """The devices on which waiting requests can preempt leases, less those that earlier requests have taken."""

    def __init__(
        self,
        state: State,
        highest: Priority,
        parkable: Iterable[str],
        now_ms: int,
        *,
        in_need: Collection[str] = (),
        devices: State | None = None,
    ) -> None:
        """``in_need``: tenants that need a device now, beside those of waiting requests; ``devices``: a state with a
        device of each kind, where there is one.
        """
        self._state, self._now_ms, self._devices = state, now_ms, devices or state
        self._preemptible = preemptible_by_device(state, highest, parkable, now_ms, in_need)
        self._candidates: dict[str, None] = {}
        self._spare: dict[str, None] = {}
        self._planners: dict[Requirements, PreemptionPlanner] = {}
        self._nominal: dict[Requirements, int] = {}
        #: The lowest key with which a request for several devices found no room.
        self._unsatisfiable: dict[tuple[Requirements, Rights], FairShareKey] = {}
        if self._preemptible:
            items = state.devices.items()
            # What is already being freed counts for the first request that it helps.
            being_freed = (name for name, device in items if device.releasing_bytes)
            self._candidates = dict.fromkeys([*being_freed, *self._preemptible])
            # One of several may be free.
            self._spare = {name: None for name, device in items if not device.lease_ids}

    def is_exhausted(self) -> bool:
        """Whether no lease is left that another request could preempt."""
        return self._candidates.keys().isdisjoint(self._preemptible)

    def options_for(self, lease: Lease) -> list[PreemptionOption]:
        """Return the least disruptive options, one for each device that a request takes; none where there are not."""
        options = self._least_disruptive(lease)
        return options if self._leave_reserved(lease, options) else []

    def _leave_reserved(self, lease: Lease, options: list[PreemptionOption]) -> bool:
        """Return whether reservations of others allow the grant; else what was parked for it would only resume."""
        if not options or not any(one.runs for one in self._state.reservations.values()):
            return True
        parked = frozenset(parking.lease.id for option in options for parking in option.parkings)
        devices = tuple(self._state.devices[option.device_id] for option in options)
        return ReservationGuard(self._state, parked).leaves_room(lease, devices)

    def _least_disruptive(self, lease: Lease) -> list[PreemptionOption]:
        state, requirements = self._state, lease.requirements
        if requirements not in self._nominal:
            self._nominal[requirements] = eligibility.nominal_milli(self._devices, requirements)
        claimant = Claimant(state, lease, self._nominal[requirements], self._now_ms)
        if requirements.size.devices == 1:
            if requirements not in self._planners:
                self._planners[requirements] = PreemptionPlanner(
                    state, requirements, self._candidates, self._preemptible, self._now_ms
                )
            return self._planners[requirements].least_disruptive(claimant, self._candidates)
        alike = requirements, claimant.rights
        if claimant.key() >= self._unsatisfiable.get(alike, HIGHEST):
            return []
        devices = (state.devices[name] for name in {**self._candidates, **self._spare})
        options = room_on_several(state, claimant, devices, self._preemptible)
        if not options and not claimant.rights.below_guarantee:  # below it, tenants may be guaranteed other devices
            self._unsatisfiable[alike] = claimant.key()
        return options

    def take(self, options: Iterable[PreemptionOption], reserved: Collection[str]) -> None:
        """Leave the devices of the options of a request, or else those reserved for it, to that request."""
        for device_id in [option.device_id for option in options] or reserved:
            self._candidates.pop(device_id, None)
            self._spare.pop(device_id, None)
