"""The capacity of a pool, indexed so that a placement does not look at every host.

The cost of a placement (:mod:`.reference`) depends on the device class, the free bins of the device and the processor
cost of its host only. Hosts that agree in these are listed together in a *bucket* (:mod:`.host_buckets`); what a demand
costs there is looked up (:mod:`.bucket_costs`). A placement takes the first suitable host of the cheapest bucket; a
change of capacity moves one host between a few buckets, when the buckets are next used.

The index answers exactly as the scan of :mod:`.reference` does, which small pools use directly. A change takes time in
proportion to the devices of its host: negligible with 16 of them, about a millisecond with 1,000 on one host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .bucket_costs import COST_SHIFT, HOST_ONLY, LEVEL_BITS, LEVEL_MASK, BucketCosts, CostTable, DemandCosts
from .capacity import CPU_MILLI_LIMIT, NOTHING_FREE, Capacity, IndexedDevice, IndexedHost, of_one_model
from .cutting_stock import BINS
from .demand import NO_EXCLUSION, Demand, Exclusion, Placement
from .device_classes import free_bins, free_capacity
from .host_buckets import RANK_BITS, RANK_MASK, HostBuckets
from .host_filter import HostFilter, HostHeadroom, headroom_of
from .reference import ReferencePolicy, choices_on
from .shadow_prices import ShadowPrices

#: Number of hosts up to which the reference scan places; ``tests/benchmarks/reference_placement.py`` has its times.
REFERENCE_HOSTS_MAX = 8


class CapacityIndex(Capacity):
    """Hosts, devices, what of them is free, and the cheapest placement of a demand."""

    def __init__(self, prices: ShadowPrices | None = None, reference_hosts_max: int | None = None) -> None:
        """``reference_hosts_max``: by default :data:`REFERENCE_HOSTS_MAX`."""
        super().__init__()
        self._reference_hosts_max = REFERENCE_HOSTS_MAX if reference_hosts_max is None else reference_hosts_max
        self._prices = prices or ShadowPrices()
        self._costs = CostTable(self._prices, ())
        self._policy = ReferencePolicy(self._prices, (), self._costs.scarcity)
        self._by_rank: list[IndexedHost] = []
        self._buckets: HostBuckets | None = None  #: ``None`` where the reference scan places
        self._places_on_hosts_only = False  #: whether there are demands without a device

    @property
    def small(self) -> bool:
        """Whether the pool has so few hosts that the reference scan places."""
        return len(self._hosts) <= self._reference_hosts_max

    def set_shadow_prices(self, prices: ShadowPrices) -> None:
        """Place by other shadow prices from now on."""
        self._prices = prices
        self._inventory_changed = True

    # -- placement ----------------------------------------------------------------------------------------------------

    def place(self, demand: Demand, excluded: Mapping[str, Exclusion] | None = None) -> Placement | None:
        """Return the placement with the lowest cost, or ``None`` where no host can serve now. Change nothing.

        ``excluded``: what is reserved for other demands, by host.
        """
        costs = self._costs_of(demand)
        buckets = self._updated_buckets()
        if buckets is None:
            return self._policy.place(self._by_rank, demand, excluded)
        scarce = self._costs.scarcity.scarce() & costs.others
        found = self._cheapest(buckets, costs, demand, excluded, avoided=scarce)
        if found is None and scarce:
            found = self._cheapest(buckets, costs, demand, excluded, avoided=0)
        return found

    def place_on(self, host_id: str, demand: Demand, exclusion: Exclusion = NO_EXCLUSION) -> Placement | None:
        """Return what :meth:`place` returns where there is no other host."""
        costs, host = self._costs_of(demand), self._hosts[host_id]
        units = costs.units
        choices = choices_on(host, demand, units, exclusion.device_ids) if host.has_room(demand, exclusion) else []
        if len(choices) > 1 or (choices and not demand.devices):
            self._updated_buckets()
            scarce = self._costs.scarcity.scarce() & costs.others
            return self._policy.cheapest(host, choices, demand, units, scarce).placement
        if not choices:
            return None
        (chosen,) = choices  # nothing to compare
        return Placement(host.id, tuple([device.id for device in chosen]), units[chosen[0].device_class])

    def units_by_class(self, demand: Demand) -> dict[int, int]:
        """Return the units of a device that a demand takes, by the device classes that can serve it."""
        return self._costs_of(demand).units

    def filter_of(self, demand: Demand) -> HostFilter:
        """Return the filter that tells where a demand may fit."""
        costs = self._costs_of(demand)
        return HostFilter(
            costs.units,
            min((one.bins for one in costs.by_class.values()), default=BINS + 1),
            demand.devices if demand.whole else 0,
            demand.cpu_milli,
            demand.host_memory_bytes,
        )

    def headroom(self, host_id: str, exclusion: Exclusion = NO_EXCLUSION) -> HostHeadroom:
        """Return what could at most be placed on a host beside what is excluded."""
        if self._inventory_changed:
            self._rebuild()
        return headroom_of(self._hosts[host_id], exclusion)

    def most_free_first(self, class_number: int, count: int) -> Iterator[IndexedHost]:
        """Yield up to ``count`` hosts for each remainder of a device class, the largest remainder first, then all."""
        buckets = self._updated_buckets()
        if buckets is None:
            return iter(self._by_rank)
        return buckets.most_free_first(self._costs.classes[class_number].sorted_buckets, count)

    def _cheapest(
        self,
        buckets: HostBuckets,
        costs: DemandCosts,
        demand: Demand,
        excluded: Mapping[str, Exclusion] | None,
        *,
        avoided: int,
    ) -> Placement | None:
        """Return the placement in the cheapest bucket that has a suitable host, of which some kinds use nothing."""
        lists, cpu_cost, cpu_relief, cpu = (
            buckets.lists,
            self._prices.cpu_cost,
            self._prices.cpu_relief,
            demand.cpu_milli,
        )
        avoided <<= LEVEL_BITS
        best: tuple[int, int, int] | None = None  # cost, bucket code, sort key: the order of preference
        chosen: BucketCosts | None = None
        limit = 1 << 62
        for one in costs.by_class.values():
            if one.seen != len(one.device_class.buckets):
                self._costs.extend(one, demand)
            for lowest, code, lost, taken, used, bucket in one.entries:
                if lowest > limit:
                    break
                listed = lists.get(bucket)
                if listed is None:
                    continue
                uses = used & avoided
                for listed_as, keys in listed.items():
                    if uses & listed_as:
                        continue
                    level = listed_as & LEVEL_MASK
                    cost = lost + cpu_cost[level] * cpu - (cpu_relief[level] * taken >> 30) >> COST_SHIFT
                    if cost > limit or (best is not None and (cost, code, keys[0]) >= best):
                        continue
                    key = self._first_suitable(keys, one, code, demand, excluded)
                    if key is not None and (best is None or (cost, code, key) < best):
                        best, chosen, limit = (cost, code, key), one, cost
        if best is None or chosen is None:
            return None
        host = self._by_rank[best[2] & RANK_MASK]
        exclusion = excluded.get(host.id, NO_EXCLUSION) if excluded else NO_EXCLUSION
        devices = _devices_in_bucket(host, chosen, best[1], demand, exclusion)
        return Placement(host.id, tuple([device.id for device in devices]), chosen.units)

    def _first_suitable(
        self,
        keys: list[int],
        costs: BucketCosts,
        code: int,
        demand: Demand,
        excluded: Mapping[str, Exclusion] | None,
    ) -> int | None:
        """Return the first sort key of a bucket whose host meets what the bucket does not guarantee by itself."""
        last = CPU_MILLI_LIMIT - demand.cpu_milli << RANK_BITS | RANK_MASK
        for key in keys:
            if key > last:
                return None  # from here on hosts have too few processors
            host = self._by_rank[key & RANK_MASK]
            if host.free_memory_bytes < demand.host_memory_bytes:
                continue
            exclusion = excluded.get(host.id) if excluded else None
            if exclusion is not None and not host.has_room(demand, exclusion):
                continue
            # Models that no frequent demand tells apart share buckets, and a bin is coarser than a unit.
            unsure = demand.devices and (
                exclusion is not None or demand.models is not None or code == costs.bins or demand.devices > 1
            )
            if unsure and not _devices_in_bucket(host, costs, code, demand, exclusion or NO_EXCLUSION):
                continue
            return key
        return None

    # -- keeping the index up to date ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Do a little of the work that the next placement would have to do first."""
        if self._inventory_changed:
            self._rebuild()
        elif self._changed_hosts:
            self._update(self._changed_hosts.popitem()[1])

    def _costs_of(self, demand: Demand) -> DemandCosts:
        if not demand.devices and not self._places_on_hosts_only:
            self._places_on_hosts_only = self._inventory_changed = True
        if self._inventory_changed:
            self._rebuild()
        return self._costs.of(demand)

    def _rebuild(self) -> None:
        """Rank the hosts and fill the buckets; needed when hosts, devices or shadow prices have changed."""
        self._inventory_changed = False
        self._changed_hosts.clear()
        self._by_rank = sorted(self._hosts.values(), key=lambda host: host.id)
        if len(self._by_rank) > RANK_MASK:
            raise ValueError("too many hosts")
        self._costs = CostTable(self._prices, self._devices.values())
        self._policy = ReferencePolicy(self._prices, self._costs.classes, self._costs.scarcity)
        for rank, host in enumerate(self._by_rank):
            host.rank = rank
            host.devices = {one.id: one for one in sorted(host.devices.values(), key=_by_order)}
            host.free, host.several, host.serves, host.buckets = NOTHING_FREE, [], self._costs.scarcity.single, []
        self._buckets = None
        if not self.small:
            self._buckets = HostBuckets(self._by_rank, self._prices, self._costs, self._places_on_hosts_only)
        for host in self._by_rank:
            self._update(host)

    def _update(self, host: IndexedHost) -> None:
        """Take over what is free of a host."""
        self._costs.scarcity.count(host, free_capacity(host, self._prices.packing_value))
        if self._buckets is not None:
            self._buckets.update(host)

    def _updated_buckets(self) -> HostBuckets | None:
        """Return the buckets with every changed host where it belongs; ``None`` where the reference scan places."""
        if self._inventory_changed:
            self._rebuild()
        while self._changed_hosts:
            self._update(self._changed_hosts.popitem()[1])
        return self._buckets


def _devices_in_bucket(
    host: IndexedHost, costs: BucketCosts, code: int, demand: Demand, exclusion: Exclusion
) -> list[IndexedDevice]:
    """Return the devices of a host in that bucket that serve the demand; an empty list where there are too few."""
    if code == HOST_ONLY:
        return []
    found: list[IndexedDevice] = []
    for device in host.devices.values():
        if device.device_class != costs.device_class.number or not device.grantable:
            continue
        if not demand.allows(device.model) or device.id in exclusion.device_ids:
            continue
        if device.free >= costs.units and free_bins(device) == min(code, BINS):
            found.append(device)
            if demand.devices == 1:
                break
    return of_one_model(found, demand.devices)


def _by_order(device: IndexedDevice) -> tuple[int, str]:
    return device.order, device.id
