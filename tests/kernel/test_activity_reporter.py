"""What is reported to the pool of the cells that run, against a pool and a clock that a test drives; and the thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.kernel import activity_reporter as activity
from fastgpu_jupyter.kernel.activity_reporter import BUSY_AFTER_S, QUIET_S, ActivityReporter
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.lease_commands import LeaseCommands
from tests.kernel.fakes import FakePool, active_view, lease_view
from tests.waiting import DEADLINE_S, wait_until

BUSY, IDLE = ("activity", True), ("activity", False)


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fastgpu_jupyter.kernel.cell_activity.time", clock)
    monkeypatch.setattr("fastgpu_jupyter.kernel.activity_reporter.time", clock)
    return clock


def make_gate(pool: FakePool, tmp_path: Path) -> Gate:
    token = tmp_path / "token"
    token.write_text("secret")
    gate = Gate("lease-1", "active", token, {}, pool.connect)
    gate.pool.quick = lambda: pool  # type: ignore[assignment, method-assign, return-value]
    gate.update_lease(pool.lease("lease-1"))  # type: ignore[arg-type]
    return gate


@pytest.fixture
def pool() -> FakePool:
    return FakePool(active_view())


@pytest.fixture
def gate(pool: FakePool, tmp_path: Path) -> Gate:
    return make_gate(pool, tmp_path)


def activity_reports(pool: FakePool) -> list[tuple[object, ...]]:
    return [call for call in pool.calls if call[0] == "activity"]


def test_reporter_reports_a_long_cell_after_a_delay_and_its_end_after_quiet(
    pool: FakePool, gate: Gate, clock: Clock
) -> None:
    reporter = ActivityReporter(gate)
    assert reporter.report_due() is None
    cell = gate.activity.begin()
    assert reporter.report_due() == pytest.approx(BUSY_AFTER_S)
    clock.now += BUSY_AFTER_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]
    assert reporter.report_due() is None  # its end wakes the thread
    clock.now += 3600
    gate.activity.end(cell)
    assert reporter.report_due() == pytest.approx(QUIET_S)
    clock.now += QUIET_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY, IDLE]
    assert reporter.report_due() is None


def test_reporter_with_many_short_cells_sends_one_report(pool: FakePool, gate: Gate, clock: Clock) -> None:
    reporter = ActivityReporter(gate)
    reporter.report_due()
    for _ in range(1000):
        gate.activity.end(gate.activity.begin())
        clock.now += 0.01
        reporter.report_due()
    assert activity_reports(pool) == [BUSY]
    clock.now += QUIET_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY, IDLE]


def test_reporter_with_one_short_cell_resets_the_idle_time(pool: FakePool, gate: Gate, clock: Clock) -> None:
    reporter = ActivityReporter(gate)
    reporter.report_due()
    gate.activity.end(gate.activity.begin())
    for _ in range(8):
        clock.now += 0.25
        reporter.report_due()
    assert activity_reports(pool) == [BUSY, IDLE]


@pytest.mark.parametrize("state", ["waiting", "active", "parked"])
def test_reporter_without_a_cell_reports_once_where_the_pool_knows_nothing(
    tmp_path: Path, clock: Clock, state: str
) -> None:
    pool = FakePool(active_view(state=state, busy=None))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    reporter.report_due()
    assert activity_reports(pool) == [IDLE]
    clock.now += 60
    assert reporter.report_due() is None
    bound = {**pool.view, "version": 9, "usage": {**pool.view["usage"], "busy": None}}  # as after a new binding
    gate.update_lease(bound)  # type: ignore[arg-type]
    reporter.report_due()
    assert activity_reports(pool) == [IDLE, IDLE]


def test_reporter_of_an_unparkable_lease_reports_as_well(tmp_path: Path, clock: Clock) -> None:
    """It may become parkable while the cell runs, and must not be taken for idle then."""
    pool = FakePool(active_view(parkable=False))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    gate.activity.begin()
    clock.now += BUSY_AFTER_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]


def test_reporter_of_an_ended_lease_sends_nothing_and_sleeps(tmp_path: Path, clock: Clock) -> None:
    pool = FakePool(active_view(state="draining"))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    cell = gate.activity.begin()
    clock.now += 60
    assert reporter.report_due() is None
    assert not reporter._pool_needs_activity
    gate.activity.end(cell)
    assert activity_reports(pool) == []


def test_reporter_reports_a_cell_waiting_for_the_first_grant_at_once(tmp_path: Path, clock: Clock) -> None:
    pool = FakePool(lease_view())
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    gate.activity.end(gate.activity.begin())  # a callback that did not wait
    clock.now += 1
    assert reporter.report_due() is None
    gate.activity.begin()
    gate.begin_wait()
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]


def test_reporter_reports_a_cell_waiting_for_a_parked_lease_at_once(tmp_path: Path, clock: Clock) -> None:
    pool = FakePool(lease_view(state="parked", park_reason="idle", position=None))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    cell = gate.activity.begin()
    gate.begin_wait()
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]
    assert pool.view["state"] == "waiting"
    gate.activity.end(cell)  # Stop
    clock.now += QUIET_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY, IDLE]


def test_reporter_reports_a_cell_waiting_for_a_lease_that_was_parked_while_a_cell_ran(
    tmp_path: Path, clock: Clock
) -> None:
    """Its user parked it during one cell, and runs the next before the pool knows that the first has ended."""
    pool = FakePool(active_view(busy=True))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    gate.activity.begin()
    reporter.report_due()
    pool.view = active_view(state="parked", busy=True, version=9, park_reason="requested")
    gate.update_lease(pool.lease("lease-1"))  # type: ignore[arg-type]
    assert reporter.report_due() is None
    assert activity_reports(pool) == []
    gate.begin_wait()
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]
    assert pool.view["state"] == "waiting"
    pool.view = active_view(state="parked", busy=True, version=20, park_reason="requested")  # its budget is spent
    gate.update_lease(pool.lease("lease-1"))  # type: ignore[arg-type]
    reporter.report_due()
    reporter.report_due()
    gate.end_wait()
    reporter.report_due()
    assert activity_reports(pool)[:2] == [BUSY, BUSY]


def test_reporter_ignores_a_short_callback_of_a_parked_lease(tmp_path: Path, clock: Clock) -> None:
    pool = FakePool(lease_view(state="parked", park_reason="idle"))
    gate = make_gate(pool, tmp_path)
    reporter = ActivityReporter(gate)
    gate.activity.end(gate.activity.begin())
    clock.now += 1
    assert reporter.report_due() is None
    long = gate.activity.begin()
    clock.now += BUSY_AFTER_S
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]
    gate.activity.end(long)


def test_reporter_after_a_restart_corrects_the_reported_activity(tmp_path: Path) -> None:
    pool = FakePool(active_view(busy=True))
    ActivityReporter(make_gate(pool, tmp_path)).report_due()
    assert activity_reports(pool) == [IDLE]


def test_reporter_wakes_at_the_end_of_a_cell_that_was_already_reported(tmp_path: Path) -> None:
    gate = make_gate(FakePool(active_view(busy=True, parkable=False)), tmp_path)
    gate.activity.begin()
    reporter = ActivityReporter(gate)
    assert reporter.report_due() is None
    assert reporter._pool_needs_activity


def test_reporter_with_an_unreachable_pool_retries_with_growing_pauses(
    pool: FakePool, gate: Gate, clock: Clock
) -> None:
    reporter = ActivityReporter(gate)
    reporter.report_due()
    gate.activity.begin()
    clock.now += 1
    pool.down = "gone"
    pauses = [reporter.report_due() or 0.0 for _ in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == activity.RETRY_MOST_S
    pool.down = None
    reporter.report_due()
    assert activity_reports(pool) == [BUSY]


def test_park_by_the_user_is_not_undone_by_the_cell_that_parks(pool: FakePool, gate: Gate, clock: Clock) -> None:
    reporter = ActivityReporter(gate)
    before = gate.activity.begin()
    clock.now += 1
    reporter.report_due()
    gate.activity.end(before)
    cell = gate.activity.begin()
    LeaseCommands(gate).park()
    gate.activity.end(cell)
    clock.now += 5
    reporter.report_due()
    assert pool.calls == [BUSY, IDLE, ("park",)]
    assert pool.view["state"] == "parked"
    gate.activity.begin()
    gate.begin_wait()
    reporter.report_due()
    assert activity_reports(pool)[-1] == BUSY


def test_park_by_the_user_is_not_undone_by_a_report_in_progress(pool: FakePool, gate: Gate) -> None:
    gate.activity.begin()
    LeaseCommands(gate).park()
    gate.report_activity(busy=True)  # was due when the user parked, and comes after it
    assert pool.calls == [IDLE, ("park",)]


def test_gate_notes_once_that_the_lease_was_parked_while_a_cell_ran(pool: FakePool, gate: Gate) -> None:
    cell = gate.activity.begin()
    for state, version in (("parking", 3), ("parked", 4), ("waiting", 5), ("resuming", 6)):
        view = active_view(state=state, version=version, park_reason="priority")
        gate.update_lease(view)  # type: ignore[arg-type]
    assert not gate.open
    gate.update_lease(active_view(version=7, park_reason="priority"))  # type: ignore[arg-type]
    gate.activity.end(cell)
    (note,) = gate.apply_changes()
    assert "A request of a higher priority needed the GPU." in note
    assert "is restored" in note
    assert gate.apply_changes() == []


def test_gate_adds_no_note_where_the_cell_showed_the_wait(pool: FakePool, gate: Gate) -> None:
    cell = gate.activity.begin()
    gate.update_lease(active_view(state="parked", version=3, park_reason="priority"))  # type: ignore[arg-type]
    gate.activity.end(cell)
    gate.activity.begin()
    gate.begin_wait()
    gate.wait_was_shown()
    gate.update_lease(active_view(version=4))  # type: ignore[arg-type]
    assert gate.apply_changes() == []


@pytest.fixture
def running(gate: Gate) -> Iterator[ActivityReporter]:
    reporter = ActivityReporter(gate)
    reporter.start()
    yield reporter
    gate.closed.set()
    gate.activity.changed.set()
    reporter.join(DEADLINE_S)
    assert not reporter.is_alive()


@pytest.mark.slow
def test_reporter_thread_reports_within_a_second(pool: FakePool, gate: Gate, running: ActivityReporter) -> None:
    took_s = []
    for _ in range(3):
        pool.calls.clear()
        wait_until(lambda: gate.activity.reporter_sleeps, "the thread rests")
        began = time.monotonic()
        cell = gate.activity.begin()
        wait_until(lambda: activity_reports(pool) == [BUSY], "the pool knows of the cell")
        began_s = time.monotonic() - began
        wait_until(lambda: gate.activity.reporter_sleeps, "the thread rests")
        ended = time.monotonic()
        gate.activity.end(cell)
        wait_until(lambda: activity_reports(pool) == [BUSY, IDLE], "the pool knows of its end")
        took_s.append(max(began_s, time.monotonic() - ended))
    assert min(took_s) < 1  # on a busy machine any one may take longer


@pytest.mark.slow
def test_reporter_thread_wakes_seldom_during_short_cells(
    pool: FakePool, gate: Gate, running: ActivityReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: gate.activity.reporter_sleeps, "the thread rests")
    calls = 0
    look = running.report_due

    def counted() -> float | None:
        nonlocal calls
        calls += 1
        return look()

    monkeypatch.setattr(running, "report_due", counted)
    until, cells = time.monotonic() + 1.5, 0
    while time.monotonic() < until:
        gate.activity.end(gate.activity.begin())
        cells += 1
    assert cells > 1000
    assert calls < 40
    wait_until(lambda: activity_reports(pool) == [BUSY, IDLE], "both are reported")


def test_reporter_reports_libraries_after_a_resize(pool: FakePool, gate: Gate, clock: Clock) -> None:
    half = {"CUDA_VISIBLE_DEVICES": "GPU-1", "FASTGPU_MEMORY_BYTES": str(40 * 2**30), "FASTGPU_CAP_BYTES": "1",
            "FASTGPU_CAP_FRACTION": "0.5"}  # fmt: skip
    reporter = ActivityReporter(gate)
    pool.view = active_view(version=5, environment=half, size_applied="pending")
    gate.update_lease(pool.view)  # type: ignore[arg-type]
    reporter.report_due()
    assert pool.calls == [], "no library was told yet"
    gate.apply_changes()
    assert gate.environment.memory_caps is not None
    pool.down = "away"
    reporter.report_due()
    pool.down = None
    reporter.report_due()
    reporter.report_due()
    assert pool.calls == [("libraries", 40 * 2**30, ())]
    gate.environment.memory_caps.needs_restart = ("JAX",)
    gate.apply_changes()
    reporter.report_due()
    reporter.report_due()
    assert pool.calls[1:] == [("libraries", 40 * 2**30, ("JAX",))]
    gate.environment.memory_caps.close()


def test_reporter_does_not_report_libraries_of_an_earlier_size(pool: FakePool, gate: Gate, clock: Clock) -> None:
    half = {"CUDA_VISIBLE_DEVICES": "GPU-1", "FASTGPU_MEMORY_BYTES": str(40 * 2**30), "FASTGPU_CAP_BYTES": "1",
            "FASTGPU_CAP_FRACTION": "0.5"}  # fmt: skip
    gate.update_lease(active_view(version=5, environment=half, size_applied="applied"))  # type: ignore[arg-type]
    gate.apply_changes()
    assert gate.environment.memory_caps is not None
    assert [gate.has_unreported_resize] == [False], "no library needs a restart, and the pool knows"
    whole = active_view(version=6, environment={"CUDA_VISIBLE_DEVICES": "GPU-1"}, size_applied="pending")
    gate.update_lease(whole)  # type: ignore[arg-type]
    assert [gate.has_unreported_resize] == [False]
    gate.apply_changes()
    assert [gate.has_unreported_resize] == [True]
    gate.report_libraries()
    assert pool.calls == [("libraries", None, ())]
    gate.environment.memory_caps.close()
