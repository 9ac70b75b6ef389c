"""One move lets a demand in that does not fit, and the search leaves no trace."""

from __future__ import annotations

from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Placement
from fastgpu_jupyter.core.placement.relocation import PlacedDemand, find_move, find_swap

PART = Demand(units=300)


def halves() -> tuple[CapacityIndex, list[PlacedDemand[str]]]:
    """Two hosts of one device; the same part is taken of both."""
    fleet, held = CapacityIndex(), []
    for host in ("a", "b"):
        fleet.add_host(host, 10)
        fleet.add_device(f"{host}/0", host, "A", 1000)
        held.append(PlacedDemand(host, Placement(host, (f"{host}/0",), 300), PART))
        fleet.allocate(held[-1].placement, PART)
    return fleet, held


def test_the_holder_goes_and_the_demand_comes() -> None:
    fleet, held = halves()
    move = find_move(fleet, held, Demand())
    assert move is not None
    assert (move.held.key, move.to.host_id, move.then.host_id) == ("a", "b", "a")
    assert [fleet.free_units(f"{host}/0") for host in "ab"] == [700, 700]
    fleet.release(move.held.placement, move.held.demand)
    fleet.allocate(move.then, Demand())
    fleet.allocate(move.to, PART)


def test_there_is_no_move_where_the_holder_has_nowhere_to_go() -> None:
    fleet, held = halves()
    for host in "ab":
        fleet.allocate(Placement(host, (f"{host}/0",), 600), Demand(units=600))
    assert find_move(fleet, held, Demand(units=400)) is None
    assert find_move(fleet, held[:1], Demand(cpu_milli=11)) is None
    assert [fleet.free_units(f"{host}/0") for host in "ab"] == [100, 100]


def test_two_of_a_size_change_places_for_the_sake_of_processors() -> None:
    fleet, held = CapacityIndex(), []
    for host, cpu_milli, needs in (("poor", 10, 9), ("rich", 100, 2)):
        fleet.add_host(host, cpu_milli)
        for i in range(2):
            fleet.add_device(f"{host}/{i}", host, "A", 1000)
        held.append(PlacedDemand(host, Placement(host, (f"{host}/0",), 1000), Demand(cpu_milli=needs)))
        fleet.allocate(held[-1].placement, held[-1].demand)
    fleet.allocate(Placement("rich", ("rich/1",), 1000), Demand(cpu_milli=1))
    demand = Demand(cpu_milli=5)
    assert find_move(fleet, held, demand) is None
    change = find_swap(fleet, held, demand)
    assert change is not None
    assert (change.one.key, change.other.key, change.then.host_id) == ("poor", "rich", "poor")
    assert fleet.place(demand) is None
    assert find_swap(fleet, held, Demand(cpu_milli=9)) is None
