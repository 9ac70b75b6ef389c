"""What those who stand in one line need, put so that it is quickly compared with what a host has."""

from __future__ import annotations

from .capacity_index import CapacityIndex, HostHeadroom
from .demand import Demand


class HostFilter:
    """A demand as one fleet tells it; made anew when that is set up anew."""

    __slots__ = ("by_kind", "cpu_milli", "demand", "devices", "memory_bytes", "share")

    def __init__(self, fleet: CapacityIndex, demand: Demand | None) -> None:
        """``demand`` is ``None`` where no device will do."""
        self.demand = demand
        self.by_kind: dict[int, int] = {} if demand is None else fleet.host_filter(demand)  #: units of a device
        self.share = 0 if demand is None else fleet.share(demand)  #: bins of a device at least
        self.devices = demand.devices if demand is not None and demand.whole else 0  #: that must be free
        self.cpu_milli = demand.cpu_milli if demand is not None else 0
        self.memory_bytes = demand.host_memory_bytes if demand is not None else 0

    def fits(self, offer: HostHeadroom) -> bool:
        """Whether it may be placed on a host with that to offer; never wrongly no."""
        if self.cpu_milli > offer.cpu_milli or self.memory_bytes > offer.memory_bytes:
            return False
        for kind, most in offer.most.items():
            if self.by_kind.get(kind, most + 1) <= most and self.devices <= offer.whole.get(kind, 0):
                return True
        return False
