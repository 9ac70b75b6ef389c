"""The name of the notebook that a lease is for."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.accounting import ledger
from fastgpu_jupyter.core.accounting.segment import Segment
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.errors import Conflict
from tests.core.world import World, spec


def notebooks(world: World) -> list[str | None]:
    """The notebooks in the statement of the month, by time."""
    (statement,) = ledger.statements(world.history, world.state.month, world.at)
    return [line.item.of.notebook for line in statement.lines if isinstance(line.item.of, Segment)]


def test_rename_reaches_the_lease_and_the_open_line_of_the_bill() -> None:
    world = World(spec("gpu", parkable=True))
    world.active("a")
    world.pass_time(60_000)
    world.do(c.RenameLease("a", "run.ipynb"))
    world.pass_time(60_000)
    assert world.state.leases["a"].request.notebook == "run.ipynb"
    assert notebooks(world) == ["run.ipynb"]


def test_rename_of_a_waiting_lease_is_kept_over_a_change_of_its_size() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.ask("b", "half")
    world.do(c.RenameLease("b", "run.ipynb"))
    world.do(c.ResizeLease("b", "quarter"))
    assert world.state.leases["b"].request.notebook == "run.ipynb"


def test_rename_to_the_same_name_records_nothing() -> None:
    world = World(spec("gpu"))
    world.active("a")
    assert world.do(c.RenameLease("a", "run.ipynb"))
    assert world.do(c.RenameLease("a", "run.ipynb")) == []


def test_rename_of_a_lease_that_is_over_is_refused_and_its_bill_unchanged() -> None:
    world = World(spec("gpu"))
    world.active("a")
    world.do(c.RenameLease("a", "run.ipynb"))
    world.pass_time(60_000)
    world.do(c.ReleaseLease("a"))
    with pytest.raises(Conflict):
        world.do(c.RenameLease("a", "other.ipynb"))
    world.drained("a")
    assert notebooks(world) == ["run.ipynb"]
