"""What Slurm loses, as users of a pool read it: its controller, its own process of a job, a node, and a job by time.

They are one story, because most of it is waiting: Slurm looks at time limits every 30 s only, and gives up a silent
node after seconds. Meanwhile little processor time is used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import EngineUnavailable
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Queued, Running, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.helpers import PoolProcess, alive
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixture import require_slurm
from tests.slurm.leases import TOKEN, cluster_of, now_ms, request, start_kernel, step_above, until
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
#: Slurm's shortest time limit.
MINUTE_MS = 60_000
#: For longer than Slurm waits for a node.
DOWN_S = 20.0
#: By how much a time on the wall clock may differ from one on the clock of the bill.
ROUNDING_MS = 2


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


@pytest.fixture
def pool(impatient: SlurmCluster, isolated: Path) -> Iterator[PoolProcess]:
    """A pool manager in engine mode."""
    process = PoolProcess(isolated, "")
    process.start("--FastGPUPool.cluster=slurm")
    yield process
    process.end()


def test_killed_controller_ends_nothing_and_each_loss_of_a_job_ends_its_lease_with_its_reason(
    pool: PoolProcess, impatient: SlurmCluster
) -> None:
    limited = request(pool, "a100", time_limit_ms=MINUTE_MS)
    shortened = request(pool, "a100")
    silent = request(pool, "h100")
    stepless = request(pool, "h100")
    leases = [limited, shortened, silent, stepless]
    before = [until(pool, lease_id, "active") for lease_id in leases]
    kernels = {lease_id: start_kernel(pool, lease_id) for lease_id in leases}
    waiting = _expect_killed_controller_to_change_nothing(pool, impatient, before)
    assert all(map(alive, kernels.values()))

    impatient.run("scontrol", "update", f"JobId={_job(before[1])}", "EndTime=now+1")
    # Slurm itself takes a job without this process for running, and its GPU for taken.
    os.kill(step_above(kernels[stepless]), signal.SIGKILL)
    _expect_loss(pool, impatient, before[3], "The job was cancelled in Slurm.")
    impatient.silence_node("n2")
    _expect_loss(pool, impatient, before[2], "Node n2 failed, and the job with it. Its variables are lost; files stay.")
    impatient.wake_node("n2")
    for lease in before[:2]:
        _expect_loss(pool, impatient, lease, "The time limit of the job is over. Its variables are lost; files stay.")
    assert _shown(impatient)[_job(before[1])]["JobState"] == "TIMEOUT", "Slurm ended it"
    wait_until(lambda: not any(map(alive, kernels.values())), "their kernels end, that on the silent node too")

    # What waited all the time is served by what is free now. Each request was submitted once.
    until(pool, waiting, "active")
    pool.client.release(waiting, TOKEN)
    until(pool, waiting, "ended")
    wait_until(lambda: impatient.run("squeue", "-h") == "", lambda: impatient.run("squeue"))
    submitted = Counter(job["JobName"] for job in _shown(impatient).values())
    names = [lease["cluster"]["job_name"] for lease in pool.client.leases() if lease["cluster"]]
    assert len(names) == 6
    assert submitted == Counter(names)


def _expect_killed_controller_to_change_nothing(pool: PoolProcess, slurm: SlurmCluster, before: list[Any]) -> str:
    """Kill the controller and start it again; return a request for both a100 that waits all the time."""
    waiting = request(pool, "2xa100")  # that is why the pool manager asks about all jobs every few seconds
    wait_until(lambda: cluster_of(pool, waiting)["position"] == 1, lambda: str(cluster_of(pool, waiting)))
    slurm.wait_until_saved()
    slurm.kill_controller()
    wait_until(lambda: _unanswered(pool, "statuses"), "the pool manager asks about the jobs, and is not answered")
    late = request(pool, "h100")
    assert _cluster(pool)["unanswered_since"]
    assert _cluster(pool)["message"]["text"].startswith("Slurm does not answer (")
    _expect_as_before(pool, before)
    said = [cluster_of(pool, lease["id"])["message"]["code"] for lease in before]
    assert said == ["cluster.ends_soon", *["cluster.engine_silent"] * 3]
    assert (cluster_of(pool, waiting)["state"], cluster_of(pool, late)["state"]) == ("queued", "submitting")
    slurm.start_controller()
    until(pool, late, "active")
    assert _cluster(pool)["unanswered_since"] is None
    _expect_as_before(pool, before)
    pool.client.release(late, TOKEN)
    until(pool, late, "ended")
    return waiting


def _unanswered(pool: PoolProcess, method: str) -> bool:
    """Return whether the pool manager called a method of the engine that was not answered."""
    connection, response = pool.client._open("GET", "/v1/metrics", None, {}, DEADLINE_S)
    with contextlib.closing(connection):
        return f'engine_unanswered_calls_total{{method="{method}"}}' in response.read().decode()


def _expect_as_before(pool: PoolProcess, before: list[Any]) -> None:
    """Require that leases are active with the jobs, GPUs and grants that they had."""
    for lease in before:
        now = pool.client.lease(lease["id"])
        assert (now["state"], now["gpu"], now["times"]) == ("active", lease["gpu"], lease["times"])
        assert now["cluster"] is not None
        assert now["cluster"]["job_id"] == _job(lease)


def _expect_loss(pool: PoolProcess, slurm: SlurmCluster, lease: Any, sentence: str) -> None:
    """Wait until a lease ends, which says why and is billed for the time that its job had."""
    ended = until(pool, lease["id"], "ended")
    assert ended["end_reason"]["text"] == "The cluster ended its job."
    assert [note["text"] for note in ended["notes"]] == [sentence]
    assert ended["cluster"]["reason"]["text"] == sentence
    # Slurm says the end in whole seconds.
    job_ended_ms = int(time.mktime(time.strptime(_shown(slurm)[_job(lease)]["EndTime"], "%Y-%m-%dT%H:%M:%S"))) * 1000
    assert job_ended_ms <= ended["times"]["ended_at"] <= now_ms()
    billed_ms = ended["usage"]["active_ms"]
    held_ms = job_ended_ms - ended["times"]["granted_at"]
    assert abs(billed_ms - held_ms) <= ROUNDING_MS
    rate = lease["money"]["billed_micro_per_hour"]
    assert rate > 0
    assert ended["money"]["cost_micro"] == billed_ms * rate // 3_600_000


def _job(lease: Any) -> str:
    """Return the id of the job of a lease."""
    return str(lease["cluster"]["job_id"])


def _shown(slurm: SlurmCluster) -> dict[str, dict[str, str]]:
    """Return all jobs, also those that are over, by id: the words of Slurm by name."""
    lines = slurm.run("scontrol", "--oneliner", "show", "jobs").splitlines()
    jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return {job["JobId"]: job for job in jobs if "JobId" in job}


def _cluster(pool: PoolProcess) -> Any:
    return pool.client.pool()["cluster"]


LONG = pytest.mark.skipif(not os.environ.get("FASTGPU_SLURM_LONG"), reason="a part of make test-long")


@LONG
def test_administrator_suspends_a_job_and_puts_another_one_into_the_queue_again(
    pool: PoolProcess, impatient: SlurmCluster
) -> None:
    kept, lost = request(pool, "a100"), request(pool, "h100")
    jobs = {lease_id: _job(until(pool, lease_id, "active")) for lease_id in (kept, lost)}
    pid = start_kernel(pool, kept)
    impatient.run("scontrol", "suspend", jobs[kept])
    wait_until(
        lambda: cluster_of(pool, kept)["message"] and cluster_of(pool, kept)["message"]["code"] == "cluster.suspended",
        lambda: str(cluster_of(pool, kept)),
    )
    # The jobs forbid it; an administrator may change that.
    impatient.run("scontrol", "update", f"JobId={jobs[lost]}", "Requeue=1")
    impatient.run("scontrol", "requeue", jobs[lost])
    assert [note["code"] for note in until(pool, lost, "ended")["notes"]] == ["cluster.requeued"]
    wait_until(lambda: impatient.run("squeue", "-h", "-o", "%A").split() == [jobs[kept]], "it does not run again")
    impatient.run("scontrol", "resume", jobs[kept])
    wait_until(lambda: cluster_of(pool, kept)["message"] is None, lambda: str(cluster_of(pool, kept)))
    assert (pool.client.lease(kept)["state"], alive(pid)) == ("active", True)


@LONG
def test_controller_that_forgot_that_a_job_runs_ends_no_job(impatient: SlurmCluster, tmp_path: Path) -> None:
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
