"""The cluster of the tests itself: it runs jobs, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixture import require_slurm
from tests.slurm.reaper import processes_of
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
JOB = "#!/bin/sh\nsleep 600 & wait\n"


def running(cluster: SlurmCluster) -> bool:
    return cluster.run("squeue", "-h", "-t", "RUNNING", "-o", "%A") != ""


@pytest.mark.slow
def test_a_test_that_ends_leaves_no_job(slurm: SlurmCluster) -> None:
    slurm.run("sbatch", "--gres=gpu:a100:1", "--output=/dev/null", "--chdir=/", stdin=JOB)
    wait_until(lambda: running(slurm), slurm.logs)
    slurm.reset()
    assert slurm.run("squeue", "-h") == ""


@pytest.mark.slow
def test_tests_that_are_killed_leave_no_process_and_no_file() -> None:
    require_slurm()
    program = f"""
        from tests.slurm.cluster import SlurmCluster
        cluster = SlurmCluster()
        cluster.start()
        cluster.run("sbatch", "--output=/dev/null", "--chdir=/", stdin={JOB!r})
        while not cluster.run("squeue", "-h", "-t", "RUNNING", "-o", "%A"):
            pass
        print(cluster.folder, flush=True)
        input()
    """
    tests = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with tests:
        assert tests.stdout is not None
        folder = Path(tests.stdout.readline().strip())
        assert folder.name.startswith("fgslurm-")
        wait_until(
            lambda: len(list(processes_of(str(folder).encode()))) >= 6, "three daemons, munge, a step and its job run"
        )
        tests.send_signal(signal.SIGKILL)
    wait_until(lambda: not folder.exists(), "its files are removed")
    assert list(processes_of(str(folder).encode())) == []
