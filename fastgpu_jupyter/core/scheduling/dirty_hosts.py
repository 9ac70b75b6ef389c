"""Hosts that have gained room since they were last examined, and the request classes that may fit there.

A request class that could not be placed anywhere stays unplaceable until some host gains room. So after a change only
the classes that may fit on a *dirty* host are tried, and only on that host.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator

from ..placement.host_filter import HostHeadroom
from .request_class import RequestClass

_BEHIND_ALL = 1 << 62  #: greater than the number of any class

#: Some order, the number of a class, and the class.
ClassEntry = tuple[int, int, RequestClass]


class DirtyHost:
    """A host that has gained room, and what is known of it since."""

    __slots__ = ("failed", "fitting", "headroom")

    def __init__(self, failed: Iterable[RequestClass] = ()) -> None:
        self.headroom: HostHeadroom | None = None  #: computed when it is first needed
        self.fitting: set[RequestClass] | None = None  #: classes that may fit; computed when they are first needed
        self.failed = set(failed)  #: classes that were found not to fit


class DirtyHosts:
    """All hosts that have gained room, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, DirtyHost] = {}

    def gained_room(self, host_id: str) -> None:
        """Note that a host has more room than before: any class may fit."""
        self.by_id[host_id] = DirtyHost()

    def lost_room(self, host_id: str) -> None:
        """Note that a host has less room than before: a class that did not fit does not fit now."""
        known = self.by_id.get(host_id)
        if known is not None:
            self.by_id[host_id] = DirtyHost(known.failed)

    def failed(self, classes: Collection[RequestClass]) -> None:
        """Note that no request of some classes can be placed now."""
        for host in self.by_id.values():
            host.failed.update(classes)
            if host.fitting is not None:
                host.fitting.difference_update(classes)

    def forget_classes(self) -> None:
        """Forget what is known of classes, because what they require has changed."""
        self.by_id = {host_id: DirtyHost() for host_id in self.by_id}


class ClassesBySize:
    """The request classes by the least that they take of a device, so that too large ones are skipped."""

    def __init__(self) -> None:
        self._entries: list[ClassEntry] = []

    def add(self, request_class: RequestClass) -> None:
        """Add a class whose filter is known."""
        insort(self._entries, (request_class.host_filter.least_bins, request_class.number, request_class))

    def remove(self, request_class: RequestClass) -> None:
        """Remove a class whose filter has not changed since it was added."""
        del self._entries[bisect_left(self._entries, (request_class.host_filter.least_bins, request_class.number))]

    def candidates(self, headroom: HostHeadroom) -> list[ClassEntry]:
        """Return the entries of the classes that are small enough for some device of a host."""
        if not headroom.largest_free:
            return []
        return self._entries[: bisect_right(self._entries, (headroom.largest_bins, _BEHIND_ALL))]


def that_may_fit(entries: Iterable[ClassEntry], headroom: HostHeadroom) -> Iterator[RequestClass]:
    """Yield the classes that may fit on a host with that headroom, in the order of the entries."""
    if len(headroom.largest_free) != 1:
        yield from (entry[2] for entry in entries if entry[2].host_filter.may_fit(headroom))
        return
    # The usual case, HostFilter.may_fit written out: in a deep queue most of a decision is spent here.
    ((device_class, most),) = headroom.largest_free.items()
    cpu_milli, memory_bytes = headroom.cpu_milli, headroom.memory_bytes
    free_devices = headroom.free_devices.get(device_class, 0)
    for entry in entries:
        host_filter = entry[2].host_filter
        if (
            host_filter.cpu_milli <= cpu_milli
            and host_filter.whole_devices <= free_devices
            and host_filter.memory_bytes <= memory_bytes
            and host_filter.units_by_class.get(device_class, most + 1) <= most
        ):
            yield entry[2]
