"""Hosts listed by what they have free, so that one look-up finds all hosts where a demand costs the same.

A host is listed once for each class and remainder of its devices; :mod:`.bucket_costs` has the numbers of the buckets.
Within a bucket, hosts with the same processor cost that serve the same kinds of demands (:mod:`.scarcity`) are in the
order in which ties are broken: most free processors first, then the smallest id.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from .bucket_costs import CODE_BITS, FREE, HOST_ONLY, CostTable
from .capacity import CPU_MILLI_LIMIT, IndexedHost
from .cutting_stock import BINS
from .shadow_prices import ShadowPrices

#: Bits of a host's rank in its sort key; the bits above are the processors in use.
RANK_BITS = 24
RANK_MASK = (1 << RANK_BITS) - 1
#: Bits of the level of the processor cost in what hosts are listed by; the bits above are the kinds that they serve.
LEVEL_BITS = 10
LEVEL_MASK = (1 << LEVEL_BITS) - 1


class HostBuckets:
    """The buckets of the hosts of a pool; ``hosts`` must be in order of their ranks."""

    def __init__(self, hosts: Sequence[IndexedHost], prices: ShadowPrices, costs: CostTable, host_only: bool) -> None:
        """``host_only``: whether hosts are listed by themselves as well, for demands without a device."""
        self.by_rank = hosts
        self._prices = prices
        self._costs = costs
        self._host_only = host_only
        #: By bucket, then by kinds that are served and level of the processor cost, the sort keys of hosts, ascending.
        self.lists: dict[int, dict[int, list[int]]] = {}

    def host(self, sort_key: int) -> IndexedHost:
        """Return the host that a sort key belongs to."""
        return self.by_rank[sort_key & RANK_MASK]

    def update(self, host: IndexedHost) -> None:
        """Move a host from the buckets that list it to the ones where it belongs now."""
        lists, listed_as, key = self.lists, host.listed_as, host.sort_key
        for bucket in host.buckets:
            alike = lists[bucket]
            keys = alike[listed_as]
            if len(keys) > 1:
                del keys[bisect_left(keys, key)]
            elif len(alike) > 1:
                del alike[listed_as]
            else:
                del lists[bucket]
        host.buckets = self._buckets_of(host)
        level = self._prices.cpu_level(host.free_cpu_milli, host.free.value)
        listed_as = host.listed_as = host.serves << LEVEL_BITS | level
        key = host.sort_key = CPU_MILLI_LIMIT - host.free_cpu_milli << RANK_BITS | host.rank
        for bucket in host.buckets:
            listed = lists.get(bucket)
            if listed is None:
                lists[bucket] = {listed_as: [key]}
                self._costs.add_bucket(bucket)
            elif listed_as in listed:
                insort(listed[listed_as], key)
            else:
                listed[listed_as] = [key]

    def most_free_first(self, buckets: Iterable[int], count: int) -> Iterator[IndexedHost]:
        """Yield up to ``count`` hosts of each of the buckets, the last bucket first, then all hosts."""
        for bucket in reversed(list(buckets)):
            for _, keys in sorted(self.lists.get(bucket, {}).items()):
                yield from map(self.host, islice(keys, count))
        yield from self.by_rank

    def _buckets_of(self, host: IndexedHost) -> list[int]:
        """Return the buckets where a host belongs."""
        buckets: list[int] = []
        for number, bins in host.free.parts:
            buckets.append(number << CODE_BITS | bins)
        for number, count in host.free.devices.items():
            buckets.append(number << CODE_BITS | FREE + min(count, BINS - 1))
        if self._host_only:
            buckets.append(self._costs.host_class.number << CODE_BITS | HOST_ONLY)
        return buckets
