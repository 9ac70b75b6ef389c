"""Capacity that is reserved: made, begun and ended; and what of it may be lent while its tenant does not use it.

A reservation is a guarantee that is paid for. Its tenant stands before others until it holds what it has reserved
(:func:`.fairshare.standing`), and leases are parked for it (:mod:`.parking`). What it does not use is lent, but only to
leases that can be parked for it again; to any other, nothing is granted that the reservations would then lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ..errors import InvalidRequest, NoSuchDevice, NotFound
from . import commands as c
from . import cover, fairshare, meter, months, placement
from . import events as e
from .cover import Kind, Use
from .events import Event
from .model import LEAVING, Device, Instant, Lease, Plan, Priority, Reservation, State
from .placement import Devices

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
    if not at.wall_ms <= start <= months.months_later(at.wall_ms, AHEAD_MONTHS_MAX):
        raise InvalidRequest(f"A reservation begins now or later, within {AHEAD_MONTHS_MAX} months. Nothing was made.")
    end = months.months_later(start, TERM_MONTHS[command.plan])
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
        raise NotFound(
            f"There is no reservation {command.reservation_id[:40]!r}; `jupyter fastgpu reserve` lists them."
        )
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
    size = cover.size_of(model)
    specs = (device.spec for device in state.devices.values() if device.present)
    rates = (spec.rate_micro_per_hour for spec in specs if size.matches(spec.model, spec.memory_bytes))
    return max(rates, default=0) * milli * (100 - discount_percent) // (100 * MILLI)


def leaves_room(state: State, lease: Lease, devices: Devices) -> bool:
    """Whether what others have reserved could still be had after a grant of those devices."""
    return not _is_asked_by_others(state, lease.tenant) or _Room(state, lease).is_left_by(devices)


def may_hope(state: State, lease: Lease) -> bool:
    """Whether the lease could be granted somewhere for all that others have reserved."""
    if not _is_asked_by_others(state, lease.tenant):
        return True
    able = [device for device in placement.able(state, lease.want) if device.grantable]
    count, room = lease.want.size.devices, _Room(state, lease)
    if count > 1:
        return len(able) >= count and room.is_left_by(tuple(able[:count]))
    return any(room.is_left_by((device,)) for device in able)


def _is_asked_by_others(state: State, tenant: str) -> bool:
    return any(one.runs and one.tenant != tenant for one in state.reservations.values())


class _Room:
    """What there is beside a lease, and what of it others have reserved and do not hold."""

    def __init__(self, state: State, lease: Lease) -> None:
        self._state = state
        self._lease = lease
        self._books: tuple[list[tuple[Device, int]], list[_Need]] | None = None

    def is_left_by(self, devices: Devices) -> bool:
        """Whether the reservations could be served if the lease had those devices, or as well as without it."""
        if _returns(self._state, self._lease, devices) or self._is_own(devices):
            return True
        if self._books is None:
            self._books = self._kept(), _needs(self._state, self._lease.tenant)
        kept, needs = self._books
        available = []
        for device, kept_bytes in kept:
            mine = self._lease.request.size.memory_on(device.spec.memory_bytes) if device in devices else 0
            free_bytes = device.spec.memory_bytes - kept_bytes - mine
            if free_bytes < 0:
                return False  # others keep what it would need
            available.append((_kind(device), -(-free_bytes * MILLI // device.spec.memory_bytes)))
        return _fits(available, needs)

    def _is_own(self, devices: Devices) -> bool:
        """Whether it would take no more than its own tenant has reserved, which then is nobody's to lend."""
        name = self._lease.tenant
        if not self._state.tenants[name].reserved_milli:
            return False
        left = meter.unused(self._state, name, but=self._lease.id)
        mine = [replace(one, milli=left[one.id]) for one in meter.running(self._state, name)]
        kinds = tuple(_kind(device) for device in devices)
        wanted = placement.milli(self._lease.request.size, devices)
        return cover.cover([Use(self._lease.id, kinds, wanted)], mine).of_lease[self._lease.id] == wanted

    def _kept(self) -> list[tuple[Device, int]]:
        """Each device in service, and the bytes of it that nobody could take back for a reservation."""
        state = self._state
        return [
            (device, sum(_bytes_on(device, state.leases[name]) for name in device.lease_ids if self._keeps(name)))
            for device in state.devices.values()
            if device.grantable
        ]

    def _keeps(self, lease_id: str) -> bool:
        return lease_id != self._lease.id and not _is_lent(self._state, self._state.leases[lease_id])


def _require_sound(state: State, command: c.ReserveCapacity) -> None:
    if command.reservation_id in state.reservations:
        raise InvalidRequest("There is another reservation with this id already. Nothing was changed.")
    if not 1 <= command.milli <= MILLI_MAX:
        raise InvalidRequest("A reservation is of at least a thousandth of a device.")
    if not 0 <= command.discount_percent <= 100:
        raise InvalidRequest("A discount is from 0 to 100 percent.")
    size = cover.size_of(command.model)
    if size.devices > 1 or not size.whole:
        raise InvalidRequest("A reservation names a kind of device, like a100; how many is its own number.")
    if sum(not one.ended for one in state.reservations.values()) >= RESERVATIONS_MAX:
        raise InvalidRequest(f"There are {RESERVATIONS_MAX} reservations; end one before another is made.")


def _require_capacity(state: State, command: c.ReserveCapacity, start: int, end: int) -> None:
    """Raise :class:`NoSuchDevice` where the pool has not so much that is not reserved in that time."""
    present = [device for device in state.devices.values() if device.present]
    available = [(_kind(device), MILLI) for device in present]
    others = [
        _Need(one.model, one.milli)
        for one in state.reservations.values()
        if not one.ended and one.start_wall_ms < end and start < one.end_wall_ms
    ]
    if _fits(available, [*others, _Need(command.model, command.milli)]):
        return
    matching = sum(cover.is_of(command.model, [kind]) for kind, _ in available)
    held = sum(need.milli for need in others)
    raise NoSuchDevice(
        f"{command.milli / MILLI:g} {command.model or 'any'} cannot be held for {command.tenant}: the pool has "
        f"{matching} such GPUs, and {held / MILLI:g} of all its GPUs are reserved in that time already. "
        "Nothing was reserved; ask for less or for later."
    )


def _needs(state: State, tenant: str) -> list[_Need]:
    """What tenants other than that one have reserved and do not hold."""
    others = {one.tenant for one in state.reservations.values() if one.runs and one.tenant != tenant}
    return [
        _Need(state.reservations[reservation_id].model, milli)
        for name in sorted(others)
        for reservation_id, milli in meter.unused(state, name).items()
        if milli
    ]


def _is_lent(state: State, lease: Lease) -> bool:
    """Whether the capacity that the lease holds can be had for a reservation."""
    if lease.state in LEAVING:
        return True
    without = -placement.held_milli(state, lease)
    beyond = fairshare.standing(state, lease.tenant, state.last.ms, without).beyond
    return beyond and lease.unparkable is None and _returns(state, lease, placement.devices_of(state, lease))


def _returns(state: State, lease: Lease, devices: Devices) -> bool:
    """Whether a lease of those devices is one that can be parked for who reserved them."""
    beyond = lease.logical_gpu is not None or fairshare.standing(state, lease.tenant, state.last.ms).beyond
    gentle = not lease.want.keeps and lease.request.priority <= Priority.NORMAL
    return beyond and gentle and bool(devices) and all(device.spec.parkable for device in devices)


def _bytes_on(device: Device, lease: Lease) -> int:
    gpu = lease.logical_gpu
    return device.spec.memory_bytes if gpu is None or gpu.whole else gpu.memory_bytes


def _fits(available: list[tuple[Kind, int]], needs: Iterable[_Need]) -> bool:
    """Whether whole devices and a part of one can be found for each need."""
    left = [milli for _, milli in available]
    for need in sorted(needs, key=lambda need: (need.model is None, -need.milli)):
        whole, part = divmod(need.milli, MILLI)
        mine = [number for number, (kind, _) in enumerate(available) if cover.is_of(need.model, [kind])]
        for number in mine:
            if whole and left[number] >= MILLI:
                left[number], whole = 0, whole - 1
        fitting = [number for number in mine if left[number] >= part]
        if whole or (part and not fitting):
            return False
        if part:
            left[min(fitting, key=lambda number: left[number])] -= part
    return True


def _kind(device: Device) -> Kind:
    return Kind(device.spec.model, device.spec.memory_bytes)


def _cut_ms(one: Reservation, at: Instant) -> int:
    """Where a reservation that ends now is paid up to."""
    began = one.start_wall_ms if one.began_wall_ms is None else one.began_wall_ms
    return min(max(at.wall_ms, began), one.end_wall_ms)
