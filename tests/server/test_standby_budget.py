"""The server's side of the budget of standby kernels: its own rules, and what it does without a pool manager."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import FastGPUError, Message, NotFound, PoolSilent
from fastgpu_jupyter.server import standby_budget
from fastgpu_jupyter.server.standby_budget import (
    FIRST_KERNEL_BYTES,
    PAUSE_MOST_S,
    StandbyBudget,
    StandbyRules,
    Waiting,
    at_low_priority,
    busy,
    own_kernels,
    own_refusal,
)
from fastgpu_jupyter.wire.host_memory import MemoryDomain
from fastgpu_jupyter.wire.pressure import Pressure, read_pressure
from tests.waiting import wait_until

GIB = 2**30


class FakePool:
    """A pool manager that refuses what a test wants, and notes what was reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[list[int], int | None]] = []
        self.refused_pids: set[int] = set()
        self.refusal: str | None = None
        self.code = "standby.budget"  #: of refused kernels
        self.error: FastGPUError | None = None

    def report_standby(self, kernels: Any, wanted_bytes: int | None) -> Any:
        if self.error is not None:
            raise self.error
        self.reports.append(([kernel["pid"] for kernel in kernels], wanted_bytes))
        return {
            "kernels": [
                {
                    "pid": one["pid"],
                    "memory_bytes": 1,
                    "refusal": self.view(self.code) if one["pid"] in self.refused_pids else None,
                }
                for one in kernels
            ],
            "refusal": None if self.refusal is None else self.view(self.refusal),
        }

    def view(self, code: str) -> dict[str, Any]:
        return {"code": code, "params": {}, "text": ""}


class World:
    """A server with a clock and a pool manager of the test."""

    def __init__(self, **rules: Any) -> None:
        self.now_s = 1000.0
        self.idle_s = 0.0
        self.launches = 0
        self.pool = FakePool()
        connect: Callable[[], Any] = lambda: self.pool  # noqa: E731 (the type of the parameter is a client's)
        self.budget = StandbyBudget(
            logging.getLogger("standby"),
            rules=StandbyRules(wait_for_quiet=False)._replace(**rules),
            idle_s=lambda: self.idle_s,
            launches=lambda: self.launches,
            connect=connect,
            clock=lambda: self.now_s,
        )

    def kernel(self, pid: int, age_s: float = 0.0, memory_bytes: int = 60 * 2**20) -> Waiting:
        return Waiting(pid, 1, "python3", memory_bytes, self.now_s - age_s)

    def report(self, *kernels: Waiting) -> set[int]:
        return set(asyncio.run(self.budget.report(kernels)))

    def refusal(self) -> str | None:
        refusal = asyncio.run(self.budget.allowed("python3"))
        return None if refusal is None else refusal.code


def code(refusal: Message | None) -> str | None:
    return None if refusal is None else refusal.code


def test_report_keeps_what_the_pool_allows_and_what_is_young() -> None:
    world = World()
    world.pool.refused_pids = {2}
    assert world.report(world.kernel(1), world.kernel(2), world.kernel(3, age_s=3600)) == {1}


def test_server_without_use_has_no_standby_kernels_until_it_is_used() -> None:
    world = World()
    world.idle_s = 1800
    assert world.report(world.kernel(1)) == set()
    assert world.refusal() == "standby.server_idle"
    world.idle_s = 0
    assert world.refusal() is None


def test_wanted_kernel_has_the_size_of_the_last_one_and_is_wanted_until_it_is_reported() -> None:
    world = World()
    assert world.refusal() is None
    world.report()
    world.report(world.kernel(1, memory_bytes=GIB))
    world.refusal()
    assert world.pool.reports == [([], FIRST_KERNEL_BYTES), ([], FIRST_KERNEL_BYTES), ([1], None), ([1], GIB)]


def test_refused_kernel_stays_wanted_for_a_while() -> None:
    world = World()
    world.pool.refusal = "standby.budget"
    assert world.refusal() == "standby.budget"
    assert world.budget.refusals["python3"].code == "standby.budget"
    world.now_s += 20
    world.report(world.kernel(1))
    world.pool.refusal = None
    assert world.refusal() is None
    assert world.budget.refusals == {}


def test_server_without_kernels_and_wishes_does_not_call_the_pool() -> None:
    world = World()
    world.report()
    world.report(world.kernel(1))
    world.report()
    world.report()
    assert world.pool.reports == [([1], None), ([], None)]


def test_kernels_that_end_by_themselves_start_after_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    pauses = []
    for _ in range(12):
        world.budget.died("python3", "SIGKILL")
        refusal = asyncio.run(world.budget.allowed("python3"))
        assert code(refusal) == "standby.died"
        assert refusal is not None
        wait_ms = refusal.params["wait_ms"]
        assert isinstance(wait_ms, int)
        pauses.append(wait_ms / 1000)
        world.now_s += pauses[-1]
        assert world.refusal() is None
    assert pauses[:4] == [10, 20, 40, 80]
    assert pauses[-2:] == [PAUSE_MOST_S, PAUSE_MOST_S]
    assert len(caplog.messages) == 1
    world.budget.died("python3", "SIGKILL")
    world.budget.was_used("python3")
    assert world.refusal() is None


def test_kernel_that_lived_for_long_ends_the_pauses() -> None:
    world = World()
    world.budget.died("python3", "SIGKILL")
    world.report(world.kernel(1, age_s=300))
    assert world.refusal() is None


# -- without a pool manager -------------------------------------------------------------------------------------------


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[MemoryDomain]:
    """The domains of this process, as a test sets them."""
    domains = [MemoryDomain("", 10 * GIB, None, None)]
    monkeypatch.setattr(standby_budget, "domains_of", lambda _: tuple(domains))
    return domains


@pytest.mark.parametrize("error", [PoolSilent("no answer"), NotFound("no such route")])
def test_server_of_a_silent_or_older_pool_has_one_small_standby_kernel(
    error: FastGPUError, memory: list[MemoryDomain]
) -> None:
    world = World()
    world.pool.error = error
    assert world.refusal() is None
    assert world.report(world.kernel(1), world.kernel(2)) == {1}
    assert world.refusal() == "standby.own_limit"
    memory.append(MemoryDomain("/user", 50 * 2**20, None, None))
    assert world.report(world.kernel(1)) == set()


def test_answer_of_a_pool_holds_for_a_minute_after_its_end(memory: list[MemoryDomain]) -> None:
    world = World()
    assert world.report(world.kernel(1), world.kernel(2)) == {1, 2}
    world.pool.error = PoolSilent("restarts")
    world.now_s += 60
    assert world.report(world.kernel(1), world.kernel(2)) == {1, 2}
    world.now_s += 1
    assert world.report(world.kernel(1), world.kernel(2)) == {1}


def test_server_whose_processes_the_pool_does_not_see_has_one_small_standby_kernel(memory: list[MemoryDomain]) -> None:
    world = World()
    world.pool.refused_pids = {1, 2}
    world.pool.code = "standby.not_seen"
    assert world.report(world.kernel(1), world.kernel(2)) == {1}
    assert world.refusal() == "standby.own_limit"
    world.pool.refused_pids = {1}  # it has ended just now, and the other one is seen
    assert world.report(world.kernel(1), world.kernel(2)) == {2}
    assert world.refusal() is None


def test_own_bound_without_known_memory_or_under_pressure_is_none(memory: list[MemoryDomain]) -> None:
    pid = os.getpid()
    assert own_refusal(100 * 2**20, 0, pid) is None
    assert own_refusal(103 * 2**20, 0, pid) is not None
    memory[0] = memory[0]._replace(pressure=Pressure(0.0, 5.0))
    assert own_refusal(1, 0, pid) is not None
    memory.clear()
    assert own_refusal(1, 0, pid) is not None
    assert own_kernels([Waiting(1, 1, "python3", 1, 0.0)], pid) == frozenset()


def test_kernel_of_unknown_memory_does_not_stay_without_a_pool(memory: list[MemoryDomain]) -> None:
    assert own_kernels([Waiting(1, 1, "python3", None, 0.0), Waiting(2, 1, "python3", 1, 0.0)], 0) == frozenset({2})


# -- a quiet machine --------------------------------------------------------------------------------------------------


def test_machine_is_busy_while_kernels_start_or_processes_wait() -> None:
    assert code(busy(Pressure(0.0, 0.0), None, 1, 0.0)) == "standby.launching"
    assert code(busy(Pressure(19.9, 90.0), 50.0, 0, 0.0)) is None  # the last 10 seconds, not the load
    assert code(busy(Pressure(20.0, 0.0), 0.0, 0, 0.0)) == "standby.cpu_busy"
    assert code(busy(Pressure(20.0, 0.0), 0.0, 0, 60.0)) is None
    assert code(busy(Pressure(80.0, 0.0), 0.0, 0, 299.0)) == "standby.cpu_busy"
    assert code(busy(Pressure(100.0, 0.0), 0.0, 0, 300.0)) is None


def test_machine_without_known_pressure_is_busy_by_its_load() -> None:
    assert code(busy(None, 1.2, 0, 0.0)) is None
    assert code(busy(None, 1.3, 0, 0.0)) == "standby.cpu_busy"
    assert code(busy(None, 4.0, 0, 60.0)) is None
    assert code(busy(None, 6.0, 0, 60.0)) == "standby.cpu_busy"
    assert code(busy(None, None, 0, 0.0)) is None


def test_server_waits_for_a_quiet_machine_and_less_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(wait_for_quiet=True)
    monkeypatch.setattr(standby_budget, "read_pressure", lambda _: Pressure(50.0, 50.0))
    assert world.refusal() == "standby.cpu_busy"
    world.now_s += 59
    assert world.refusal() == "standby.cpu_busy"
    world.now_s += 1
    assert world.refusal() is None
    world.now_s += 1
    assert world.refusal() == "standby.cpu_busy"  # the next one waits again


def test_pressure_is_unknown_where_it_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cpu"
    assert read_pressure(path) is None
    for text in ("", "full avg10=1.00 avg60=1.00 avg300=0.00 total=1\n", "some avg10=x avg60=1.00\n", "some avg10\n"):
        path.write_text(text)
        assert read_pressure(path) is None
    path.write_text("some avg10=1.25 avg60=0.50 avg300=0.00 total=1\n")
    assert read_pressure(path) == Pressure(1.25, 0.5)


# -- priority ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups")
def test_low_priority_is_that_of_the_session_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        path = Path(f"/proc/{process.pid}/autogroup")

        def niceness() -> int:
            return int(path.read_text().split()[-1])

        async def starts() -> list[int]:
            found = [niceness()]
            async with at_low_priority(process.pid):
                found.append(niceness())
            return [*found, niceness()]

        async def starts_slowly() -> None:
            async with at_low_priority(process.pid):
                await asyncio.to_thread(wait_until, lambda: niceness() == 0, "it has the usual priority")

        try:
            assert asyncio.run(starts()) == [0, 19, 0]
            monkeypatch.setattr(standby_budget, "LOW_PRIORITY_MAX_S", 0.15)
            asyncio.run(starts_slowly())
        finally:
            process.kill()
