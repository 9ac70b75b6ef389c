"""Conservative backfill: devices reserved for requests that come first and cannot be served yet.

A request that is served out of turn is placed only on what none of the requests before it has reserved, so it delays
none of them. A reservation covers the devices that will soonest be able to serve the request, and the processors and
memory that it needs of their host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

from ..model.entities import Lease
from ..placement.demand import NO_EXCLUSION, Exclusion, Placement
from .rank import Rank
from .request_class import RequestClass

#: Number of request classes that devices are reserved for at most.
RESERVATIONS_MAX = 16


class BackfillReservation(NamedTuple):
    """What is reserved for the first request of a class."""

    placement: Placement
    exclusion: Exclusion
    rank: Rank  #: of the request when the reservation was made


class BackfillReservations:
    """All reservations, by request class."""

    def __init__(self, is_overdue: Callable[[Lease], bool]) -> None:
        self._is_overdue = is_overdue
        self._by_class: dict[RequestClass, BackfillReservation] = {}
        self._count_by_host: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_class)

    def __contains__(self, request_class: object) -> bool:
        return request_class in self._by_class

    def add(self, request_class: RequestClass, reservation: BackfillReservation) -> None:
        """Add the reservation of a class that has none."""
        host_id = reservation.placement.host_id
        self._by_class[request_class] = reservation
        self._count_by_host[host_id] = self._count_by_host.get(host_id, 0) + 1

    def remove(self, request_class: RequestClass) -> str:
        """Remove the reservation of a class, and return the id of its host."""
        host_id = self._by_class.pop(request_class).placement.host_id
        self._count_by_host[host_id] -= 1
        if not self._count_by_host[host_id]:
            del self._count_by_host[host_id]
        return host_id

    def clear(self) -> list[str]:
        """Remove all reservations, and return the ids of their hosts."""
        host_ids = list(self._count_by_host)
        self._by_class.clear()
        self._count_by_host.clear()
        return host_ids

    def has_any_on(self, host_id: str) -> bool:
        """Return whether anything of a host is reserved."""
        return host_id in self._count_by_host

    def on(self, host_id: str) -> list[tuple[RequestClass, BackfillReservation]]:
        """Return the reservations on one host."""
        if host_id not in self._count_by_host:
            return []
        return [(one, held) for one, held in self._by_class.items() if held.placement.host_id == host_id]

    def of_device(self, device_id: str) -> list[RequestClass]:
        """Return the classes that a device is reserved for."""
        return [one for one, held in self._by_class.items() if device_id in held.placement.device_ids]

    def devices_for(self, request_class: RequestClass) -> tuple[str, ...]:
        """Return the ids of the devices that are reserved for a class."""
        reservation = self._by_class.get(request_class)
        return () if reservation is None else reservation.placement.device_ids

    def excluded_for(self, rank: Rank) -> dict[str, Exclusion]:
        """Return what a request of that rank must leave alone, by host."""
        excluded: dict[str, Exclusion] = {}
        for exclusion, host_id in self._before(rank):
            known = excluded.get(host_id)
            excluded[host_id] = exclusion if known is None else known.combined_with(exclusion)
        return excluded

    def excluded_on(self, host_id: str, rank: Rank) -> Exclusion:
        """Return what a request of that rank must leave alone on one host."""
        here = [held.exclusion for one, held in self.on(host_id) if self.rank_of(one, held) < rank]
        return reduce(Exclusion.combined_with, here) if here else NO_EXCLUSION

    def precedes_any(self, rank: Rank) -> bool:
        """Return whether a request of that rank comes before some class that has a reservation."""
        return any(rank < self.rank_of(one, held) for one, held in self._by_class.items())

    def rank_of(self, request_class: RequestClass, reservation: BackfillReservation) -> Rank:
        """Return the rank that a reservation was made for, or a better one where a request is overdue by now."""
        return Rank.overdue(request_class.first) if self._is_overdue(request_class.first) else reservation.rank

    def _before(self, rank: Rank) -> Iterator[tuple[Exclusion, str]]:
        for request_class, held in self._by_class.items():
            if self.rank_of(request_class, held) < rank:
                yield held.exclusion, held.placement.host_id
