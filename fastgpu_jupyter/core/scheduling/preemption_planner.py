"""The least disruptive way to free devices for a waiting request."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..accounting.fairshare import FairShareKey
from ..model.entities import Device, Lease, ParkReason, Requirements, State
from ..model.size import Size
from ..placement import device_share, eligibility
from ..placement.parkability import ParkDecision, logical_gpu_of
from .claims import Claimant, PreemptibleLease, Rights, key_to_preempt
from .max_tree import LOWEST, MaxTree


class PreemptionOption(NamedTuple):
    """The leases to park on one device, with everything that options are compared by; the smallest is preferred."""

    busy: int  #: number of leases that compute
    last_activity_ms: int  #: of the lease that was active last
    parked_bytes: int
    device_id: str
    parkings: list[ParkDecision]

    @classmethod
    def of(cls, device: Device, parkings: list[ParkDecision]) -> PreemptionOption:
        """Return the option to park those leases."""
        leases = [parking.lease for parking in parkings]
        return cls(
            busy=sum(parking.reason is not ParkReason.IDLE for parking in parkings),
            last_activity_ms=max((lease.last_activity_ms for lease in leases), default=0),
            parked_bytes=sum(logical_gpu_of(lease).memory_bytes for lease in leases),
            device_id=device.spec.id,
            parkings=parkings,
        )


class PreemptionPlanner:
    """The devices of which one could serve certain requirements, if leases on it were parked."""

    def __init__(
        self,
        state: State,
        requirements: Requirements,
        candidates: Iterable[str],
        preemptible: dict[str, list[PreemptibleLease]],
        now_ms: int,
    ) -> None:
        """``candidates``: ids of devices; ``preemptible``: by device, the leases that may be parked."""
        self._state, self._now_ms, self._size = state, now_ms, requirements.size
        self._trees: dict[Rights, MaxTree] = {}  #: see :meth:`_tree_for`
        self._ready: list[Device] = []  #: devices on which enough is being freed, the first one last
        #: Other devices, sorted by a lower bound of the options there.
        self._others: list[tuple[tuple[int, int, int, str], Device, list[PreemptibleLease]]] = []
        for device in map(state.devices.__getitem__, candidates):
            if not device.grantable or not eligibility.is_eligible(state, device, requirements):
                continue
            leases = preemptible.get(device.spec.id)
            if _missing_bytes(device, requirements.size) <= 0:
                self._ready.append(device)
            elif leases is not None:
                busy = not any(one.idle or one.yields_to_own_tenant for one in leases)
                earliest_ms = min(one.lease.last_activity_ms for one in leases)
                least_bytes = min(logical_gpu_of(one.lease).memory_bytes for one in leases)
                self._others.append(((busy, earliest_ms, least_bytes, device.spec.id), device, leases))
        self._others.sort(key=lambda other: other[0])
        self._ready.reverse()

    def least_disruptive(self, claimant: Claimant, candidates: Collection[str]) -> list[PreemptionOption]:
        """Return the least disruptive option on one of ``candidates``; an empty list where there is none.

        ``candidates``: ids of devices; from call to call, devices are only removed from it.
        """
        while self._ready and self._ready[-1].spec.id not in candidates:
            self._ready.pop()
        if self._ready:
            return [PreemptionOption.of(self._ready[-1], [])]  # nothing is less disruptive
        tree = self._tree_for(claimant)
        best: PreemptionOption | None = None
        at = tree.next_above(0, claimant.key())
        while at is not None:
            lower_bound, device, leases = self._others[at]
            if best is not None and lower_bound > best[:4]:
                break
            if device.spec.id in candidates:
                option = _option_on(device, claimant, leases)
                best = option if best is None or (option is not None and option < best) else best
            else:
                tree.remove(at)
            at = tree.next_above(at + 1, claimant.key())
        return [] if best is None else [best]

    def _tree_for(self, claimant: Claimant) -> MaxTree:
        """Return, for each of the other devices, the key that a claimant must be below to free enough there.

        Without it each of many claimants would be compared with each lease that it has no right to.
        """
        rights = claimant.rights
        if rights not in self._trees:
            self._trees[rights] = MaxTree([self._key_on(device, leases, rights) for _, device, leases in self._others])
        return self._trees[rights]

    def _key_on(self, device: Device, leases: list[PreemptibleLease], rights: Rights) -> FairShareKey:
        missing = _missing_bytes(device, self._size)
        keys = (
            (key_to_preempt(self._state, one, rights, self._now_ms), _freed_bytes(device, one.lease)) for one in leases
        )
        for key, freed_bytes in sorted(keys, reverse=True):
            missing -= freed_bytes
            if missing <= 0:
                return key
        return LOWEST


def room_on_several(
    state: State,
    claimant: Claimant,
    devices: Iterable[Device],
    preemptible: dict[str, list[PreemptibleLease]],
) -> list[PreemptionOption]:
    """Return the least disruptive options on as many devices of one host as requested; an empty list without any."""
    by_host: dict[tuple[str, eligibility.DeviceSignature], list[PreemptionOption]] = {}
    count = claimant.requirements.size.devices
    for device in devices:
        if device.grantable and eligibility.is_eligible(state, device, claimant.requirements):
            option = _option_on(device, claimant, preemptible.get(device.spec.id, []))
            if option is not None:
                key = device.spec.host_id, eligibility.signature_of(device.spec)
                by_host.setdefault(key, []).append(option)
    chosen = [sorted(options)[:count] for options in by_host.values() if len(options) >= count]
    return min(chosen, default=[])


def _option_on(device: Device, claimant: Claimant, leases: list[PreemptibleLease]) -> PreemptionOption | None:
    missing = _missing_bytes(device, claimant.requirements.size)
    rights = ((one.lease, claimant.right_to(one)) for one in leases) if missing > 0 else ()
    possible = [ParkDecision(lease, reason) for lease, reason in rights if reason is not None]
    parkings: list[ParkDecision] = []
    for parking in sorted(possible, key=_least_disruptive_first):
        if missing <= 0:
            break
        missing -= _freed_bytes(device, parking.lease)
        parkings.append(parking)
    return None if missing > 0 else PreemptionOption.of(device, parkings)


def _missing_bytes(device: Device, size: Size) -> int:
    """Return the bytes that a device lacks to serve, once what is being freed is free."""
    return device_share.missing_bytes(device, size) - device.releasing_bytes


def _freed_bytes(device: Device, lease: Lease) -> int:
    """Return the bytes that a device gains once the lease is parked."""
    gpu = logical_gpu_of(lease)
    return device.spec.memory_bytes if gpu.whole else gpu.memory_bytes


def _least_disruptive_first(parking: ParkDecision) -> tuple[bool, int, int, str]:
    lease = parking.lease
    return parking.reason is not ParkReason.IDLE, lease.request.priority, lease.last_activity_ms, lease.id
