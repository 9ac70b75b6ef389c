"""Hosts listed by what they have free, so that one look-up finds all hosts where a demand costs the same.

A host is listed once for each class and remainder of its devices; :mod:`.bucket_costs` has the numbers of the buckets.
Within a bucket, hosts with the same processor cost are in the order in which ties are broken: most free processors
first, then the smallest id.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from .bucket_costs import CODE_BITS, EMPTY, FREE, HOST_ONLY, CostTable
from .capacity import CPU_MILLI_LIMIT, IndexedHost
from .cutting_stock import BINS
from .shadow_prices import ShadowPrices

#: Bits of a host's rank in its sort key; the bits above are the processors in use.
RANK_BITS = 24
RANK_MASK = (1 << RANK_BITS) - 1


class HostBuckets:
    """The buckets of the hosts of a pool; ``hosts`` must be in order of their ranks."""

    def __init__(self, hosts: Sequence[IndexedHost], prices: ShadowPrices, costs: CostTable, host_only: bool) -> None:
        """``host_only``: whether hosts are listed by themselves as well, for demands without a device."""
        self.by_rank = hosts
        self._prices = prices
        self._costs = costs
        self._host_only = host_only
        #: By bucket and level of the processor cost, the sort keys of hosts, ascending.
        self.lists: dict[int, dict[int, list[int]]] = {}
        for host in hosts:
            host.buckets = []
            self.update(host)

    def host(self, sort_key: int) -> IndexedHost:
        """Return the host that a sort key belongs to."""
        return self.by_rank[sort_key & RANK_MASK]

    def update(self, host: IndexedHost) -> None:
        """Move a host from the buckets that list it to the ones where it belongs now."""
        lists, level, key = self.lists, host.cpu_level, host.sort_key
        for bucket in host.buckets:
            by_level = lists[bucket]
            keys = by_level[level]
            if len(keys) > 1:
                del keys[bisect_left(keys, key)]
            elif len(by_level) > 1:
                del by_level[level]
            else:
                del lists[bucket]
        host.buckets, value = self._buckets_of(host)
        level = host.cpu_level = self._prices.cpu_level(host.free_cpu_milli, value)
        key = host.sort_key = CPU_MILLI_LIMIT - host.free_cpu_milli << RANK_BITS | host.rank
        for bucket in host.buckets:
            listed = lists.get(bucket)
            if listed is None:
                lists[bucket] = {level: [key]}
                self._costs.add_bucket(bucket)
            elif level in listed:
                insort(listed[level], key)
            else:
                listed[level] = [key]

    def most_free_first(self, buckets: Iterable[int], count: int) -> Iterator[IndexedHost]:
        """Yield up to ``count`` hosts of each of the buckets, the last bucket first, then all hosts."""
        for bucket in reversed(list(buckets)):
            for keys in self.lists.get(bucket, {}).values():
                yield from map(self.host, islice(keys, count))
        yield from self.by_rank

    def _buckets_of(self, host: IndexedHost) -> tuple[list[int], int]:
        """Return the buckets where a host belongs, and the packing value of what is free there."""
        buckets: list[int] = []
        free_devices: dict[int, int] = {}  # by device class
        packing_value = self._prices.packing_value
        value = 0
        in_use = len(host.devices) < 2
        for device in host.devices.values():
            free = device.free
            if not free or not device.grantable:
                in_use = True
            elif free == device.capacity:
                free_devices[device.device_class] = free_devices.get(device.device_class, 0) + 1
                value += packing_value[BINS]
            else:
                in_use = True
                bins = free * BINS // device.capacity
                value += packing_value[bins]
                bucket = device.device_class << CODE_BITS | bins
                if bucket not in buckets:
                    buckets.append(bucket)
        first = FREE if in_use else EMPTY
        for number, count in free_devices.items():
            buckets.append(number << CODE_BITS | first + min(count, BINS - 1))
        if self._host_only:
            buckets.append(self._costs.host_class.number << CODE_BITS | HOST_ONLY)
        return buckets, value
