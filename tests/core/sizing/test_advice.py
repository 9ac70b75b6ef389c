"""Advice on sizes with histories that would mislead: it names a size only where everything that was measured fits."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, Lease
from fastgpu_jupyter.core.model.size import SizeUnit
from fastgpu_jupyter.core.model.use import DAYS_MAX, NOTEBOOKS_MAX, MeasuredUse
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.core.sizing import advice
from fastgpu_jupyter.core.sizing.options import SizeReport
from fastgpu_jupyter.units import GIB
from tests.core.world import World, spec, text

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOTHING = MeasuredUse()


def use(
    cells: int = 10, busy_ms: int = 30 * MINUTE, peak: int | None = 6 * GIB, percent: int = 18, unknown_ms: int = 0
) -> MeasuredUse:
    return MeasuredUse(cells, busy_ms, HOUR, unknown_ms, peak, percent * busy_ms, busy_ms)


class Notebook:
    """A lease of a notebook on an A100 of 80 GiB, and its history."""

    def __init__(self, size: str = "half", tenant: str = "ann") -> None:
        self.world = World(spec("gpu"), spec("other", index=1))
        self.lease: Lease = self.world.active("a", size, tenant=tenant)

    def day(self, measured: MeasuredUse, hours: int = 1) -> None:
        """Let a day pass, of which the lease was measured; it is billed for all of it."""
        self.world.pass_time(hours * HOUR)
        self.world.do(c.RecordUse("a", measured))
        self.world.pass_time(DAY - hours * HOUR)

    def advise(self, pending: MeasuredUse = NOTHING, lease: Lease | None = None) -> tuple[str | None, str]:
        """Return the size that is named, and the sentence."""
        state, lease = self.world.state, lease or self.lease
        at = Instant(self.world.now_ms, self.world.at.wall_ms)
        measured = advice.measured_of(state, lease, pending, at)
        report = SizeReport(state, QueueReport(state), self.world.pool)
        found, reason = advice.advise(state, lease, measured, report.for_lease(lease, SizeUnit.SHARE, None, at).choices)
        return (None, text(reason)) if found is None else (str(found.choice.size), text(found.basis))


def test_advice_names_the_smallest_size_in_which_everything_fits_and_its_saving() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use())
    assert notebook.advise() == (
        "eighth",
        "Peak of 40 cells over 4 days: 6 GiB of 40 GiB, 18 % utilization. Size eighth would have cost 75 % less.",
    )


@pytest.mark.parametrize(
    ("peak_bytes", "size"),
    [
        (int(8.3 * GIB), "eighth"),  # with a fifth more it still fits
        (int(8.4 * GIB), "quarter"),
        (int(16.6 * GIB), "quarter"),
        (int(16.7 * GIB), None),
        (0, "eighth"),
    ],
)
def test_advice_is_never_below_the_peak_plus_the_margin(peak_bytes: int, size: str | None) -> None:
    notebook = Notebook()
    for _ in range(3):
        notebook.day(use(peak=GIB))
    notebook.day(use(cells=1, busy_ms=1000, peak=peak_bytes))  # one spike among many days counts
    notebook.day(use(peak=GIB))
    peak_bytes = max(peak_bytes, GIB)
    assert notebook.advise()[0] == size


def test_spike_that_is_not_recorded_yet_counts() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use())
    assert notebook.advise(use(cells=0, peak=39 * GIB))[0] is None


def test_one_long_cell_is_no_basis() -> None:
    notebook = Notebook()
    notebook.day(use(cells=1, busy_ms=20 * HOUR), hours=20)
    size, why = notebook.advise()
    assert size is None
    assert "1 cells in 20 h, and 8 in 20 min are needed" in why


def test_many_short_cells_are_no_basis() -> None:
    notebook = Notebook()
    for _ in range(5):
        notebook.day(use(cells=500, busy_ms=3 * MINUTE))
    assert "Too little was measured" in notebook.advise()[1]


def test_memory_that_was_unknown_for_a_while_gives_no_advice() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use(unknown_ms=4 * MINUTE))
    assert "not known well enough" in notebook.advise()[1]
    nothing_known = Notebook()
    nothing_known.day(use(peak=None))
    assert "not known well enough" in nothing_known.advise()[1]


def test_high_utilization_keeps_the_size_that_computes_as_fast() -> None:
    notebook = Notebook("full")
    for _ in range(4):
        notebook.day(use(percent=45))
    assert notebook.advise()[0] == "half"
    busy = Notebook("full")
    for _ in range(4):
        busy.day(use(percent=90))
    size, why = busy.advise()
    assert size is None
    assert "6 GiB of 80 GiB, 90 % utilization. No smaller size would do" in why


def test_unknown_utilization_is_shown_as_unknown() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use()._replace(utilization_known_ms=0, utilization_percent_ms=0))
    assert "utilization unknown" in notebook.advise()[1]


def test_saving_is_of_what_was_billed_when_the_size_changed_in_between() -> None:
    notebook = Notebook("full")
    notebook.day(use(percent=10))
    notebook.world.do(c.ResizeLease("a", "eighth"))
    for _ in range(9):
        notebook.day(use(peak=GIB, percent=10))
    notebook.world.do(c.ResizeLease("a", "full"))
    notebook.world.pass_time(MINUTE)
    size, why = notebook.advise()
    assert size == "eighth"
    assert "would have cost 41 % less" in why  # a day of all and 9 of an eighth, against 10 of an eighth


def test_lease_that_costs_nothing_gets_no_advice() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use())
    notebook.lease.recorded_cost_numerator = 10**30  # as if a reservation had paid for everything
    for known in notebook.world.state.notebooks["ann"].values():
        for day in known.days.values():
            day.cost_numerator = 0
    assert notebook.advise()[0] is None


def test_notebook_of_the_same_path_of_another_user_is_another_notebook() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use())
    world = notebook.world
    world.do(c.SilenceAdvice("a", silenced=True))
    other = world.active("b", "half", tenant="bob")
    world.do(c.RenameLease("b", "a.ipynb"))
    assert other.request.notebook == notebook.lease.request.notebook
    assert "Nothing was measured" in notebook.advise(lease=other)[1]


def test_silenced_notebook_gets_no_advice_until_its_user_wants_it_again() -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.day(use())
    notebook.world.do(c.SilenceAdvice("a", silenced=True))
    assert notebook.world.do(c.SilenceAdvice("a", silenced=True)) == []
    assert "You wanted no advice" in notebook.advise()[1]
    notebook.world.do(c.SilenceAdvice("a", silenced=False))
    assert notebook.advise()[0] == "eighth"


def test_several_devices_and_parked_leases_get_no_advice() -> None:
    notebook = Notebook("2xany")
    notebook.day(use())
    assert "several GPUs" in notebook.advise()[1]
    parked = Notebook()
    parked.world = World(spec("gpu", parkable=True))
    parked.lease = parked.world.active("a", "half")
    parked.day(use())
    parked.world.do(c.ParkLease("a"))
    assert "while the lease is active" in parked.advise()[1]


def test_what_is_kept_is_bounded_by_days_and_notebooks() -> None:
    notebook = Notebook()
    for _ in range(DAYS_MAX + 3):
        notebook.day(use())
    known = notebook.world.state.notebooks["ann"]
    assert len(known["a.ipynb"].days) == DAYS_MAX
    for number in range(NOTEBOOKS_MAX):
        notebook.world.do(c.RenameLease("a", f"{number}.ipynb"))
        notebook.world.do(c.RecordUse("a", use()))
    assert len(known) == NOTEBOOKS_MAX
    assert "a.ipynb" not in known


def test_record_without_a_measurement_is_not_written() -> None:
    notebook = Notebook()
    assert notebook.world.do(c.RecordUse("a", NOTHING)) == []
    assert notebook.world.do(c.RecordUse("gone", use())) == []
    notebook.world.pass_time(1000)
    (event,) = notebook.world.do(c.RecordUse("a", NOTHING))
    assert (event.active_ms, event.cost_numerator) == (1000, 1000 * 1_800_000)  # type: ignore[union-attr]
    assert notebook.world.do(c.RecordUse("a", NOTHING)) == []
