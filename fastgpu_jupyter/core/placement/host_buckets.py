"""Hosts listed by what they have free, so that one look-up finds all hosts where a demand costs the same.

A host is listed once for each class and remainder of its devices; :mod:`.bucket_costs` has the numbers of the buckets.
Within a bucket, hosts with the same processor cost that serve the same kinds of demands (:mod:`.scarcity`) are in the
order in which ties are broken: most free processors first, then the smallest id.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from .bucket_costs import CODE_BITS, FREE, HOST_ONLY, LEVEL_BITS, CostTable
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
        #: By bucket, then by kinds that are served and level of the processor cost, the sort keys of hosts, ascending.
        self.lists: dict[int, dict[int, list[int]]] = {}

    def host(self, sort_key: int) -> IndexedHost:
        """Return the host that a sort key belongs to."""
        return self.by_rank[sort_key & RANK_MASK]

    def update(self, host: IndexedHost) -> None:
        """Move a host from the buckets that list it to the ones where it belongs now."""
        lists, key = self.lists, host.sort_key
        for bucket, listed_as in host.buckets:
            alike = lists[bucket]
            keys = alike[listed_as]
            if len(keys) > 1:
                del keys[bisect_left(keys, key)]
            elif len(alike) > 1:
                del alike[listed_as]
            else:
                del lists[bucket]
        host.buckets = self._buckets_of(host)
        key = host.sort_key = CPU_MILLI_LIMIT - host.free_cpu_milli << RANK_BITS | host.rank
        for bucket, listed_as in host.buckets:
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

    def _buckets_of(self, host: IndexedHost) -> list[tuple[int, int]]:
        """Return the buckets where a host belongs, each with what the host is listed by there."""
        level = self._prices.cpu_level(host.free_cpu_milli, host.free.value)
        buckets: list[tuple[int, int]] = []
        listed_as = self._costs.scarcity.single << LEVEL_BITS | level  # a part of a device serves no other kinds
        for number, bins in host.free.parts:
            buckets.append((number << CODE_BITS | bins, listed_as))
        listed_as = host.serves << LEVEL_BITS | level
        for number, count in host.free.devices:
            buckets.append((number << CODE_BITS | FREE + min(count, BINS - 1), listed_as))
        if self._host_only:
            buckets.append((self._costs.host_class.number << CODE_BITS | HOST_ONLY, listed_as))
        return buckets
