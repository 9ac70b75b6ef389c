"""A pool manager whose leases a real Slurm grants, from the request to the loss of the allocation."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire.client.leases import ClusterOptions
from tests.helpers import PoolProcess
from tests.pool.clusters.agents import SMALL_KERNEL
from tests.slurm.cluster import SlurmCluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
TOKEN = "of-this-lease"


@pytest.fixture
def pool(slurm: SlurmCluster, isolated: Path) -> Iterator[PoolProcess]:
    """A pool manager in engine mode."""
    process = PoolProcess(isolated, "")
    process.start("--FastGPUPool.cluster=slurm")
    yield process
    process.end()


def request(pool: PoolProcess, size: str, partition: str = "", time_limit_ms: int = 7_200_000) -> str:
    options = ClusterOptions(partition=partition, time_limit_ms=time_limit_ms)
    found = pool.client.request(size, token=TOKEN, options={"cluster": options})
    return str(found["id"])


def until(pool: PoolProcess, lease_id: str, state: str) -> Any:
    wait_until(
        lambda: pool.client.lease(lease_id)["state"] == state,
        lambda: f"{state}: {pool.client.lease(lease_id)}\n{pool.log[-3000:]}",
    )
    return pool.client.lease(lease_id)


def cluster_of(pool: PoolProcess, lease_id: str) -> Any:
    return pool.client.lease(lease_id)["cluster"]


def test_lease_runs_a_kernel_on_the_node_until_the_allocation_is_lost(pool: PoolProcess, slurm: SlurmCluster) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request(pool, "full", partition="nope")
    assert text_of(refused.value).startswith("There is no partition nope. Nothing was submitted.")
    began_ms = time.time() * 1000
    lease_id = request(pool, "a100", time_limit_ms=3_600_000)
    behind = request(pool, "2xa100")
    until(pool, lease_id, "active")
    wait_until(lambda: cluster_of(pool, lease_id)["ends_at"], "Slurm has said when it ends")
    cluster = cluster_of(pool, lease_id)
    assert (cluster["engine"], cluster["host"], cluster["state"]) == ("slurm", "n1", "running")
    assert 3_590_000 < cluster["ends_at"] - began_ms < 3_680_000
    job = cluster["job_id"]
    assert slurm.run("squeue", "-h", "-j", job, "-o", "%j|%b").strip() == f"{cluster['job_name']}|gres:gpu:a100:1"
    connection = pool.client.start_kernel(lease_id, TOKEN, SMALL_KERNEL, {}, key=secrets.token_hex(16))
    assert Path(f"/proc/{connection['pid']}").exists()
    wait_until(lambda: cluster_of(pool, behind)["position"] == 1, lambda: str(cluster_of(pool, behind)))
    pool.client.release(behind, TOKEN)
    until(pool, behind, "ended")
    slurm.run("scancel", job)
    ended = until(pool, lease_id, "ended")
    assert ended["end_reason"]["code"] == "end.allocation_lost"
    assert ended["notes"][0]["code"] in {"slurm.cancelled", "slurm.not_launched"}, "as soon as it ran"
    wait_until(lambda: not Path(f"/proc/{connection['pid']}").exists(), "the kernel ends with its job")
    wait_until(lambda: slurm.run("squeue", "-h") == "", "nothing is left in Slurm")


def test_job_whose_step_was_killed_ends_though_slurm_takes_it_for_running(
    pool: PoolProcess, slurm: SlurmCluster
) -> None:
    lease_id = request(pool, "h100")
    until(pool, lease_id, "active")
    connection = pool.client.start_kernel(lease_id, TOKEN, SMALL_KERNEL, {}, key=secrets.token_hex(16))
    os.kill(step_above(connection["pid"]), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{connection['pid']}").exists(), "the agent ends its kernel")
    ended = until(pool, lease_id, "ended")
    assert ended["end_reason"]["code"] == "end.allocation_lost"
    wait_until(lambda: slurm.run("squeue", "-h", "-t", "RUNNING") == "", "the job does not go on holding a GPU")


def step_above(pid: int) -> int:
    """Slurm's own process of the job."""
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        if "(slurmstepd)" in stat:
            return pid
        pid = int(stat.rpartition(")")[2].split()[1])
    raise AssertionError("no slurmstepd is above the kernel")
