"""What of a tenant's leases its reservations pay for. Pure: the meter and the ledger both ask here.

A reservation is used up by the tenant's leases in order of their grants; the last one may be covered in part. Those of
one kind of device are used before those of any kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from ..model import events as e
from ..model.entities import Instant, LogicalGPU, Reservation
from ..model.size import Size, parse_size


class DeviceModel(NamedTuple):
    """What decides whether a reservation is of a device."""

    model: str
    memory_bytes: int


class Usage(NamedTuple):
    """A lease's devices and how many thousandths of devices it has of them."""

    lease_id: str
    kinds: tuple[DeviceModel, ...]  #: empty where no reservation can be of them
    milli: int


class Coverage(NamedTuple):
    """What is covered and what is left, in thousandths of devices."""

    by_lease: dict[str, int]
    left: dict[str, int]  #: by reservation


def usage_of(lease_id: str, gpu: LogicalGPU, kinds: Mapping[str, DeviceModel]) -> Usage:
    """The use that a logical GPU makes of its devices; no reservation is of what an engine allocated."""
    if gpu.cluster is not None:
        return Usage(lease_id, (), gpu.cluster.milli)
    of = tuple(kinds[device_id] for device_id in gpu.device_ids)
    return Usage(lease_id, of, gpu.milli_of(of[0].memory_bytes))


@lru_cache(maxsize=1024)
def size_of(model: str | None) -> Size:
    """The kind of device that a reservation is of. Raises :class:`~fastgpu_jupyter.errors.InvalidRequest`."""
    return Size() if model is None else parse_size(model)


def is_of(model: str | None, kinds: Collection[DeviceModel]) -> bool:
    """Whether a reservation is of all those devices."""
    size = size_of(model)
    return all(size.matches(kind.model, kind.memory_bytes) for kind in kinds)


def allocate_reservations(uses: Iterable[Usage], reservations: Iterable[Reservation]) -> Coverage:
    """What the reservations pay of the uses, which are in order of grant."""
    ordered = sorted(reservations, key=lambda one: (one.model is None, one.start_wall_ms, one.id))
    result = Coverage({}, {one.id: one.milli for one in ordered})
    for use in uses:
        wanted = use.milli
        for one in ordered:
            if wanted and use.kinds and result.left[one.id] and is_of(one.model, use.kinds):
                taken = min(wanted, result.left[one.id])
                result.left[one.id] -= taken
                wanted -= taken
        result.by_lease[use.lease_id] = use.milli - wanted
    return result


def billed(rate_micro_per_hour: int, milli: int, covered_milli: int) -> int:
    """What is still to be paid by use, in millionths an hour; a part of a micro-unit is not charged."""
    return rate_micro_per_hour * (milli - covered_milli) // milli if milli else 0


def after(
    known: Reservation | None, event: e.ReservationMade | e.ReservationBegan | e.ReservationEnded, at: Instant
) -> Reservation:
    """The reservation once that has happened; it is ``known`` except where it was just made."""
    if isinstance(event, e.ReservationMade):
        return Reservation(
            event.reservation_id,
            event.tenant,
            event.milli,
            event.model,
            event.plan,
            event.rate_micro_per_hour,
            event.start_wall_ms,
            event.end_wall_ms,
        )
    assert known is not None
    if isinstance(event, e.ReservationEnded):
        return replace(known, end_wall_ms=event.end_wall_ms, ended=True)
    return replace(known, began_wall_ms=min(max(at.wall_ms, known.start_wall_ms), known.end_wall_ms))
