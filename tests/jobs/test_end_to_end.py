"""Jobs of three priorities beside two notebooks on two simulated GPUs: real pool, dispatcher, runners and kernels.

``FASTGPU_JOBS`` is how many jobs; 40 in ``make test-long``.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.wire.job_states import ENDED, JobState
from tests.conftest import ROOT, park_idle
from tests.helpers import KernelHelper, PoolProcess, fastgpu
from tests.jobs.bodies import command
from tests.jobs.conftest import with_dispatcher
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

JOBS = int(os.environ.get("FASTGPU_JOBS", "9"))
PRIORITIES = ("low", "normal", "high")
#: A notebook without a running cell gives its GPU to a job after so long.
IDLE_S = 1.0


@pytest.fixture
def pool(isolated: Path) -> Iterator[PoolProcess]:
    """A running pool with two simulated GPUs."""
    park_idle(isolated, IDLE_S)
    process = PoolProcess(isolated, "2xA100-80GB")
    process.start()
    yield process
    process.end()


@pytest.fixture
def jobs(pool: PoolProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsClient]:
    """A client whose dispatcher and runners are the real ones."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", str(ROOT)))
    yield from with_dispatcher()


def submit(jobs: JobsClient, number: int, priority: str, hold: Path) -> int:
    """Submit a job that computes for as long as the file ``hold`` exists, and a moment at least."""
    code = f"import os, time; time.sleep(0.1)\nwhile os.path.exists({str(hold)!r}): time.sleep(0.05)"
    body = command(sys.executable, "-S", "-c", code, name=f"{priority} {number}", priority=priority)
    return int(jobs.submit(body)["id"])


def test_jobs_of_three_priorities_beside_two_notebooks(
    pool: PoolProcess, jobs: JobsClient, kernels: KernelHelper, tmp_path: Path
) -> None:
    notebooks = [kernels.start(notebook=f"{name}.ipynb") for name in "ab"]
    release, hold = tmp_path / "release", tmp_path / "hold"
    cells = [one.run_until(release) for one in notebooks]  # both GPUs compute
    each = math.ceil(JOBS / 3)
    submitted = {
        priority: [submit(jobs, number, priority, tmp_path / "none") for number in range(each)]
        for priority in PRIORITIES
    }

    def views() -> list[dict[str, Any]]:
        return [dict(view) for view in jobs.jobs()]

    def states(priority: str) -> set[str]:
        return {view["state"] for view in views() if view["priority"] == priority}

    # Jobs of high priority go before cells; the others wait for them.
    wait_until(lambda: states("high") == {"done"}, lambda: f"the jobs of high priority are done: {views()}")
    assert states("low") == {"queued"}
    assert states("normal") <= {"queued", "running"}
    release.touch()
    assert [one.collect(cell).stream().splitlines()[-1] for one, cell in zip(notebooks, cells, strict=True)] == [
        "done",
        "done",
    ]
    # The notebooks are idle: their GPUs go to the other jobs. Cells go before jobs of low priority.
    wait_until(lambda: "running" in states("low") or states("low") == {"done"}, "a job of low priority runs")
    hold.touch()
    late = [submit(jobs, 1000 + number, "low", hold) for number in range(2)]
    wait_until(
        lambda: {jobs.job(one)["state"] for one in late} == {"running"}, "both GPUs compute jobs of low priority"
    )
    ran = notebooks[0].run("print('between')")
    assert ran.stream() == "between\n"
    parked = [pool.lease(str(jobs.job(one)["lease_id"])) for one in late]
    assert {JobState(jobs.job(one)["state"]) for one in late} <= {JobState.RUNNING, JobState.DONE}
    hold.unlink()
    assert "park.priority" in {(lease["parking"]["reason"] or {}).get("code") for lease in parked}, parked
    wait_until(lambda: {JobState(view["state"]) for view in views()} <= ENDED, lambda: f"all jobs end: {views()}")
    check_order(pool, views(), submitted)
    check_costs(pool, views())


def check_order(pool: PoolProcess, views: list[dict[str, Any]], submitted: dict[str, list[int]]) -> None:
    """Check that leases were granted by priority, and those of one priority in the order of submission."""
    assert {view["state"] for view in views} == {"done"}, views
    granted = {view["id"]: pool.lease(view["lease_id"])["times"]["granted_at"] for view in views}
    in_order = [job_id for priority in reversed(PRIORITIES) for job_id in submitted[priority]]
    times = [granted[job_id] for job_id in in_order]
    assert times == sorted(times), list(zip(in_order, times, strict=True))


def check_costs(pool: PoolProcess, views: list[dict[str, Any]]) -> None:
    """Check each cost against the statement, and the statement against its total."""
    wait_until(lambda: all(lease["holder"]["job"] is None for lease in pool.live()), "no lease of a job is left")
    (statement,) = pool.client.statements(time.strftime("%Y-%m", time.gmtime()))
    assert sum(line["amount_micro"] for line in statement["lines"]) == statement["total_micro"]
    amounts: dict[str, int] = {}
    for line in statement["lines"]:
        if line["job"] is not None:
            amounts[str(line["lease_id"])] = amounts.get(str(line["lease_id"]), 0) + line["amount_micro"]
    costs = {view["lease_id"]: view["cost_micro"] for view in views}
    assert set(costs) == set(amounts), "each job has a lease of its own, which the statement names"
    for lease_id, cost_micro in costs.items():
        assert abs(cost_micro - amounts[lease_id]) <= 1, "a line is rounded with those before it"
    assert "job" in fastgpu("statement").stdout
