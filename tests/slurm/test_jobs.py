"""Jobs whose leases a real Slurm grants: their work is a step of the job of the lease."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.jobs.call_failures import WorkerDied
from fastgpu_jupyter.jobs.executor import Executor
from tests.helpers import alive
from tests.jobs.cluster_jobs import (
    assert_calls_run_on_the_host,
    assert_command_runs_on_the_host,
    begun,
    pool_with_jobs,
    touch_and_wait,
)
from tests.slurm.cluster import SlurmCluster
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_work_of_jobs_runs_on_the_node_and_ends_with_the_allocation(
    slurm: SlurmCluster, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pool_with_jobs(isolated, "--FastGPUPool.cluster=slurm") as pool:
        assert_calls_run_on_the_host("h100", "n2")
        assert_command_runs_on_the_host("h100", "n2", isolated, "run")
        with Executor("a100") as executor:
            future = executor.submit(touch_and_wait, isolated / "began")
            pid = begun(isolated / "began")
            cluster = pool.client.lease(str(future.job.view["lease_id"]))["cluster"]
            assert cluster is not None
            slurm.run("scancel", str(cluster["job_id"]))
            with pytest.raises(WorkerDied, match="lease"):
                future.result(DEADLINE_S)
        wait_until(lambda: not alive(pid), "the work ends")
    wait_until(lambda: slurm.run("squeue", "-h") == "", "nothing is left in Slurm")
