"""One move or one swap lets in a demand that does not fit, and the search leaves the index as it was."""

from __future__ import annotations

from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Placement
from fastgpu_jupyter.core.placement.relocation import PlacedDemand, find_move, find_swap

PART = Demand(units=300)


def partly_used() -> tuple[CapacityIndex, list[PlacedDemand[str]]]:
    """Return an index of two hosts with one device each, and the demand that occupies a part of both."""
    index, occupants = CapacityIndex(), []
    for host in ("a", "b"):
        index.add_host(host, 10)
        index.add_device(f"{host}/0", host, "A", 1000)
        occupants.append(PlacedDemand(host, Placement(host, (f"{host}/0",), 300), PART))
        index.allocate(occupants[-1].placement, PART)
    return index, occupants


def test_find_move_gives_the_place_of_the_occupant_to_the_demand() -> None:
    index, occupants = partly_used()
    move = find_move(index, occupants, Demand())
    assert move is not None
    assert (move.occupant.key, move.to.host_id, move.then.host_id) == ("a", "b", "a")
    assert [index.free_units(f"{host}/0") for host in "ab"] == [700, 700]
    index.release(move.occupant.placement, move.occupant.demand)
    index.allocate(move.then, Demand())
    index.allocate(move.to, PART)


def test_find_move_returns_none_where_the_occupant_fits_nowhere_else() -> None:
    index, occupants = partly_used()
    for host in "ab":
        index.allocate(Placement(host, (f"{host}/0",), 600), Demand(units=600))
    assert find_move(index, occupants, Demand(units=400)) is None
    assert find_move(index, occupants[:1], Demand(cpu_milli=11)) is None
    assert [index.free_units(f"{host}/0") for host in "ab"] == [100, 100]


def test_find_swap_exchanges_occupants_of_one_size_to_free_processors() -> None:
    index, occupants = CapacityIndex(), []
    for host, cpu_milli, needs in (("poor", 10, 9), ("rich", 100, 2)):
        index.add_host(host, cpu_milli)
        for i in range(2):
            index.add_device(f"{host}/{i}", host, "A", 1000)
        occupants.append(PlacedDemand(host, Placement(host, (f"{host}/0",), 1000), Demand(cpu_milli=needs)))
        index.allocate(occupants[-1].placement, occupants[-1].demand)
    index.allocate(Placement("rich", ("rich/1",), 1000), Demand(cpu_milli=1))
    demand = Demand(cpu_milli=5)
    assert find_move(index, occupants, demand) is None
    change = find_swap(index, occupants, demand)
    assert change is not None
    assert (change.one.key, change.other.key, change.then.host_id) == ("poor", "rich", "poor")
    assert index.place(demand) is None
    assert find_swap(index, occupants, Demand(cpu_milli=9)) is None
