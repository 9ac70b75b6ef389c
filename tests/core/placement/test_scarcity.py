"""Capacity that few demands can do without is there when they come."""

from __future__ import annotations

import random

import pytest

from fastgpu_jupyter.core.placement import capacity_index
from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand
from fastgpu_jupyter.core.placement.device_classes import DeviceClass
from fastgpu_jupyter.core.placement.scarcity import KINDS_MAX, Scarcity
from fastgpu_jupyter.core.placement.shadow_prices import estimate_shadow_prices

ONE_CLASS = [DeviceClass(0, 1000, (), models={"A"})]


@pytest.fixture(autouse=True, params=["reference", "buckets"])
def _placed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test below with the reference scan and with the buckets."""
    monkeypatch.setattr(capacity_index, "REFERENCE_HOSTS_MAX", 1000 if request.param == "reference" else 0)


def index_of(hosts: dict[str, tuple[int, str, int]], frequent: dict[Demand, int]) -> CapacityIndex:
    """Return an index of hosts with so many devices of a model and so many processors."""
    index = CapacityIndex(estimate_shadow_prices(frequent, 1000))
    for host, (devices, model, cpu_milli) in hosts.items():
        index.add_host(host, cpu_milli)
        for number in range(devices):
            index.add_device(f"{host}/{number}", host, model, 1000)
    return index


def place(index: CapacityIndex, demand: Demand) -> str | None:
    """Allocate a demand, and return the host that serves it."""
    placement = index.place(demand)
    if placement is None:
        return None
    index.allocate(placement, demand)
    return placement.host_id


Hosts = dict[str, tuple[int, str, int]]

#: Small hosts with many processors, large ones with fewer for each device, and small ones of another model with few.
LARGE = {f"large-{n:02}": (8, "A", 96_000) for n in range(24)}
SMALL = {f"small-{n:02}": (2, "A", 52_000) for n in range(24)}
OTHER = {f"other-{n:02}": (2, "B", 16_000) for n in range(24)}
ONE_DEVICE = {
    Demand(cpu_milli=11_300): 30,
    Demand(cpu_milli=3_200): 15,
    Demand(cpu_milli=18_700): 5,
    Demand(units=810, cpu_milli=3_200): 20,
    Demand(units=470, cpu_milli=8_000): 25,
    Demand(units=230, cpu_milli=6_000): 5,
}
EIGHT_DEVICES = Demand(devices=8, cpu_milli=64_000)
OF_MODEL_B = Demand(models=frozenset("B"), cpu_milli=3_200)


def refused_first(hosts: Hosts, mix: dict[Demand, int], seed: int) -> tuple[int, Demand]:
    """Return the first demand that is refused, and the percentage of all devices that were requested until then."""
    draw, index = random.Random(seed), index_of(hosts, mix)
    capacity, requested = index.free_devices() * 1000, 0
    while True:
        (demand,) = draw.choices(list(mix), list(mix.values()))
        requested += demand.devices * demand.units_on(1000)
        if place(index, demand) is None:
            return 100 * requested // capacity, demand


@pytest.mark.parametrize(
    ("hosts", "mix"),
    [(LARGE | SMALL, {**ONE_DEVICE, EIGHT_DEVICES: 2}), (LARGE | OTHER, {**ONE_DEVICE, OF_MODEL_B: 15})],
    ids=["eight devices", "one model"],
)
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_nothing_is_refused_before_the_pool_is_nearly_full(hosts: Hosts, mix: dict[Demand, int], seed: int) -> None:
    percent, demand = refused_first(hosts, mix, seed)
    assert percent >= 92, f"{demand} is refused at {percent} %"


def test_what_scarce_kinds_could_use_is_used_where_nothing_else_serves() -> None:
    mix = {Demand(): 8, Demand(devices=2): 1, Demand(models=frozenset("B")): 1}
    index = index_of({"pair": (2, "A", 0), "other": (1, "B", 0), "one": (1, "A", 0)}, mix)
    assert place(index, Demand()) == "one"
    assert {place(index, Demand()), place(index, Demand()), place(index, Demand())} == {"pair", "other"}


def test_demand_of_a_scarce_kind_is_placed_by_its_cost() -> None:
    mix = {Demand(units=500): 1, Demand(devices=2): 4}
    index = index_of({"a": (1, "A", 0), "b": (2, "A", 0)}, mix)
    assert place(index, Demand(devices=2)) == "b"


def test_demand_without_a_device_leaves_processors_to_a_scarce_kind() -> None:
    index = index_of({"a": (8, "A", 128_000), "b": (1, "A", 96_000)}, {Demand(): 9, Demand(8, cpu_milli=120_000): 1})
    assert place(index, Demand(devices=0, cpu_milli=16_000)) == "b"


def test_kinds_of_many_demands_are_those_that_take_most() -> None:
    often = Demand(devices=2, cpu_milli=64_000)
    seldom = {Demand(devices=2, cpu_milli=1000 * n): 1 for n in range(1, 40)}
    index = index_of({"pair": (2, "A", 64_000), "one": (1, "A", 0)}, {**seldom, often: 20, Demand(): 40})
    assert place(index, Demand()) == "one"
    kinds = Scarcity(estimate_shadow_prices({**seldom, often: 20, Demand(): 40}, 1000), ONE_CLASS).kinds
    assert (len(kinds), kinds[0].cpu_milli) == (KINDS_MAX, 64_000)


def test_demands_that_take_nothing_of_a_device_are_no_kind() -> None:
    assert place(index_of({"a": (1, "A", 0)}, {Demand(units=1, models=frozenset("B")): 1}), Demand()) == "a"
