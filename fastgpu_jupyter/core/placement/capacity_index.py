"""The books of capacity, and which devices serve a demand.

What it is: hosts with processors and memory, devices with an integer capacity, and
:meth:`CapacityIndex.place`, which names the cheapest place for a demand. The cost of a
place is what it spoils, by the prices of :mod:`.shadow_prices`:

    worth of the remainder before - worth of it after
    + price of a core there x cores taken - cores that a free GPU would have lacked there x GPUs taken
    + a little for being the first to use a host, where several devices of a host may be wanted at once

What is spoiled counts as much as the device is large, beside the largest there is; where sizes differ, a little more
for each unit of size, so that the smaller device wins near-ties. Among equal costs the fullest device wins, then the
host with the most free processors, then the smallest host id. Ids are compared as text, so neither the order in which
hosts were added nor anything else that a replay might do differently matters.

What it promises: a demand is refused only where no device can take it; the place is the one that a scan over all hosts
would name; no capacity is promised twice. What it must not do: queue,
decide who may have what, or know a lease.

What is *kept* for one demand (:class:`~core.placement.demand.Kept`) is passed by when another is placed; the
costs are those of the hosts as they are.

How it is quick: the cost depends only on the kind of device, its free bins and the price step of its host. Hosts that
agree in those stand together on a *shelf*, in the order of the tie-break; what a demand costs there is looked up
(:mod:`.quotes`). A placement takes the first host of the cheapest shelf, a change moves one host on a handful of
shelves, when the shelves are next looked at. What was freed on one host serves nobody elsewhere, so
:meth:`CapacityIndex.place_on` looks at that host alone. A change takes time in proportion to the devices of its host:
no matter with 16 of them, about a millisecond with 1,000 on one host.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from .bucket_costs import CODE_BITS, COST_SHIFT, FREE, HOST, UNTOUCHED, BucketCosts, CostTable
from .demand import Demand, Exclusion, IndexedDevice, IndexedHost, Placement
from .shadow_prices import BINS, DEVICE, ShadowPrices

#: Bits of a host's rank in the key by which it stands on a shelf; the bits above are the processors in use.
_RANK_BITS = 24
_RANK_MASK = (1 << _RANK_BITS) - 1
_CPU_TOP = 1 << 40

#: Hosts that are compared for what is to be kept, of more than a few.
_NEAREST_MAX = 4
#: Hosts that are all compared.
_FEW = 8

_Shelf = dict[int, list[int]]  #: price step -> keys of hosts, in order

_NOTHING = Exclusion(frozenset())


class HostHeadroom(NamedTuple):
    """What a host has free."""

    cpu_milli: int
    memory_bytes: int
    most: dict[int, int]  #: by kind, units of the device with the most
    whole: dict[int, int]  #: by kind, devices that are free
    bins: int  #: of the device with the most


class CapacityIndex:
    """Hosts, devices and what is free of them."""

    def __init__(self, prices: ShadowPrices | None = None) -> None:
        self._prices = prices or ShadowPrices()
        self._hosts: dict[str, IndexedHost] = {}
        self._devices: dict[str, IndexedDevice] = {}
        self._ranked: list[IndexedHost] = []
        self._shelves: dict[int, _Shelf] = {}  #: by kind and code, see :data:`CODE_BITS`
        self._quotes = CostTable(self._prices, ())
        self._host_shelves = False  #: whether anybody asks for hosts without devices
        self._stale = False  #: whether the shelves must be set up anew
        self._pending: dict[str, IndexedHost] = {}  #: hosts that may stand on the wrong shelves

    # -- the books ----------------------------------------------------------------------------------------------------

    def add_host(self, host_id: str, cpu_milli: int = 0, memory_bytes: int = 0) -> None:
        """Enter a host without devices. Raises :class:`ValueError` where it is there already."""
        if host_id in self._hosts:
            raise ValueError(f"host {host_id} is there already")
        if not 0 <= cpu_milli < _CPU_TOP or memory_bytes < 0:
            raise ValueError(f"host {host_id} has an impossible size")
        self._hosts[host_id] = IndexedHost(host_id, cpu_milli, memory_bytes, cpu_milli, memory_bytes)
        self._stale = True

    def add_device(self, device_id: str, host_id: str, model: str, units: int, order: int = 0) -> None:
        """Enter a free device of a host. Raises :class:`ValueError` where it is there already."""
        if device_id in self._devices or units < 1:
            raise ValueError(f"device {device_id} is there already, or has no capacity")
        host = self._hosts[host_id]
        host.devices[device_id] = self._devices[device_id] = IndexedDevice(device_id, host, model, units, units, order)
        self._stale = True

    def remove_device(self, device_id: str) -> None:
        """Forget a device. Raises :class:`ValueError` while any of it is taken: make it ungrantable first."""
        device = self._devices[device_id]
        if device.free != device.capacity:
            raise ValueError(f"device {device_id} is in use")
        del device.host.devices[device_id], self._devices[device_id]
        self._stale = True

    def remove_host(self, host_id: str) -> None:
        """Forget a host that has no devices any more."""
        if self._hosts[host_id].devices:
            raise ValueError(f"host {host_id} still has devices")
        del self._hosts[host_id]
        self._stale = True

    def set_grantable(self, device_id: str, grantable: bool) -> None:
        """Whether new demands may be placed on a device; what is taken stays taken."""
        device = self._devices[device_id]
        if device.grantable != grantable:
            device.grantable = grantable
            self._pending[device.host.id] = device.host

    def set_shadow_prices(self, prices: ShadowPrices) -> None:
        """Place by other prices from now on."""
        self._prices = prices
        self._stale = True

    def update(self, device_id: str, free: int, grantable: bool, cpu_milli: int, memory_bytes: int) -> bool:
        """Enter what is free of a device and of its host; whether anything is freer than it was."""
        device = self._devices[device_id]
        host = device.host
        freer = free > device.free or cpu_milli > host.free_cpu_milli or memory_bytes > host.free_memory_bytes
        host.free_cpu_milli, host.free_memory_bytes = cpu_milli, memory_bytes
        device.free, device.grantable = free, grantable
        self._pending[host.id] = host
        return freer

    def settle(self) -> None:
        """Do a little of what a placement would else have to do first."""
        if self._stale:
            self._set_up()
        elif self._pending:
            self._moved(self._pending.popitem()[1])

    def allocate(self, placement: Placement, demand: Demand) -> None:
        """Promise what ``placement`` names. Raises :class:`ValueError`, and changes nothing, where it is not free."""
        self._change(placement, -placement.units, -demand.cpu_milli, -demand.host_memory_bytes)

    def release(self, placement: Placement, demand: Demand) -> None:
        """Undo :meth:`take`. Raises :class:`ValueError`, and changes nothing, where that was not taken."""
        self._change(placement, placement.units, demand.cpu_milli, demand.host_memory_bytes)

    def free_units(self, device_id: str) -> int:
        """What nobody has of a device."""
        return self._devices[device_id].free

    def host(self, host_id: str) -> IndexedHost:
        """One host; to read only."""
        return self._hosts[host_id]

    def hosts(self) -> Iterator[IndexedHost]:
        """All hosts in order of id; to read only."""
        return iter(sorted(self._hosts.values(), key=lambda host: host.id))

    def free_devices(self) -> int:
        """How many grantable devices nobody has any part of."""
        return sum(device.grantable and device.free == device.capacity for device in self._devices.values())

    def _change(self, placement: Placement, units: int, cpu_milli: int, memory_bytes: int) -> None:
        """Add to what is free, or take from it, if the sums stay between nothing and everything."""
        host = self._hosts[placement.host_id]
        free_cpu, free_memory = host.free_cpu_milli + cpu_milli, host.free_memory_bytes + memory_bytes
        possible = 0 <= free_cpu <= host.cpu_milli and 0 <= free_memory <= host.memory_bytes
        for device_id in placement.device_ids:
            device = host.devices[device_id]
            possible = possible and 0 <= device.free + units <= device.capacity
        if not possible:
            raise ValueError(f"not {'taken' if units > 0 else 'free'} on host {host.id}: {placement}")
        host.free_cpu_milli, host.free_memory_bytes = free_cpu, free_memory
        for device_id in placement.device_ids:
            host.devices[device_id].free += units
        self._pending[host.id] = host

    # -- the policy ---------------------------------------------------------------------------------------------------

    def place(self, demand: Demand, without: Mapping[str, Exclusion] | None = None) -> Placement | None:
        """Where ``demand`` spoils least, or ``None`` where nothing can take it now. Changes nothing.

        ``without``: what is kept for others, by host.
        """
        quotes = self._quotes_of(demand)
        self._tidy()
        core, relief, cpu = self._prices.core, self._prices.relief, demand.cpu_milli
        best: tuple[int, int, int] | None = None  # cost, shelf, key: the order of preference
        found: BucketCosts | None = None
        limit = 1 << 62
        for quote in quotes.values():
            if quote.seen != len(quote.kind.known):
                self._quotes.extend(quote, demand)
            for bound, code, spoiled, sold, place in quote.lines:
                if bound > limit:
                    break
                shelf = self._shelves.get(place)
                if shelf is None:
                    continue
                for step, keys in shelf.items():
                    cost = spoiled + core[step] * cpu - (relief[step] * sold >> 30) >> COST_SHIFT
                    if cost > limit or (best is not None and (cost, code, keys[0]) >= best):
                        continue
                    key = self._first(keys, quote, code, demand, without)
                    if key is not None and (best is None or (cost, code, key) < best):
                        best, found, limit = (cost, code, key), quote, cost
        if best is None or found is None:
            return None
        host = self._ranked[best[2] & _RANK_MASK]
        kept = without.get(host.id, _NOTHING) if without else _NOTHING
        return Placement(host.id, tuple(self._pick(host, found, best[1], demand, kept.device_ids)), found.units)

    def place_on(self, host_id: str, demand: Demand, kept: Exclusion | None = None) -> Placement | None:
        """As :meth:`place` if there were no other host. For devices only. ``kept``: for others, of that host."""
        quotes, host, but, models = self._quotes_of(demand), self._hosts[host_id], kept or _NOTHING, demand.models
        if not _has_room(host, demand, but):
            return None
        fitting: dict[int, list[IndexedDevice]] = {}
        for device in host.devices.values():
            if device.free and device.grantable and device.id not in but.device_ids:
                of_kind = quotes.get(device.kind)
                if of_kind is not None and device.free >= of_kind.units and (models is None or device.model in models):
                    fitting.setdefault(device.kind, []).append(device)
        if not fitting:
            return None
        options: list[tuple[BucketCosts, list[IndexedDevice]]] = []
        for kind in sorted(fitting):
            if demand.whole:
                if chosen := _of_one_model(fitting[kind], demand.devices):
                    options.append((quotes[kind], chosen))
            else:
                equal: dict[int, IndexedDevice] = {}  # of those with as much free, the first
                for device in fitting[kind]:
                    equal.setdefault(device.free, device)
                options += [(quotes[kind], [device]) for device in equal.values()]
        if not options:
            return None
        quote, chosen = options[0] if len(options) == 1 else self._cheapest(host, demand, options)
        return Placement(host_id, tuple([device.id for device in chosen]), quote.units)

    def _cheapest(
        self, host: IndexedHost, demand: Demand, options: list[tuple[BucketCosts, list[IndexedDevice]]]
    ) -> tuple[BucketCosts, list[IndexedDevice]]:
        """Of several places on one host."""
        sale, sellable = self._prices.sale, 0
        for device in host.devices.values():
            if device.free and device.grantable:
                part = device.free * BINS // device.capacity
                sellable += DEVICE if part == BINS else sale[part]
        relief = self._prices.relief[self._prices.step(host.free_cpu_milli, sellable)]
        best: tuple[int, int] | None = None
        found = options[0]
        for option in options:
            quote, (device, *_) = option
            code = device.free * BINS // device.capacity
            if code == BINS:
                code = self._whole_shelf(host, device.kind)
            line = self._quotes.line(quote, code, demand)
            if line is not None:
                spoiled, sold = line
                order = spoiled - (relief * sold >> 30) >> COST_SHIFT, code
                if best is None or order < best:
                    best, found = order, option
        return found

    @staticmethod
    def _whole_shelf(host: IndexedHost, kind: int) -> int:
        """Which shelf of a kind a host with free devices of it stands on."""
        devices = host.devices.values()
        free = [device.kind for device in devices if device.free == device.capacity and device.grantable]
        untouched = 1 < len(devices) == len(free)
        return (UNTOUCHED if untouched else FREE) + min(free.count(kind), BINS - 1)

    def headroom(self, host_id: str, kept: Exclusion | None = None) -> HostHeadroom:
        """What could be placed on a host, ``kept`` left alone: more than this never."""
        if self._stale:
            self._set_up()
        host, but = self._hosts[host_id], kept or _NOTHING
        most: dict[int, int] = {}
        whole: dict[int, int] = {}
        share = 0
        for device in host.devices.values():
            free = device.free
            if free and device.grantable and device.id not in but.device_ids:
                kind, capacity = device.kind, device.capacity
                if free > most.get(kind, 0):
                    most[kind] = free
                    part = free * BINS // capacity
                    share = max(share, part)
                if free == capacity:
                    whole[kind] = whole.get(kind, 0) + 1
        cpu_milli, memory_bytes = host.free_cpu_milli, host.free_memory_bytes
        if kept is not None:
            cpu_milli, memory_bytes = max(0, cpu_milli - kept.cpu_milli), max(0, memory_bytes - kept.memory_bytes)
        return HostHeadroom(cpu_milli, memory_bytes, most, whole, share)

    def host_filter(self, demand: Demand) -> dict[int, int]:
        """By the kinds that will do, the units that the demand takes of a device."""
        return {number: quote.units for number, quote in self._quotes_of(demand).items()}

    def share(self, demand: Demand) -> int:
        """Bins that the demand takes at least of some device; more than any device has where nothing will do."""
        return min((quote.bins for quote in self._quotes_of(demand).values()), default=BINS + 1)

    def nearest(self, demand: Demand, without: Mapping[str, Exclusion], leaving: Mapping[str, int]) -> Placement | None:
        """The devices of one host that lack least to serve, in use or not; ``None`` where there are not enough.

        ``leaving``: what of devices is being given back. Of many hosts only those are compared that have most free, or
        where most is being given back.
        """
        self._tidy()
        best: tuple[int, int, int, Placement] | None = None
        for quote in self._quotes_of(demand).values():
            seen: set[str] = set()
            found = 0
            most = _NEAREST_MAX if len(self._ranked) > _FEW else _FEW
            for host in self._promising(quote, leaving):
                if host.id not in seen and len(host.devices) >= demand.devices:
                    seen.add(host.id)
                    option = self._lacking(host, quote, demand, without.get(host.id, _NOTHING), leaving)
                    if option is not None:
                        found += 1
                        best = option if best is None else min(best, option)
                    if found >= most:
                        break
        return best[3] if best else None

    def _promising(self, quote: BucketCosts, leaving: Mapping[str, int]) -> Iterator[IndexedHost]:
        if len(self._ranked) > _FEW:
            for device_id in islice(leaving, _NEAREST_MAX):
                if device_id in self._devices:
                    yield self._devices[device_id].host
            for place in reversed(quote.kind.ordered):
                for keys in self._shelves.get(place, {}).values():
                    yield from (self._ranked[key & _RANK_MASK] for key in keys[:_NEAREST_MAX])
        yield from self._ranked

    def _lacking(
        self, host: IndexedHost, quote: BucketCosts, demand: Demand, kept: Exclusion, leaving: Mapping[str, int]
    ) -> tuple[int, int, int, Placement] | None:
        """What the devices of a host lack to serve, and its processors; ``None`` where it is too small."""
        if (
            host.cpu_milli - kept.cpu_milli < demand.cpu_milli
            or host.memory_bytes - kept.memory_bytes < demand.host_memory_bytes
        ):
            return None
        lacks = [
            (quote.units - device.free - leaving.get(device.id, 0), number, device)
            for number, device in enumerate(host.devices.values())
            if device.grantable
            and device.kind == quote.kind.number
            and device.id not in kept.device_ids
            and demand.allows(device.model)
        ]
        lacks.sort()
        chosen = _of_one_model([device for _, _, device in lacks], demand.devices)
        if not chosen:
            return None
        most = next(lack for lack, _, device in lacks if device is chosen[-1])
        cpu = max(0, demand.cpu_milli - host.free_cpu_milli)
        place = Placement(host.id, tuple([device.id for device in chosen]), quote.units)
        return max(0, most), cpu, host.rank, place

    def _first(
        self, keys: list[int], quote: BucketCosts, code: int, demand: Demand, without: Mapping[str, Exclusion] | None
    ) -> int | None:
        """The first host of a shelf that can take the demand in everything that the shelf does not promise."""
        enough = _CPU_TOP - demand.cpu_milli << _RANK_BITS | _RANK_MASK
        for key in keys:
            if key > enough:
                return None  # from here on they have fewer processors
            host = self._ranked[key & _RANK_MASK]
            if host.free_memory_bytes < demand.host_memory_bytes:
                continue
            kept = without.get(host.id) if without else None
            if kept is not None and not _has_room(host, demand, kept):
                continue
            # Models that no usual request tells apart share shelves, and a bin is coarser than a unit.
            unsure = demand.devices and (
                kept is not None or demand.models is not None or code == quote.bins or demand.devices > 1
            )
            if unsure and not self._pick(host, quote, code, demand, kept.device_ids if kept else ()):
                continue
            return key
        return None

    def _pick(
        self, host: IndexedHost, quote: BucketCosts, code: int, demand: Demand, but: Collection[str]
    ) -> list[str]:
        """Devices of a host on that shelf, ``but`` some, that serve the demand; none where they do not suffice."""
        if code == HOST:
            return []
        picked: list[IndexedDevice] = []
        for device in host.devices.values():
            if device.kind != quote.kind.number or not device.grantable or not demand.allows(device.model):
                continue
            if device.id in but:
                continue
            if device.free >= quote.units and _shelf_of(device) == min(code, FREE):
                picked.append(device)
                if demand.devices == 1:
                    break
        return [device.id for device in _of_one_model(picked, demand.devices)]

    # -- shelves ------------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Rank the hosts and fill the shelves; needed when hosts, devices or prices have changed."""
        self._stale = False
        self._pending.clear()
        self._ranked = sorted(self._hosts.values(), key=lambda host: host.id)
        if len(self._ranked) > _RANK_MASK:
            raise ValueError("too many hosts")
        self._shelves = {}
        self._quotes = CostTable(self._prices, self._devices.values())
        for rank, host in enumerate(self._ranked):
            host.rank, host.shelves = rank, []
            host.devices = {one.id: one for one in sorted(host.devices.values(), key=_by_order)}
            self._moved(host)

    def _tidy(self) -> None:
        """Put every host on the shelves where it belongs."""
        if self._stale:
            self._set_up()
        while self._pending:
            self._moved(self._pending.popitem()[1])

    def _moved(self, host: IndexedHost) -> None:
        """Put a host on the shelves where it belongs now."""
        shelves, step, key = self._shelves, host.step, host.key
        for place in host.shelves:
            shelf = shelves[place]
            keys = shelf[step]
            if len(keys) > 1:
                del keys[bisect_left(keys, key)]
            elif len(shelf) > 1:
                del shelf[step]
            else:
                del shelves[place]
        host.shelves, sellable = self._shelves_of(host)
        step = host.step = self._prices.step(host.free_cpu_milli, sellable)
        key = host.key = _CPU_TOP - host.free_cpu_milli << _RANK_BITS | host.rank
        for place in host.shelves:
            there = shelves.get(place)
            if there is None:
                shelves[place] = {step: [key]}
                self._quotes.note(place)
            elif step in there:
                insort(there[step], key)
            else:
                there[step] = [key]

    def _shelves_of(self, host: IndexedHost) -> tuple[list[int], int]:
        """The shelves of a host, and what its free capacity can be sold for."""
        shelves: list[int] = []
        whole: dict[int, int] = {}  # kind -> devices that are free
        sellable = 0
        used = len(host.devices) < 2
        for device in host.devices.values():
            free = device.free
            if not free or not device.grantable:
                used = True
            elif free == device.capacity:
                whole[device.kind] = whole.get(device.kind, 0) + 1
                sellable += DEVICE
            else:
                used = True
                code = free * BINS // device.capacity
                sellable += self._prices.sale[code]
                place = device.kind << CODE_BITS | code
                if place not in shelves:
                    shelves.append(place)
        first = FREE if used else UNTOUCHED
        for kind, count in whole.items():
            shelves.append(kind << CODE_BITS | first + min(count, BINS - 1))
        if self._host_shelves:
            shelves.append(self._quotes.as_such.number << CODE_BITS | HOST)
        return shelves, sellable

    def _quotes_of(self, demand: Demand) -> dict[int, BucketCosts]:
        if not demand.devices and not self._host_shelves:
            self._host_shelves = self._stale = True
        if self._stale:
            self._set_up()
        return self._quotes.of(demand)


def _shelf_of(device: IndexedDevice) -> int:
    return FREE if device.free == device.capacity else device.free * BINS // device.capacity


def _has_room(host: IndexedHost, demand: Demand, but: Exclusion) -> bool:
    """Whether the host has the processors and the memory, ``but`` what is kept for others."""
    if demand.cpu_milli + but.cpu_milli > host.free_cpu_milli and demand.cpu_milli:
        return False
    return not demand.host_memory_bytes or demand.host_memory_bytes + but.memory_bytes <= host.free_memory_bytes


def _by_order(device: IndexedDevice) -> tuple[int, str]:
    return device.order, device.id


def _of_one_model(devices: list[IndexedDevice], count: int) -> list[IndexedDevice]:
    """The first so many that are of one model; none where there are not so many."""
    if count == 1:
        return devices[:1]
    by_model: dict[str, list[IndexedDevice]] = {}
    for device in devices:
        chosen = by_model.setdefault(device.model, [])
        chosen.append(device)
        if len(chosen) == count:
            return chosen
    return []
