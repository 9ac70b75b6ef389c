"""Who makes room for whom: which active leases are parked so that one that waits can be served.

Taken is only from leases that may be parked: their user lets them (``yield``), their device can. Of those

* any whose kernel has said that it runs no cell for a while (``Policy.idle_ms``) makes room for whoever waits, the one
  that was used longest ago first;
* one that computes makes room for a higher priority class, and for a tenant that has less than it is guaranteed, unless
  its own tenant has no more than that either;
* one that has computed for a whole turn (``Policy.quantum_ms``, where an administrator set one) makes room for a tenant
  that has had less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain
from typing import NamedTuple

from ..accounting import fairshare, meter
from ..accounting.reservation_coverage import DeviceModel, is_of
from ..model.entities import Device, Lease, ParkReason, Priority, Requirements, Retention, State
from ..model.size import Size
from ..placement import eligibility
from ..placement.parkability import ParkDecision, logical_gpu_of, park_refusal, within_host_memory
from .max_tree import HIGHEST, LOWEST, MaxTree


def plan_preemptions(
    state: State,
    unserved: Iterable[tuple[Lease, Collection[str]]],
    highest: Priority,
    parkable: Iterable[str],
    now_ms: int,
) -> list[ParkDecision]:
    """What to park so that those who wait can be served, in their order.

    ``unserved``: who waits, each with the devices that are kept for its like; ``highest``: the highest priority class
    among them; ``parkable``: ids of active leases on devices that can park.
    """
    takeable = _takeable(state, highest, parkable, now_ms)
    if not takeable:
        return []
    # Where something is on its way, who comes first has spoken for it.
    on_their_way = (name for name, device in state.devices.items() if device.releasing_bytes)
    candidates = dict.fromkeys([*on_their_way, *takeable])
    spare = {name: None for name, device in state.devices.items() if not device.lease_ids}  # one of several may be free
    parkings: dict[str, ParkDecision] = {}  # one of several devices may make room for more than one that waits
    ways: dict[Requirements, PreemptionPlanner] = {}
    nominal: dict[Requirements, int] = {}
    unsatisfiable: dict[
        tuple[Requirements, Priority, bool], fairshare.FairShareKey
    ] = {}  # what those had had who found no room
    for waiting, kept in unserved:
        requirements = waiting.requirements
        if requirements not in nominal:
            nominal[requirements] = eligibility.nominal_milli(state, requirements)
        claimant = _Claimant(state, waiting, requirements, nominal[requirements], now_ms)
        if requirements.size.devices > 1:
            alike = requirements, claimant.priority, claimant.below_guarantee
            options = []
            if claimant.standing() < unsatisfiable.get(alike, HIGHEST):
                free = (state.devices[name] for name in {**candidates, **spare})
                options = _room_for_several(state, claimant, free, takeable)
                if not options and not claimant.below_guarantee:  # what is guaranteed may be of another kind for each
                    unsatisfiable[alike] = claimant.standing()
        else:
            if requirements not in ways:
                ways[requirements] = PreemptionPlanner(state, requirements, candidates, takeable, now_ms)
            options = ways[requirements].least_disruptive(claimant, candidates)
        parkings.update((parking.lease.id, parking) for option in options for parking in option.parkings)
        for device_id in [option.device_id for option in options] or kept:
            candidates.pop(device_id, None)
            spare.pop(device_id, None)
        if candidates.keys().isdisjoint(takeable):
            break
    return within_host_memory(state, parkings.values())


def _takeable(
    state: State, highest: Priority, parkable: Iterable[str], now_ms: int
) -> dict[str, list[_PreemptibleLease]]:
    """By device, the leases that anybody who waits could have a right to."""
    entitled = chain(state.tenants.values(), state.groups.values())
    guarantees = any(books.guaranteed_milli or books.reserved_milli for books in entitled)
    found: dict[str, list[_PreemptibleLease]] = {}
    for lease in (state.leases[lease_id] for lease_id in parkable):
        held = _PreemptibleLease.of(state, lease, now_ms)
        wanted = held.idle or held.turn_is_over or guarantees or lease.request.priority < highest
        if wanted and lease.request.retention is Retention.YIELD and park_refusal(state, lease) is None:
            for device_id in logical_gpu_of(lease).device_ids:
                found.setdefault(device_id, []).append(held)
    return found


class _PreemptibleLease(NamedTuple):
    """A lease that may be parked, if the right one wants it."""

    lease: Lease
    idle: bool
    turn_is_over: bool

    @classmethod
    def of(cls, state: State, lease: Lease, now_ms: int) -> _PreemptibleLease:
        policy = state.policy
        idle = lease.reports_activity and not lease.busy
        idle = idle and policy.idle_ms is not None and now_ms - lease.last_activity_ms >= policy.idle_ms
        turn_ms = 0 if lease.active_since_ms is None else now_ms - lease.active_since_ms
        return cls(lease, idle, policy.quantum_ms is not None and turn_ms >= policy.quantum_ms)


class _Claimant:
    """Somebody who waits, and by what right it may take whose place."""

    def __init__(self, state: State, lease: Lease, requirements: Requirements, milli: int, now_ms: int) -> None:
        self._state = state
        self._now_ms = now_ms
        self.requirements = requirements
        self._tenant = lease.tenant
        self.priority = lease.request.priority
        self._milli = milli  #: thousandths of devices that it wants
        self._standing: fairshare.FairShareKey | None = None  #: with what it wants, once anybody asks
        self.below_guarantee = not fairshare.fair_share_key(state, lease.tenant, now_ms).beyond
        #: Kinds of devices that are reserved for it and that it does not hold; ``None``: its guarantee is of any.
        self._reserved: list[str | None] | None = None
        if self.below_guarantee and not fairshare.has_less_than_guaranteed(state, lease.tenant):
            unused = meter.unused(state, lease.tenant, state.leases.values())
            self._reserved = [state.reservations[name].model for name, milli in unused.items() if milli]

    def claims(self, held: _PreemptibleLease) -> ParkReason | None:
        """The right to take that one's place, or ``None``."""
        lease = held.lease
        if held.idle:
            return ParkReason.IDLE
        if self.priority > lease.request.priority:
            return ParkReason.PRIORITY
        if self.priority < lease.request.priority or self._tenant == lease.tenant:
            return None
        if self._is_entitled_to(lease) and _is_beyond(self._state, lease, self._now_ms):
            return ParkReason.GUARANTEE
        if held.turn_is_over and self.standing() < fairshare.fair_share_key(self._state, lease.tenant, self._now_ms):
            return ParkReason.FAIRNESS
        return None

    def standing(self) -> fairshare.FairShareKey:
        """Where its tenant would stand with what it wants."""
        if self._standing is None:
            self._standing = fairshare.fair_share_key(self._state, self._tenant, self._now_ms, self._milli)
        return self._standing

    def _is_entitled_to(self, lease: Lease) -> bool:
        """Whether its tenant has less than it is guaranteed, or than it has reserved of such devices."""
        if not self.below_guarantee or self._reserved is None:
            return self.below_guarantee
        spec = self._state.devices[logical_gpu_of(lease).device_id].spec
        return any(is_of(model, [DeviceModel(spec.model, spec.memory_bytes)]) for model in self._reserved)


def _is_beyond(state: State, lease: Lease, now_ms: int) -> bool:
    """Whether the lease's tenant would keep what it is guaranteed without it."""
    return fairshare.fair_share_key(state, lease.tenant, now_ms, -eligibility.held_milli(state, lease)).beyond


class PreemptionPlanner:
    """The devices of which one could serve a want, if room were made there; those who want the same share it."""

    def __init__(
        self,
        state: State,
        requirements: Requirements,
        candidates: Iterable[str],
        takeable: dict[str, list[_PreemptibleLease]],
        now_ms: int,
    ) -> None:
        self._state, self._now_ms, self._size = state, now_ms, requirements.size
        self._peaks: dict[tuple[Priority, bool], MaxTree] = {}  #: of the others, by class and whether below a guarantee
        self._ready: list[Device] = []  #: where enough is on its way, the first one last
        #: The others, each behind what no option there can be gentler than, whoever claims it; in that order.
        self._others: list[tuple[tuple[int, int, int, str], Device, list[_PreemptibleLease]]] = []
        for device in map(state.devices.__getitem__, candidates):
            if not device.grantable or not eligibility.is_eligible(state, device, requirements):
                continue
            held = takeable.get(device.spec.id)
            if _lacking(device, requirements.size) <= 0:
                self._ready.append(device)
            elif held is not None:
                busy = not any(one.idle for one in held)
                first_ms = min(one.lease.last_activity_ms for one in held)
                least_bytes = min(logical_gpu_of(one.lease).memory_bytes for one in held)
                self._others.append(((busy, first_ms, least_bytes, device.spec.id), device, held))
        self._others.sort(key=lambda other: other[0])
        self._ready.reverse()

    def least_disruptive(self, claimant: _Claimant, candidates: Collection[str]) -> list[_PreemptionOption]:
        """The gentlest way to make room on one of ``candidates``, which only become fewer; nothing if there is none."""
        while self._ready and self._ready[-1].spec.id not in candidates:
            self._ready.pop()
        if self._ready:
            return [_PreemptionOption.of(self._ready[-1], [])]  # nothing is gentler
        peaks = self._peaks_for(claimant)
        best: _PreemptionOption | None = None
        at = peaks.next_above(0, claimant.standing())
        while at is not None:
            at_least, device, held = self._others[at]
            if best is not None and at_least > best[:4]:
                break
            if device.spec.id in candidates:
                option = _on(device, claimant, held)
                best = option if best is None or (option is not None and option < best) else best
            else:
                peaks.forget(at)
            at = peaks.next_above(at + 1, claimant.standing())
        return [] if best is None else [best]

    def _peaks_for(self, claimant: _Claimant) -> MaxTree:
        """How much a claimant of its kind must have had less than on each of the others, to take enough there.

        Without it each of the many who wait would be asked about each lease that they have no right to.
        """
        kind = claimant.priority, claimant.below_guarantee
        if kind not in self._peaks:
            self._peaks[kind] = MaxTree([self._level(device, held, *kind) for _, device, held in self._others])
        return self._peaks[kind]

    def _level(
        self, device: Device, takeable: list[_PreemptibleLease], priority: Priority, below_guarantee: bool
    ) -> fairshare.FairShareKey:
        lacking = _lacking(device, self._size)
        levels = ((self._level_of(held, priority, below_guarantee), _freed(device, held.lease)) for held in takeable)
        for level, freed_bytes in sorted(levels, reverse=True):
            lacking -= freed_bytes
            if lacking <= 0:
                return level
        return LOWEST

    def _level_of(self, held: _PreemptibleLease, priority: Priority, below_guarantee: bool) -> fairshare.FairShareKey:
        lease = held.lease
        if held.idle or lease.request.priority < priority:
            return HIGHEST
        if lease.request.priority > priority:
            return LOWEST
        if below_guarantee and _is_beyond(self._state, lease, self._now_ms):
            return HIGHEST
        return fairshare.fair_share_key(self._state, lease.tenant, self._now_ms) if held.turn_is_over else LOWEST


def _room_for_several(
    state: State, claimant: _Claimant, devices: Iterable[Device], takeable: dict[str, list[_PreemptibleLease]]
) -> list[_PreemptionOption]:
    """The gentlest way to make room on several devices of one host; nothing where there is none."""
    options: dict[tuple[str, eligibility.DeviceSignature], list[_PreemptionOption]] = {}
    count = claimant.requirements.size.devices
    for device in devices:
        if device.grantable and eligibility.is_eligible(state, device, claimant.requirements):
            option = _on(device, claimant, takeable.get(device.spec.id, []))
            if option is not None:
                options.setdefault((device.spec.host_id, eligibility.signature_of(device.spec)), []).append(option)
    chosen = [sorted(of_host)[:count] for of_host in options.values() if len(of_host) >= count]
    return min(chosen, default=[])


class _PreemptionOption(NamedTuple):
    """What it takes to serve on one device, the cheapest first."""

    busy: int  #: leases that compute
    latest_ms: int  #: when the last of those that go was used
    bytes: int
    device_id: str
    parkings: list[ParkDecision]

    @classmethod
    def of(cls, device: Device, parkings: list[ParkDecision]) -> _PreemptionOption:
        """With those parked."""
        leases = [parking.lease for parking in parkings]
        return cls(
            busy=sum(parking.reason is not ParkReason.IDLE for parking in parkings),
            latest_ms=max((lease.last_activity_ms for lease in leases), default=0),
            bytes=sum(logical_gpu_of(lease).memory_bytes for lease in leases),
            device_id=device.spec.id,
            parkings=parkings,
        )


def _lacking(device: Device, size: Size) -> int:
    """Bytes that the device lacks to serve, once what is being given back is there."""
    return eligibility.missing_bytes(device, size) - device.releasing_bytes


def _on(device: Device, claimant: _Claimant, takeable: list[_PreemptibleLease]) -> _PreemptionOption | None:
    lacking = _lacking(device, claimant.requirements.size)
    claimed = ((held, claimant.claims(held)) for held in takeable) if lacking > 0 else ()
    parkings: list[ParkDecision] = []
    for parking in sorted(
        (ParkDecision(held.lease, reason) for held, reason in claimed if reason), key=_least_disruptive_first
    ):
        if lacking <= 0:
            break
        lacking -= _freed(device, parking.lease)
        parkings.append(parking)
    return None if lacking > 0 else _PreemptionOption.of(device, parkings)


def _freed(device: Device, lease: Lease) -> int:
    """Bytes that the device has more once the lease is parked."""
    gpu = logical_gpu_of(lease)
    return device.spec.memory_bytes if gpu.whole else gpu.memory_bytes


def _least_disruptive_first(parking: ParkDecision) -> tuple[bool, int, int, str]:
    lease = parking.lease
    return parking.reason is not ParkReason.IDLE, lease.request.priority, lease.last_activity_ms, lease.id
