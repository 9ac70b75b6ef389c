"""Jobs whose leases a cluster grants run on its hosts: here the simulated one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from fastgpu_jupyter.jobs.call_failures import WorkerDied
from fastgpu_jupyter.jobs.executor import Executor
from tests.conftest import isolate
from tests.helpers import PoolProcess, alive
from tests.jobs.cluster_jobs import (
    assert_calls_run_on_the_host,
    assert_command_runs_on_the_host,
    begun,
    pool_with_jobs,
    run_notebook,
    touch_and_wait,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A pool of a simulated cluster with one host and two GPUs."""
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        patch.setenv("PYTHONPATH", str(ROOT))
        with pool_with_jobs(folder, "--FastGPUPool.cluster=fake:2xA100-80GB") as started:
            yield started


def test_calls_run_on_the_host(pool: PoolProcess) -> None:
    assert_calls_run_on_the_host("full", "n1")


@pytest.mark.parametrize("how", [("run",), ("job", "run", "-f")], ids=["foreground", "job"])
def test_command_runs_on_the_host(pool: PoolProcess, tmp_path: Path, how: tuple[str, ...]) -> None:
    assert_command_runs_on_the_host("full", "n1", tmp_path, *how)


def test_notebook_runs_on_the_host(pool: PoolProcess, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import os; print('on', os.environ['SLURMD_NODENAME'])")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "where.ipynb")
    assert "on n1\n" in run_notebook(tmp_path / "where.ipynb", "full")


def test_cancelled_call_leaves_no_process_and_no_job_of_the_engine(pool: PoolProcess, tmp_path: Path) -> None:
    with Executor("full") as executor:
        future = executor.submit(touch_and_wait, tmp_path / "began")
        pid = begun(tmp_path / "began")
        future.job.cancel()
        wait_until(lambda: not alive(pid), "the work ends")
        wait_until(lambda: future.job.state == "cancelled", lambda: str(future.job.view))
    wait_until(lambda: not pool.live(), lambda: str(pool.live()))


def test_lost_allocation_ends_the_work_and_the_job_says_why(pool: PoolProcess, tmp_path: Path) -> None:
    with Executor("full") as executor:
        future = executor.submit(touch_and_wait, tmp_path / "began")
        pid = begun(tmp_path / "began")
        lease = pool.client.lease(str(future.job.view["lease_id"]))
        assert lease["cluster"] is not None
        control = next(pool.folder.rglob("jobs.json")).with_name("control.json")
        control.write_text(json.dumps({"lose": [lease["cluster"]["job_name"]]}))
        wait_until(lambda: not alive(pid), "the work ends")
        with pytest.raises(WorkerDied, match="lease"):
            future.result(DEADLINE_S)
        view = future.job.view
        control.unlink()
    assert view["state"] in {"failed", "lost"}
    assert view["error"] is not None
    assert "lease" in view["error"]["text"]
