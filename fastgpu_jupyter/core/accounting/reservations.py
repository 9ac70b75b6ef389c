"""Capacity that is reserved: made, begun and ended; and what of it may be borrowed while its tenant does not use it.

A reservation is a guarantee that is paid for. Its tenant stands before others until it holds what it has reserved
(:func:`.fairshare.fair_share_key`), and leases are parked for it (:mod:`core.scheduling.preemption`). What it does not
use may be borrowed, but only by leases that can be parked for it again; to any other, nothing is granted that the
reservations would then lack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ...errors import Conflict, InvalidRequest, Message, NoSuchDevice, NotFound
from ..model import commands as c
from ..model import events as e
from ..model.entities import (
    Device,
    DeviceSpec,
    Instant,
    Lease,
    Plan,
    Priority,
    Requirements,
    Reservation,
    Retention,
    State,
)
from ..model.events import Event
from ..model.lifecycle import RELEASING_CAPACITY
from ..model.size import Size
from ..placement import device_share, eligibility, mechanisms, parkability
from ..placement.device_share import Devices
from . import calendar, fairshare, meter, reservation_coverage
from .reservation_coverage import DeviceModel, Usage

TERM_MONTHS = {Plan.MONTH: 1, Plan.YEAR: 12}
MILLI = 1000
#: So many devices at most in one reservation, and so many reservations that are not over.
MILLI_MAX = 1_000_000 * MILLI
RESERVATIONS_MAX = 10_000
#: How far ahead a reservation may begin.
AHEAD_MONTHS_MAX = 24


class _Need(NamedTuple):
    model: str | None
    milli: int


def reserve(state: State, command: c.ReserveCapacity, at: Instant) -> list[Event]:
    """Make a reservation, and begin it where it is to begin now. Raises where it cannot be held."""
    known = state.reservations.get(command.reservation_id)
    if known is not None and (known.tenant, known.milli, known.model, known.plan) == (
        command.tenant,
        command.milli,
        command.model,
        command.plan,
    ):
        return []  # the same once more
    _require_sound(state, command)
    start = at.wall_ms if command.start_wall_ms is None else command.start_wall_ms
    if not at.wall_ms <= start <= calendar.months_later(at.wall_ms, AHEAD_MONTHS_MAX):
        raise InvalidRequest(Message.of("reservation.start_out_of_range", months_max=AHEAD_MONTHS_MAX))
    end = calendar.months_later(start, TERM_MONTHS[command.plan])
    _require_capacity(state, command, start, end)
    rate = rate_of(state, command.milli, command.model, command.discount_percent)
    made = e.ReservationMade(
        command.reservation_id, command.tenant, command.milli, command.model, command.plan, rate, start, end
    )
    return [made, e.ReservationBegan(command.reservation_id)] if start <= at.wall_ms else [made]


def cancel(state: State, command: c.CancelReservation, at: Instant) -> list[Event]:
    """End a reservation now; what it cost so far stands."""
    one = state.reservations.get(command.reservation_id)
    if one is None:
        raise NotFound(Message.of("reservation.not_found", reservation=repr(command.reservation_id[:40])))
    return [] if one.ended else [e.ReservationEnded(one.id, _cut_ms(one, at))]


def due(state: State, at: Instant) -> Iterator[Event]:
    """Reservations whose time has come, or is over."""
    for one in state.reservations.values():
        if one.ended:
            continue
        if at.wall_ms >= one.end_wall_ms:
            yield e.ReservationEnded(one.id, one.end_wall_ms)
        elif one.began_wall_ms is None and at.wall_ms >= one.start_wall_ms:
            yield e.ReservationBegan(one.id)


def rate_of(state: State, milli: int, model: str | None, discount_percent: int) -> int:
    """What so much costs an hour when it is reserved, in millionths: at the price of the dearest that it may be."""
    size = reservation_coverage.size_of(model)
    specs = (device.spec for device in state.devices.values() if device.present)
    rates = (spec.rate_micro_per_hour for spec in specs if size.matches(spec.model, spec.memory_bytes))
    return max(rates, default=0) * milli * (100 - discount_percent) // (100 * MILLI)


class ReservationGuard:
    """What of a state's devices others may have beside what is reserved; good for as long as the state is the same.

    ``but`` are leases that are looked at as if they were not there.
    """

    def __init__(self, state: State, but: Collection[str] = ()) -> None:
        self._state = state
        self._but = but
        #: Who has reservations, and what of each it does not hold.
        self._unused: dict[str, dict[str, int]] = {one.tenant: {} for one in state.reservations.values() if one.runs}
        self._kept: list[tuple[Device, int]] | None = None
        self._hopes: dict[Requirements, bool] = {}
        self._matching: dict[str | None, list[int]] = {}

    def leaves_room(self, lease: Lease, devices: Devices) -> bool:
        """Whether what others have reserved could be had after a grant of those devices as well as before."""
        if not self._unused or _returns(self._state, lease, devices):
            return True
        kept = self._look()
        return self._is_own(lease, devices) or self._fits(kept, self._needs(lease.tenant), lease, devices)

    def may_hope(self, lease: Lease) -> bool:
        """Whether the lease could be granted somewhere."""
        if not self._unused:
            return True
        self._look()
        if self._is_one_of_many(lease):
            if lease.requirements not in self._hopes:
                self._hopes[lease.requirements] = self._may_hope(lease)
            return self._hopes[lease.requirements]
        return self._may_hope(lease)

    def _may_hope(self, lease: Lease) -> bool:
        able = [device for device in eligibility.eligible_devices(self._state, lease.requirements) if device.grantable]
        count = lease.requirements.size.devices
        if count > 1:
            return len(able) >= count and self.leaves_room(lease, tuple(able[:count]))
        kept_bytes = {device.spec.id: kept_bytes for device, kept_bytes in self._look()}
        unlike = {_signature(device, kept_bytes[device.spec.id]): device for device in able}
        return any(self.leaves_room(lease, (device,)) for device in unlike.values())

    def alike(self, device: Device) -> list[Device]:
        """Return the devices that a lease of one device may have where it may have ``device``, and not otherwise."""
        kept = [(_signature(one, kept_bytes), one) for one, kept_bytes in self._look()]
        wanted = next((signature for signature, one in kept if one is device), None)
        return [one for signature, one in kept if signature == wanted]

    def affected_tenants(self, lease: Lease) -> set[str]:
        """Who is refused as well where that lease is refused a device."""
        if not self._is_one_of_many(lease):
            return {lease.tenant}
        return {name for name in self._state.tenants if not any(self._unused.get(name, {}).values())}

    def _is_one_of_many(self, lease: Lease) -> bool:
        """Return whether a tenant without unused reserved capacity would get the same answer."""
        never_borrowed = lease.requirements.non_preemptible or not any(
            device.spec.parkable for device in self._state.devices.values()
        )
        return never_borrowed and not any(self._unused.get(lease.tenant, {}).values())

    def _look(self) -> list[tuple[Device, int]]:
        """Yield each device in service with the bytes of it that cannot be taken back for a reservation."""
        if self._kept is None:
            state = self._state
            held = dict.fromkeys(name for device in state.devices.values() for name in device.lease_ids)
            leases = [state.leases[name] for name in held if name not in self._but]
            self._unused = {name: meter.unused(state, name, leases) for name in self._unused}
            borrowed: dict[str, bool] = {}
            self._kept = []
            for device in state.devices.values():
                if device.grantable:
                    holding = [state.leases[name] for name in device.lease_ids if name not in self._but]
                    borrowed.update((one.id, _is_borrowed(state, one)) for one in holding if one.id not in borrowed)
                    kept_bytes = sum(_bytes_on(device, one) for one in holding if not borrowed[one.id])
                    self._kept.append((device, kept_bytes))
        return self._kept

    def _needs(self, tenant: str) -> list[_Need]:
        return [
            _Need(self._state.reservations[reservation_id].model, milli)
            for name, unused in self._unused.items()
            for reservation_id, milli in unused.items()
            if milli and name != tenant
        ]

    def _is_own(self, lease: Lease, devices: Devices) -> bool:
        """Return whether the lease takes no more than its own tenant has reserved, which is not borrowed."""
        left = self._unused.get(lease.tenant, {})
        if not any(left.values()):
            return False
        mine = [replace(self._state.reservations[name], milli=milli) for name, milli in left.items()]
        kinds = tuple(_kind(device) for device in devices)
        wanted = device_share.milli(lease.request.size, devices)
        return (
            reservation_coverage.allocate_reservations([Usage(lease.id, kinds, wanted)], mine).by_lease[lease.id]
            == wanted
        )

    def _fits(self, kept: list[tuple[Device, int]], needs: list[_Need], lease: Lease, devices: Devices) -> bool:
        available = []
        for device, kept_bytes in kept:
            total = device.spec.memory_bytes
            mine = device_share.occupied_bytes(device, lease.request.size) if device in devices else 0
            if kept_bytes + mine > total:
                return False  # others keep what it would need
            available.append(-(-(total - kept_bytes - mine) * MILLI // total))
        return _fits(available, needs, self._those_of)

    def _those_of(self, model: str | None) -> list[int]:
        if model not in self._matching:
            kept = self._look()
            self._matching[model] = [
                n for n, (device, _) in enumerate(kept) if reservation_coverage.is_of(model, [_kind(device)])
            ]
        return self._matching[model]


def reservation_guard(state: State) -> ReservationGuard:
    """The same, quicker where nothing is reserved."""
    return ReservationGuard(state) if state.reservations else _ALL


def _require_sound(state: State, command: c.ReserveCapacity) -> None:
    if command.reservation_id in state.reservations:
        raise InvalidRequest(Message.of("reservation.id_taken"))
    if not 1 <= command.milli <= MILLI_MAX:
        raise InvalidRequest(Message.of("reservation.too_small"))
    if not 0 <= command.discount_percent <= 100:
        raise InvalidRequest(Message.of("reservation.discount_out_of_range"))
    size = reservation_coverage.size_of(command.model)
    if size.devices > 1 or not size.whole:
        raise InvalidRequest(Message.of("reservation.model_only"))
    if sum(not one.ended for one in state.reservations.values()) >= RESERVATIONS_MAX:
        raise InvalidRequest(Message.of("reservation.too_many", reservations_max=RESERVATIONS_MAX))


def _require_capacity(state: State, command: c.ReserveCapacity, start: int, end: int) -> None:
    """Raise :class:`NoSuchDevice` where the pool has not so much that is not reserved in that time."""
    kinds = [_kind(device) for device in state.devices.values() if device.present]

    def those_of(model: str | None) -> list[int]:
        return [number for number, kind in enumerate(kinds) if reservation_coverage.is_of(model, [kind])]

    others = [
        _Need(one.model, one.milli)
        for one in state.reservations.values()
        if not one.ended and one.start_wall_ms < end and start < one.end_wall_ms
    ]
    if _fits([MILLI] * len(kinds), [*others, _Need(command.model, command.milli)], those_of):
        return
    matching = len(those_of(command.model))
    held = sum(need.milli for need in others)
    raise NoSuchDevice(
        Message.of(
            "reservation.no_capacity",
            requested_milli=command.milli,
            model=command.model or "any",
            tenant=command.tenant,
            matching=matching,
            reserved_milli=held,
        )
    )


def _is_borrowed(state: State, lease: Lease) -> bool:
    """Whether the capacity that the lease holds can be had for a reservation."""
    if lease.state in RELEASING_CAPACITY:
        return True
    without = -device_share.held_milli(state, lease)
    beyond = fairshare.fair_share_key(state, lease.tenant, state.last.ms, without).beyond
    resting = parkability.is_resting_after_failure(lease, state.last.ms)
    return beyond and not resting and _returns(state, lease, device_share.devices_of(state, lease))


def _returns(state: State, lease: Lease, devices: Devices) -> bool:
    """Whether a lease of those devices is one that can be parked for who reserved them."""
    beyond = lease.logical_gpu is not None or fairshare.fair_share_key(state, lease.tenant, state.last.ms).beyond
    gentle = not lease.requirements.non_preemptible and lease.request.priority <= Priority.NORMAL
    return beyond and gentle and bool(devices) and all(_could_park(device.spec, lease) for device in devices)


def _could_park(spec: DeviceSpec, lease: Lease) -> bool:
    """Whether the lease can be parked there, by the mechanism that it has or would have."""
    gpu = lease.logical_gpu
    capability = (
        mechanisms.choose(spec, lease.requirements) if gpu is None else mechanisms.capability_of(spec, gpu.mechanism)
    )
    return spec.parkable and (capability is None or capability.parkable)


def _bytes_on(device: Device, lease: Lease) -> int:
    gpu = lease.logical_gpu
    if gpu is not None and gpu.partition is not None:
        return -(-device.spec.memory_bytes * gpu.partition.milli // MILLI)
    return device.spec.memory_bytes if gpu is None or gpu.whole else gpu.memory_bytes


def _fits(available: list[int], needs: Iterable[_Need], those_of: Callable[[str | None], list[int]]) -> bool:
    """Whether whole devices and a part of one can be found for each need among those of its kind.

    ``available``: thousandths of each device; ``those_of``: the positions there of the devices of a kind.
    """
    left = list(available)
    for need in sorted(needs, key=lambda need: (need.model is None, -need.milli)):
        whole, part = divmod(need.milli, MILLI)
        mine = those_of(need.model)
        for number in mine:
            if not whole:
                break
            if left[number] >= MILLI:
                left[number], whole = 0, whole - 1
        fitting = [number for number in mine if left[number] >= part] if part else []
        if whole or (part and not fitting):
            return False
        if part:
            left[min(fitting, key=lambda number: left[number])] -= part
    return True


def _signature(device: Device, kept_bytes: int) -> tuple[object, ...]:
    """Return what a grant of the device depends on, as far as reservations decide that."""
    return _kind(device), kept_bytes, device.spec.parkable, device.spec.capabilities


def _kind(device: Device) -> DeviceModel:
    return DeviceModel(device.spec.model, device.spec.memory_bytes)


#: Nothing is reserved.
_ALL = ReservationGuard(State())


def _cut_ms(one: Reservation, at: Instant) -> int:
    """Where a reservation that ends now is paid up to."""
    began = one.start_wall_ms if one.began_wall_ms is None else one.began_wall_ms
    return min(max(at.wall_ms, began), one.end_wall_ms)


def require_not_reserved_by_others(state: State, lease: Lease, size: Size) -> None:
    """Raise where the lease, of that size, would have for good what is reserved for others."""
    request = replace(lease.request, profile=str(size), memory_bytes=None, retention=Retention.HOLD)
    held = replace(lease, request=request)
    if not ReservationGuard(state, but={lease.id}).leaves_room(held, device_share.devices_of(state, lease)):
        raise Conflict(Message.of("reservation.capacity_borrowed"))


def apply_reservation(
    state: State, event: e.ReservationMade | e.ReservationBegan | e.ReservationEnded, at: Instant
) -> None:
    """Record the reservation, and what the tenant's reservations cover from here on."""
    one = reservation_coverage.after(state.reservations.get(event.reservation_id), event, at)
    state.reservations[one.id] = one
    tenant = fairshare.tenant_of(state, one.tenant)
    tenant.reserved_milli = sum(other.milli for other in meter.running(state, one.tenant))
    meter.recut(state, one.tenant, at.ms)
