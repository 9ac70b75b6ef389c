"""A pool manager whose leases a real Slurm grants, from the request to the loss of the allocation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.messages import text_of
from tests.helpers import PoolProcess
from tests.slurm.cluster import SlurmCluster
from tests.slurm.leases import TOKEN, cluster_of, request, start_kernel, until
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def pool(slurm: SlurmCluster, isolated: Path) -> Iterator[PoolProcess]:
    """A pool manager in engine mode."""
    process = PoolProcess(isolated, "")
    process.start("--FastGPUPool.cluster=slurm")
    yield process
    process.end()


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
    name, _, gres = slurm.run("squeue", "-h", "-j", job, "-o", "%j|%b").strip().partition("|")
    assert name == cluster["job_name"]
    assert gres in {"gpu:a100:1", "gres:gpu:a100:1", "gres/gpu:a100:1"}, "as versions of Slurm write it"
    kernel = start_kernel(pool, lease_id)
    assert Path(f"/proc/{kernel}").exists()
    wait_until(lambda: cluster_of(pool, behind)["position"] == 1, lambda: str(cluster_of(pool, behind)))
    pool.client.release(behind, TOKEN)
    until(pool, behind, "ended")
    slurm.run("scancel", job)
    ended = until(pool, lease_id, "ended")
    assert ended["end_reason"]["code"] == "end.allocation_lost"
    assert ended["notes"][0]["code"] in {"slurm.cancelled", "slurm.not_launched"}, "as soon as it ran"
    wait_until(lambda: not Path(f"/proc/{kernel}").exists(), "the kernel ends with its job")
    wait_until(lambda: slurm.run("squeue", "-h") == "", "nothing is left in Slurm")
