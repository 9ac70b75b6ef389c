"""The queue of class c of ``packing.py``: fractions wait until some of them fill a device together."""

from __future__ import annotations

from collections import Counter, defaultdict, deque

from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Placement
from tests.benchmarks.openb import WHOLE, gpu_milli

#: Thousandths of a device that a set of fractions fills at least.
FULL_ENOUGH = 960
#: Parts of a device at most that are made at once.
PARTS_MAX = 6


class Batches:
    """The queue of class c: fractions that wait until they fill a device together."""

    def __init__(self, index: CapacityIndex, bound: int) -> None:
        self.index, self.bound = index, bound
        self.waiting: dict[int, deque[tuple[int, Demand]]] = defaultdict(deque)  #: by size, in order of arrival
        self.late: deque[tuple[int, Demand]] = deque()  #: whole GPUs that did not fit
        self.holds: list[int] = []
        self.gained = 0
        self._patterns: dict[int, list[tuple[tuple[int, int], ...]]] = {}
        self._known: tuple[int, ...] = ()

    def arrive(self, now: int, demand: Demand) -> None:
        """Add a demand, and place what can be placed now."""
        if demand.devices != 1 or demand.whole:
            if not self._place(now, now, demand):
                self.late.append((now, demand))
        else:
            size = demand.units or 0
            self.waiting[size].append((now, demand))
            self._batch(now, size)
        self._overdue(now)

    def _batch(self, now: int, size: int) -> None:
        """Fill a device as much as possible with waiting tasks, one of them of that size."""
        for pattern in self._with(size):
            if any(len(self.waiting[part]) < count for part, count in pattern):
                continue
            chosen = [self.waiting[part][i] for part, count in pattern for i in range(count)]
            whole = Demand(
                models=_common([demand for _, demand in chosen]),
                cpu_milli=sum(demand.cpu_milli for _, demand in chosen),
                host_memory_bytes=sum(demand.host_memory_bytes for _, demand in chosen),
            )
            placement = self.index.place(whole)
            if placement is None:
                continue
            for since, demand in chosen:
                self.index.allocate(Placement(placement.host_id, placement.device_ids, demand.units or 0), demand)
                self.waiting[demand.units or 0].popleft()
                self._count(now, since, demand)
            return

    def _overdue(self, now: int) -> None:
        for queue in self.waiting.values():
            if queue and now - queue[0][0] >= self.bound:
                since, demand = queue[0]
                if self._place(now, since, demand):
                    queue.popleft()
                else:
                    queue.rotate(-1)  # it does not fit; the next one is tried next time

    def _place(self, now: int, since: int, demand: Demand) -> bool:
        placement = self.index.place(demand)
        if placement is None:
            return False
        self.index.allocate(placement, demand)
        self._count(now, since, demand)
        return True

    def _count(self, now: int, since: int, demand: Demand) -> None:
        self.gained += gpu_milli(demand)
        self.holds.append(now - since)

    def _with(self, size: int) -> list[tuple[tuple[int, int], ...]]:
        """Return the sets of sizes with ``size`` that fill a device: the fullest first, of equal ones the smallest."""
        known = tuple(sorted(self.waiting, reverse=True))
        if known != self._known:
            self._known = known
            self._patterns.clear()
        if size not in self._patterns:
            found: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []

            def grow(start: int, left: int, parts: tuple[int, ...]) -> None:
                if WHOLE - left >= FULL_ENOUGH:
                    found.append((left, len(parts), tuple(sorted(Counter(parts).items()))))
                if len(parts) < PARTS_MAX:
                    for i in range(start, len(known)):
                        if known[i] <= left:
                            grow(i, left - known[i], (*parts, known[i]))

            grow(0, WHOLE - size, (size,))
            self._patterns[size] = [pattern for _, _, pattern in sorted(found)]
        return self._patterns[size]


def _common(demands: list[Demand]) -> frozenset[str] | None:
    sets = [demand.models for demand in demands if demand.models is not None]
    return frozenset.intersection(*sets) if sets else None
