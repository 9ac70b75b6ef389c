"""Losses that Slurm notices late: the time limit, a silent node, a killed controller, a job that is queued again.

They take minutes, because Slurm's shortest time limit is one minute: `make test-long PART=slurm` runs them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import EngineUnavailable
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Queued, Running, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.helpers import PoolProcess
from tests.pool.clusters.agents import SMALL_KERNEL
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixture import require_slurm
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("FASTGPU_SLURM_LONG" not in os.environ, reason="takes minutes: make test-long PART=slurm"),
]
TOKEN = "of-this-lease"
LATE_S = 180.0
#: For longer than Slurm waits for a node.
DOWN_S = 20.0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster that gives up a silent node after seconds."""
    require_slurm()
    cluster = SlurmCluster({"SlurmdTimeout": "5"})
    try:
        cluster.start()
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster
    finally:
        cluster.stop()


def test_time_limit_ends_the_lease_with_its_reason_and_node_failure_with_its_own(
    impatient: SlurmCluster, isolated: Path
) -> None:
    pool = PoolProcess(isolated, "")
    pool.start("--FastGPUPool.cluster=slurm", "--FastGPUPool.cluster_time_limit=1m")
    try:
        ids = [
            pool.client.request(size, token=TOKEN, options={"cluster": {"time_limit_ms": limit_ms}})["id"]
            for size, limit_ms in (("a100", 60_000), ("h100", 3_600_000))
        ]
        for lease_id in ids:
            wait_until(lambda lease_id=lease_id: pool.client.lease(lease_id)["state"] == "active", lambda: pool.log)  # type: ignore[misc]
        pids = [
            pool.client.start_kernel(lease_id, TOKEN, SMALL_KERNEL, {}, key=secrets.token_hex(16))["pid"]
            for lease_id in ids
        ]
        impatient.kill_node("n2")

        def ended() -> bool:
            return all(pool.client.lease(lease_id)["state"] == "ended" for lease_id in ids)

        wait_until(ended, lambda: f"{[pool.client.lease(one)['cluster'] for one in ids]}\n{pool.log}", LATE_S)
        views = [pool.client.lease(lease_id) for lease_id in ids]
        assert [view["end_reason"] and view["end_reason"]["code"] for view in views] == ["end.allocation_lost"] * 2
        assert [view["notes"][0]["code"] for view in views] == ["slurm.timeout", "slurm.node_failed"]
        assert not Path(f"/proc/{pids[0]}").exists()
        wait_until(
            lambda: not Path(f"/proc/{pids[1]}").exists(), "the agent ends the kernel of a job that is over", LATE_S
        )
    finally:
        pool.end()


def test_administrator_suspends_a_job_and_puts_another_one_into_the_queue_again(
    slurm: SlurmCluster, isolated: Path
) -> None:
    pool = PoolProcess(isolated, "")
    pool.start("--FastGPUPool.cluster=slurm")
    lease = pool.client.lease
    try:
        kept, lost = (pool.client.request(size, token=TOKEN)["id"] for size in ("a100", "h100"))
        for lease_id in (kept, lost):
            wait_until(lambda lease_id=lease_id: lease(lease_id)["state"] == "active", lambda: pool.log)  # type: ignore[misc]
        pid = pool.client.start_kernel(kept, TOKEN, SMALL_KERNEL, {}, key=secrets.token_hex(16))["pid"]
        jobs = {lease_id: job_of(pool, lease_id)["job_id"] for lease_id in (kept, lost)}
        slurm.run("scontrol", "suspend", jobs[kept])
        wait_until(
            lambda: job_of(pool, kept)["message"] and job_of(pool, kept)["message"]["code"] == "cluster.suspended",
            lambda: str(job_of(pool, kept)),
        )
        # The jobs forbid it; an administrator may change that.
        slurm.run("scontrol", "update", f"JobId={jobs[lost]}", "Requeue=1")
        slurm.run("scontrol", "requeue", jobs[lost])
        wait_until(lambda: lease(lost)["state"] == "ended", lambda: f"{lease(lost)}\n{pool.log}")
        assert [note["code"] for note in lease(lost)["notes"]] == ["cluster.requeued"]
        wait_until(lambda: slurm.run("squeue", "-h", "-o", "%A").split() == [jobs[kept]], "it does not run again")
        slurm.run("scontrol", "resume", jobs[kept])
        wait_until(lambda: job_of(pool, kept)["message"] is None, lambda: str(job_of(pool, kept)))
        assert (lease(kept)["state"], Path(f"/proc/{pid}").exists()) == ("active", True)
    finally:
        pool.end()


def job_of(pool: PoolProcess, lease_id: str) -> Any:
    """The job of a lease, as it is now."""
    return pool.client.lease(lease_id)["cluster"]


def test_controller_that_is_killed_ends_no_job(impatient: SlurmCluster, tmp_path: Path) -> None:
    # Slurm 22.05 saves that it started a job only with a later change: a controller that was killed may take the job
    # for one that waits, and start it once more. The second agent has a token that was used, and is refused.
    engine = SlurmEngine()
    program = "import signal; signal.sigwait({signal.SIGTERM})"
    job = engine.submit(Want(1, ("a100",)), AgentSpec(program, b"{}"), "fgpu-0-a-1")
    wait_until(lambda: isinstance(engine.statuses([job])[job], Running), impatient.logs)
    began_s = time.time()
    impatient.kill_controller()
    with pytest.raises(EngineUnavailable):
        engine.statuses([job])
    wait_until(lambda: time.time() - began_s > DOWN_S, "it is down for long")
    impatient.start_controller()
    wait_until(impatient.is_up, impatient.logs)
    status = engine.statuses([job])[job]
    assert isinstance(status, Running | Queued), render(status.reason)
    assert engine.list("fgpu-") == {"fgpu-0-a-1": job}
    wait_until(lambda: isinstance(engine.statuses([job])[job], Running), impatient.logs)
    engine.cancel(job)
