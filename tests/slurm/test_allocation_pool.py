"""Jupyter inside a Slurm job: the allocation's own GPUs are a local pool, apart from that of any other job."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nvml.machine import FakeMachine
from tests.slurm.cluster import SlurmCluster
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: What a notebook server does in its job: it starts the pool manager, and asks what there is.
PROGRAM = """
import json, os, pathlib, sys, time
from fastgpu_jupyter.wire.spawn import ensure_pool
client = ensure_pool(60)
devices = [one["id"] for one in client.devices()]
found = {"socket": str(client.path), "devices": devices, "message": client.pool()["message"]}
path = pathlib.Path(sys.argv[1]) / os.environ["SLURM_JOB_ID"]
path.with_suffix(".new").write_text(json.dumps(found))
path.with_suffix(".new").rename(path)
time.sleep(600)
"""


@pytest.mark.slow
def test_two_jobs_of_a_user_on_a_host_have_pools_of_their_own_gpus(
    slurm: SlurmCluster, use_machine: Callable[..., FakeMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_machine("2xH100-80GB")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = Path(os.environ["JUPYTER_CONFIG_DIR"]) / "jupyter_fastgpu_config.py"
    with config.open("a") as file:  # as on a cluster whose other users of JupyterLab are on a login node
        file.write('\nc.FastGPUPool.cluster = "slurm"\n')
    script = f"#!/bin/sh\nexec {sys.executable} - {tmp_path} <<'END'\n{PROGRAM}END\n"
    options = ("--parsable", "--gres=gpu:a100:1", f"--output={tmp_path}/job-%j.log", "--chdir=/")
    jobs = [slurm.run("sbatch", *options, stdin=script).strip() for _ in range(2)]

    def said() -> str:
        return "\n".join(path.read_text() for path in tmp_path.glob("job-*.log"))

    wait_until(lambda: all((tmp_path / job).exists() for job in jobs), said)
    found = [json.loads((tmp_path / job).read_text()) for job in jobs]
    assert found[0]["socket"] != found[1]["socket"]
    assert [len(one["devices"]) for one in found] == [1, 1]
    assert found[0]["devices"] != found[1]["devices"]
    for job, one in zip(jobs, found, strict=True):
        assert one["message"]["text"].startswith(f"This pool leases the GPUs of Slurm job {job}, and ends with it.")
