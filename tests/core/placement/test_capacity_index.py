"""The capacity of a pool: what is placed where, and that nothing is allocated twice."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from fastgpu_jupyter.core.placement import capacity_index
from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.cutting_stock import BINS
from fastgpu_jupyter.core.placement.demand import Demand, Placement
from fastgpu_jupyter.core.placement.shadow_prices import ShadowPrices, estimate_shadow_prices


@pytest.fixture(autouse=True, params=["reference", "buckets"])
def _placed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test below with the reference scan and with the buckets."""
    if request.param == "buckets":
        monkeypatch.setattr(capacity_index, "REFERENCE_HOSTS_MAX", 0)


def index_of(hosts: list[str], prices: ShadowPrices | None = None) -> CapacityIndex:
    """Return an index of hosts with two equal devices each."""
    index = CapacityIndex(prices)
    for host in hosts:
        index.add_host(host, 96_000)
        for i in range(2):
            index.add_device(f"{host}/{i}", host, "A", 1000)
    return index


def one_host(*devices: tuple[str, str, int]) -> CapacityIndex:
    """Return an index of one host with devices of given ids, models and capacities."""
    index = CapacityIndex()
    index.add_host("a")
    for device_id, model, capacity in devices:
        index.add_device(device_id, "a", model, capacity)
    return index


def fill(index: CapacityIndex, demand: Demand) -> list[Placement]:
    """Allocate a demand as often as it fits, and return the placements."""
    placements = []
    while (placement := index.place(demand)) is not None:
        index.allocate(placement, demand)
        placements.append(placement)
    return placements


def test_place_does_not_depend_on_the_order_in_which_hosts_were_added() -> None:
    third = Demand(units=330, cpu_milli=1000)
    assert fill(index_of(["b", "a", "c"]), third) == fill(index_of(["c", "b", "a"]), third)


def test_place_without_history_takes_the_fullest_device() -> None:
    index = index_of(["a", "b"])
    assert [index.free_units(p.device_ids[0]) for p in fill(index, Demand(units=300))] == [100] * 12
    assert index.free_devices() == 0


def test_demand_is_equal_to_its_copies() -> None:
    demand = Demand(units=3, models=frozenset("A"), cpu_milli=1)
    for copy in (pickle.loads(pickle.dumps(demand)), replace(demand)):
        assert (copy, hash(copy)) == (demand, hash(demand))


def test_place_several_devices_takes_one_host_or_none() -> None:
    index = index_of(["a", "b"])
    index.allocate(Placement("a", ("a/0",), 1), Demand(units=1))
    assert fill(index, Demand(devices=2)) == [Placement("b", ("b/0", "b/1"), 1000)]


def test_place_on_a_host_of_more_devices_than_bins_fills_it() -> None:
    index = one_host(*((f"a/{number:04d}", "A", 1000) for number in range(2 * BINS + 5)))
    assert fill(index, Demand(devices=64))[-1].device_ids[-1] == "a/1983"
    assert len(fill(index, Demand(divisor=2))) == 2 * 21


def test_place_several_devices_takes_one_model() -> None:
    index = one_host(("a/0", "A", 1000), ("a/1", "B", 1000), ("a/2", "B", 1000))
    assert fill(index, Demand(devices=2)) == [Placement("a", ("a/1", "a/2"), 1000)]


def test_place_n_parts_fit_on_a_capacity_that_n_does_not_divide() -> None:
    index = one_host(("a/0", "A", 85_899_345_920 + 1))
    assert len(fill(index, Demand(divisor=7))) == 7


@pytest.mark.parametrize("units", [1, 3])
def test_place_compares_units_where_bins_are_equal(units: int) -> None:
    index = one_host(("a/0", "A", 10**6))
    index.allocate(Placement("a", ("a/0",), 10**6 - 500 - units), Demand(units=10**6 - 500 - units))
    assert index.place(Demand(units=500 + units + 1)) is None
    assert index.place(Demand(units=500 + units)) is not None


def test_allocate_refuses_what_is_not_free_and_release_what_is_not_allocated() -> None:
    index = index_of(["a"])
    demand = Demand(units=600, cpu_milli=50_000)
    placement = index.place(demand)
    assert placement is not None
    with pytest.raises(ValueError, match="not taken"):
        index.release(placement, demand)
    index.allocate(placement, demand)
    for other in (placement, Placement("a", ("a/1",), 600)):  # no units left; no processors left
        with pytest.raises(ValueError, match="not free"):
            index.allocate(other, demand)
    with pytest.raises(ValueError, match="in use"):
        index.remove_device(placement.device_ids[0])
    index.release(placement, demand)
    assert index.free_devices() == 2


def test_place_puts_complementary_fractions_on_one_device() -> None:
    """650 leaves a third, which 320 fits; a half does not belong there."""
    prices = estimate_shadow_prices({Demand(units=650): 10, Demand(units=320): 10, Demand(units=470): 20}, 1000)
    index = index_of(["a", "b"], prices)
    first = index.place(Demand(units=650))
    assert first is not None
    index.allocate(first, Demand(units=650))
    half = index.place(Demand(units=470))
    assert half is not None
    index.allocate(half, Demand(units=470))
    third = index.place(Demand(units=320))
    assert third is not None
    assert third.device_ids == first.device_ids != half.device_ids


def test_place_many_processors_takes_the_host_whose_gpus_lack_none() -> None:
    prices = estimate_shadow_prices(
        {Demand(cpu_milli=4_000): 10, Demand(cpu_milli=12_000): 10, Demand(cpu_milli=30_000): 1}, 1000
    )
    index = CapacityIndex(prices)
    for host, cpu_milli in (("poor", 24_000), ("rich", 104_000)):
        index.add_host(host, cpu_milli)
        for i in range(2):
            index.add_device(f"{host}/{i}", host, "A", 1000)
    placement = index.place(Demand(cpu_milli=20_000))
    assert placement is not None
    assert placement.host_id == "rich"
