"""The fleet names the place that a scan over everything would name, and its books are exact."""

from __future__ import annotations

import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Exclusion, Placement
from fastgpu_jupyter.core.placement.host_filter import HostFilter
from fastgpu_jupyter.core.placement.shadow_prices import BINS, DEVICE, ShadowPrices, estimate_shadow_prices
from tests.core.placement import naive_fleet

History = dict[Demand, int]
MODELS = ("A", "B", "C")
CPUS = st.sampled_from([0, 1000, 3152, 4000, 8000, 11300, 18708])
DEMANDS = st.builds(
    lambda demand, cpu, memory, models: replace(demand, models=models, cpu_milli=cpu, host_memory_bytes=memory),
    st.one_of(
        st.sampled_from([Demand(devices) for devices in (0, 1, 1, 2, 4)]),
        st.sampled_from([Demand(1, units) for units in (1, 50, 190, 230, 320, 470, 530, 650, 810, 999, 1000, 1001)]),
        st.sampled_from([Demand(1, divisor=divisor) for divisor in (1, 2, 3, 7, 8)]),
    ),
    CPUS,
    st.sampled_from([0, 0, 3, 9]),
    st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(MODELS))),
)
HISTORIES = st.dictionaries(DEMANDS, st.integers(1, 50), max_size=8)


class FleetAgainstScan(RuleBasedStateMachine):
    """Whatever happens to a fleet, its answer is that of the scan."""

    def __init__(self) -> None:
        super().__init__()
        self.index = CapacityIndex()
        self.prices = ShadowPrices()
        self.taken: list[tuple[Placement, Demand]] = []
        self.count = 0

    @initialize(history=HISTORIES, sizes=st.lists(st.integers(0, 8), min_size=1, max_size=6), data=st.data())
    def start(self, history: History, sizes: list[int], data: st.DataObject) -> None:
        self.estimate_shadow_prices(history)
        for size in sizes:
            self.add_host(size, data)

    @rule(history=HISTORIES)
    def estimate_shadow_prices(self, history: History) -> None:
        self.prices = estimate_shadow_prices(history, 1000)
        self.index.set_shadow_prices(self.prices)

    @precondition(lambda self: self.count < 50)
    @rule(size=st.integers(0, 8), data=st.data())
    def add_host(self, size: int, data: st.DataObject) -> None:
        self.count += 1
        host = f"host-{self.count * 37 % 101}"  # not in the order of arrival
        self.index.add_host(host, data.draw(st.sampled_from([0, 8000, 32000, 96000])), 20)
        model = data.draw(st.sampled_from(MODELS))
        capacity = data.draw(st.sampled_from([1000, 1000, 80, 3001]))
        for i in range(size):
            mixed = data.draw(st.sampled_from([model] * 5 + list(MODELS)))
            self.index.add_device(f"{host}/{i}", host, mixed, capacity)

    @rule(demand=DEMANDS)
    def allocate(self, demand: Demand) -> None:
        placement = self.index.place(demand)
        assert placement == naive_fleet.place(self.index, self.prices, demand)
        if placement is not None:
            self.index.allocate(placement, demand)
            self.taken.append((placement, demand))

    @rule(demand=DEMANDS, data=st.data())
    def look(self, demand: Demand, data: st.DataObject) -> None:
        """Places where something is kept for others, and places on one host only."""
        hosts = list(self.index.hosts())
        without = {}
        for host in [host for host in hosts if data.draw(st.booleans())]:
            names = data.draw(st.frozensets(st.sampled_from(sorted(host.devices)))) if host.devices else frozenset()
            without[host.id] = Exclusion(names, data.draw(CPUS), data.draw(st.sampled_from([0, 3])))
        assert self.index.place(demand, without) == naive_fleet.place(self.index, self.prices, demand, without)
        for host in hosts[:3] if demand.devices else []:
            kept = without.get(host.id)
            expected = naive_fleet.place(self.index, self.prices, demand, without, host.id)
            assert self.index.place_on(host.id, demand, kept) == expected
            if expected is not None:
                assert HostFilter(self.index, demand).fits(self.index.headroom(host.id, kept))

    @rule(demands=st.lists(DEMANDS, max_size=12))
    def take_many(self, demands: list[Demand]) -> None:
        for demand in demands:
            self.allocate(demand)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.index.release(*self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))))

    @rule(data=st.data(), grantable=st.booleans())
    def set_grantable(self, data: st.DataObject, grantable: bool) -> None:
        devices = [device_id for host in self.index.hosts() for device_id in sorted(host.devices)]
        if devices:
            self.index.set_grantable(data.draw(st.sampled_from(devices)), grantable)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from([host.id for host in self.index.hosts()] or ["none"]))
        for taken in [taken for taken in self.taken if taken[0].host_id == host]:
            self.index.release(*taken)
            self.taken.remove(taken)
        for found in list(self.index.hosts()):
            if found.id == host:
                for device_id in list(found.devices):
                    self.index.remove_device(device_id)
                self.index.remove_host(host)

    @invariant()
    def books_balance(self) -> None:
        for host in self.index.hosts():
            mine = [(placement, demand) for placement, demand in self.taken if placement.host_id == host.id]
            assert host.free_cpu_milli == host.cpu_milli - sum(demand.cpu_milli for _, demand in mine) >= 0
            assert host.free_memory_bytes == host.memory_bytes - sum(d.host_memory_bytes for _, d in mine) >= 0
            for device in host.devices.values():
                promised = sum(placement.units for placement, _ in mine if device.id in placement.device_ids)
                assert device.free == device.capacity - promised >= 0


FleetAgainstScan.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
test_the_fleet_names_the_place_of_the_scan = pytest.mark.slow(FleetAgainstScan.TestCase)


def small_fleet(order: list[str], prices: ShadowPrices | None = None) -> CapacityIndex:
    fleet = CapacityIndex(prices)
    for host in order:
        fleet.add_host(host, 96_000)
        for i in range(2):
            fleet.add_device(f"{host}/{i}", host, "A", 1000)
    return fleet


def fill(fleet: CapacityIndex, demand: Demand) -> list[Placement]:
    placements = []
    while (placement := fleet.place(demand)) is not None:
        fleet.allocate(placement, demand)
        placements.append(placement)
    return placements


def test_the_order_in_which_hosts_were_added_does_not_matter() -> None:
    third = Demand(units=330, cpu_milli=1000)
    assert fill(small_fleet(["b", "a", "c"]), third) == fill(small_fleet(["c", "b", "a"]), third)


def test_without_any_history_the_fullest_device_is_taken() -> None:
    fleet = small_fleet(["a", "b"])
    assert [fleet.free_units(p.device_ids[0]) for p in fill(fleet, Demand(units=300))] == [100] * 12
    assert fleet.free_devices() == 0


def test_a_demand_survives_a_copy() -> None:
    demand = Demand(units=3, models=frozenset("A"), cpu_milli=1)
    for copy in (pickle.loads(pickle.dumps(demand)), replace(demand)):
        assert (copy, hash(copy)) == (demand, hash(demand))


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    fleet = small_fleet(["a", "b"])
    fleet.allocate(Placement("a", ("a/0",), 1), Demand(units=1))
    assert fill(fleet, Demand(devices=2)) == [Placement("b", ("b/0", "b/1"), 1000)]


def test_a_host_of_more_devices_than_bins_serves() -> None:
    fleet = CapacityIndex()
    fleet.add_host("a")
    for number in range(2 * BINS + 5):
        fleet.add_device(f"a/{number:04d}", "a", "A", 1000)
    assert fill(fleet, Demand(devices=64))[-1].device_ids[-1] == "a/1983"
    assert len(fill(fleet, Demand(divisor=2))) == 2 * 21


def test_a_gang_is_of_one_model() -> None:
    fleet = CapacityIndex()
    fleet.add_host("a")
    for name, model in (("a/0", "A"), ("a/1", "B"), ("a/2", "B")):
        fleet.add_device(name, "a", model, 1000)
    assert fill(fleet, Demand(devices=2)) == [Placement("a", ("a/1", "a/2"), 1000)]


def test_a_divisor_is_exact_on_a_capacity_that_it_does_not_divide() -> None:
    fleet = CapacityIndex()
    fleet.add_host("a")
    fleet.add_device("a/0", "a", "A", 85_899_345_920 + 1)
    assert len(fill(fleet, Demand(divisor=7))) == 7


@pytest.mark.parametrize("units", [1, 3])
def test_a_unit_too_few_is_too_few_though_the_bins_agree(units: int) -> None:
    fleet = CapacityIndex()
    fleet.add_host("a")
    fleet.add_device("a/0", "a", "A", 10**6)
    fleet.allocate(Placement("a", ("a/0",), 10**6 - 500 - units), Demand(units=10**6 - 500 - units))
    assert fleet.place(Demand(units=500 + units + 1)) is None
    assert fleet.place(Demand(units=500 + units)) is not None


def test_what_is_not_free_cannot_be_taken_and_what_is_not_taken_cannot_come_back() -> None:
    fleet = small_fleet(["a"])
    demand = Demand(units=600, cpu_milli=50_000)
    placement = fleet.place(demand)
    assert placement is not None
    with pytest.raises(ValueError, match="not taken"):
        fleet.release(placement, demand)
    fleet.allocate(placement, demand)
    for other in (placement, Placement("a", ("a/1",), 600)):  # no units left; no processors left
        with pytest.raises(ValueError, match="not free"):
            fleet.allocate(other, demand)
    with pytest.raises(ValueError, match="in use"):
        fleet.remove_device(placement.device_ids[0])
    fleet.release(placement, demand)
    assert fleet.free_devices() == 2


def test_complementary_fractions_are_put_together() -> None:
    """650 leaves a third, which 320 fits; a half does not belong there."""
    prices = estimate_shadow_prices({Demand(units=650): 10, Demand(units=320): 10, Demand(units=470): 20}, 1000)
    fleet = small_fleet(["a", "b"], prices)
    first = fleet.place(Demand(units=650))
    assert first is not None
    fleet.allocate(first, Demand(units=650))
    half = fleet.place(Demand(units=470))
    assert half is not None
    fleet.allocate(half, Demand(units=470))
    third = fleet.place(Demand(units=320))
    assert third is not None
    assert third.device_ids == first.device_ids != half.device_ids


def test_a_task_that_wants_many_processors_goes_where_gpus_do_not_need_them() -> None:
    prices = estimate_shadow_prices(
        {Demand(cpu_milli=4_000): 10, Demand(cpu_milli=12_000): 10, Demand(cpu_milli=30_000): 1}, 1000
    )
    fleet = CapacityIndex(prices)
    for host, cpu_milli in (("poor", 24_000), ("rich", 104_000)):
        fleet.add_host(host, cpu_milli)
        for i in range(2):
            fleet.add_device(f"{host}/{i}", host, "A", 1000)
    placement = fleet.place(Demand(cpu_milli=20_000))
    assert placement is not None
    assert placement.host_id == "rich"


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(history=HISTORIES)
def test_prices_are_sound(history: History) -> None:
    prices = estimate_shadow_prices(history, 1000)
    assert prices.sale[0] == 0 <= prices.sale[1]
    assert prices.sale[BINS] == pytest.approx(DEVICE, abs=2)
    assert all(a <= b for a, b in pairwise(prices.sale))
    assert len(prices.core) == len(prices.relief) == len(prices.steps) + 1
    assert list(prices.core) == sorted(prices.core, reverse=True)
    assert (prices.core[-1], prices.relief[-1]) == (0, 0)
    assert estimate_shadow_prices(dict(reversed(list(history.items()))), 1000) == prices


def test_the_sale_price_of_a_size_is_the_part_of_a_device_that_it_uses_up() -> None:
    history = {Demand(units=810): 10, Demand(units=650): 5, Demand(units=320): 9, Demand(units=470): 8, Demand(): 30}
    prices = estimate_shadow_prices(history, 1000)
    worth = {n: Fraction(prices.sale[n], DEVICE).limit_denominator(60) for n in (190, 320, 470, 650, 810)}
    assert worth == {190: 0, 320: Fraction(1, 3), 470: Fraction(1, 2), 650: Fraction(2, 3), 810: 1}
