"""What a cell cost: computed from what was known when it began and ended; where that is not all, it says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastgpu_jupyter.kernel import cell_cost as cost
from fastgpu_jupyter.kernel import magics
from fastgpu_jupyter.kernel.cell_cost import CELLS_MAX, Cell, Cells, Known, cost_of
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.verbs import Context
from fastgpu_jupyter.units import MS_PER_HOUR
from tests.helpers import KernelHelper, PoolProcess
from tests.kernel.fakes import FakePool, active_view

RATE = 3_600_000  # a micro-unit in a millisecond


def known(cost_micro: int, at_ms: int, micro_per_hour: int = RATE, lease_id: str = "lease-1") -> Known:
    return Known(lease_id, cost_micro, at_ms, micro_per_hour, "USD")


def test_cost_of_is_duration_times_rate() -> None:
    rate = known(500, 1000)
    assert cost_of(Cell(1, 2000, 5000, rate, rate), None) == (3000, "")


def test_cost_of_consecutive_cells_sums_to_the_cost_of_the_lease() -> None:
    one, two, three = known(0, 0), known(700, 700), known(10_000, 10_000)
    cells = [Cell(1, 0, 800, one, two), Cell(2, 800, 10_300, two, three)]
    assert [cost_of(cell, None).amount_micro for cell in cells] == [800, 9500]


def test_cost_of_a_cell_during_a_rate_change_has_a_note() -> None:
    # A second at the full rate, then nine at half of it: the pool rate of both.
    found = cost_of(Cell(1, 0, 10_000, known(0, 0), known(1000 + 4500, 10_000, RATE // 2)), None)
    assert found == (5500, "the rate changed")


def test_cost_of_excludes_parked_time() -> None:
    began, ended = known(0, 0), known(2000, 2000, 0)
    assert cost_of(Cell(1, 0, 60_000, began, ended), None) == (2000, "the rate changed")


def test_cost_of_a_cell_before_anything_was_known_has_a_note() -> None:
    later = known(9000, 9000)
    note = "at the rate that was known later"
    assert cost_of(Cell(1, 1000, 3000, None, None), later) == (2000, note)
    assert cost_of(Cell(1, 1000, 3000, None, later), None) == (2000, note)
    assert cost_of(Cell(1, 0, 20_000, None, None), known(100, 10_000)) == (10_100, note)  # not before it was granted
    assert cost_of(Cell(1, 1000, 3000, None, None), None).amount_micro is None


def test_cost_of_a_cell_across_two_leases_is_unknown() -> None:
    found = cost_of(Cell(1, 0, 10, known(10**9, 0), known(0, 5, lease_id="lease-2")), None)
    assert found == (None, "the lease changed while it ran")


def test_cost_of_a_cell_with_a_clock_set_back_is_zero() -> None:
    rate = known(0, 0)
    assert cost_of(Cell(1, 5000, 2000, rate, rate), None).amount_micro == 0


def test_cells_keep_a_bounded_number_and_accept_no_view() -> None:
    cells = Cells()
    for number in range(CELLS_MAX + 5):
        cells.end(cells.begin(None), None, number)
    assert len(cells) == CELLS_MAX
    assert [cell.number for cell in cells.last(2)] == [CELLS_MAX + 3, CELLS_MAX + 4]
    assert cells.last(1)[0].after is None


def test_cells_copy_the_view() -> None:
    view = active_view(cost_at=1000, billed_micro_per_hour=RATE)
    began = Cells().begin(view)
    view["money"] = {**view["money"], "cost_micro": 10**9}
    assert began[1] == known(45_000, 1000)
    assert known(45_000, 1000).numerator(3000) == 47_000 * MS_PER_HOUR


def test_verb_cost_shows_cells_sum_and_lease(tmp_path: Path) -> None:
    now = cost._now_ms()
    money = {
        "cost_micro": 5_000_000,
        "cost_at": now,
        "billed_micro_per_hour": 1_000_000,
        "covered_milli": 500,
        "budget_message": "Half is gone.",
    }
    pool = FakePool(active_view(**money))
    gate = Gate("lease-1", "active", tmp_path / "token", {}, pool.connect)
    cells = Cells()
    context = Context(gate, gated=True, cells=cells)
    assert "No cell has run yet." in magics.run(context, "cost").text
    cells.end((now - 3_600_000, Known.of(pool.view)), pool.view, 7)
    shown = magics.run(context, "cost")
    assert re.search(r"\[7\] +1 h +1\.00 USD", shown.text)
    assert re.search(r"Sum +1 h +1\.00 USD", shown.text)
    assert "costs 1.00 USD an hour now; 0.5 GPU of it is reserved and paid for. Half is gone." in shown.text
    assert "<td" in shown.html
    assert "not started as a FastGPU kernel" in magics.run(Context(gate, gated=False), "cost").text


@pytest.mark.slow
def test_cost_of_a_real_cell_equals_what_the_pool_charges(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    wait = "while gate.view is None or gate.view['state'] != 'active':\n    time.sleep(0.02)"
    kernel.run(
        f"import time\ngate = get_ipython().kernel.gate\n{wait}"
    )  # by its end the follower has heard of the lease
    before = pool.lease(kernel.lease_id)
    kernel.run("time.sleep(1)")
    after = pool.lease(kernel.lease_id)
    shown = kernel.run("%fastgpu cost").shown()[0]
    amounts = [float(amount) for amount in re.findall(r"\[\d+\].*?([0-9.]+) USD", shown)]
    assert len(amounts) == 2, shown
    rate = before["money"]["billed_micro_per_hour"] / 1e6 / 3600
    assert (
        rate * 0.99 <= amounts[1] <= (after["money"]["cost_micro"] - before["money"]["cost_micro"]) / 1e6 + rate * 0.01
    )
