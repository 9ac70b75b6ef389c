"""What jobs do whose leases a cluster grants, for the tests of each engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgpu_jupyter.jobs import client as jobs_client
from fastgpu_jupyter.jobs.executor import Executor
from tests.helpers import PoolProcess, alive
from tests.waiting import DEADLINE_S, wait_until


@contextmanager
def pool_with_jobs(folder: Path, *settings: str) -> Iterator[PoolProcess]:
    """A pool manager in engine mode; the dispatcher that jobs start ends with it."""
    pool = PoolProcess(folder, "")
    pool.start(*settings)
    try:
        yield pool
    finally:
        running = jobs_client.running_dispatcher()
        if running is not None:
            pid = running.ping()["pid"]
            running.stop()
            running.close()
            wait_until(lambda: not alive(pid), "the dispatcher ends")
        wait_until(lambda: not pool.live(), lambda: f"no lease is left: {pool.live()}")
        pool.end()


def where() -> tuple[str | None, str | None]:
    """The host and the devices of this process."""
    return os.environ.get("SLURMD_NODENAME"), os.environ.get("CUDA_VISIBLE_DEVICES")


def touch_and_wait(began: Path) -> None:
    """Write the process number into a file, and wait for ever."""
    new = began.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.rename(began)
    signal.pause()


def begun(path: Path) -> int:
    """The process of a call of :func:`touch_and_wait`, once it runs."""
    wait_until(path.exists, "the call runs")
    return int(path.read_text())


def assert_calls_run_on_the_host(size: str, host: str) -> None:
    """Two calls of one worker run on a host of the cluster, with the devices of their lease."""
    with Executor(size, max_workers=1) as executor:
        places = [executor.submit(where).result(DEADLINE_S) for _ in range(2)]
    assert places[0] == places[1]
    assert places[0][0] == host
    assert places[0][1] not in (None, "")


def assert_command_runs_on_the_host(size: str, host: str, folder: Path, *how: str) -> None:
    """A command of ``jupyter fastgpu`` runs on a host of the cluster, and its exit status is passed on."""
    code = "import os, sys; print(os.environ['SLURMD_NODENAME'], bool(os.environ['CUDA_VISIBLE_DEVICES'])); sys.exit(7)"
    command = [sys.executable, "-m", "fastgpu_jupyter", *how, "--size", size, "--", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 7, done.stderr
    assert f"{host} True\n" in done.stdout


def run_notebook(path: Path, size: str) -> str:
    """What a notebook prints that runs as a job."""
    command = [sys.executable, "-m", "fastgpu_jupyter", "job", "run", "-f", str(path), "--size", size]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
