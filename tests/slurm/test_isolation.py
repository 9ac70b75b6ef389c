"""Device isolation by control groups: a job can open no GPU but its own, and the engine says so.

Slurm 22.05 does it with version 1 of control groups here; where they cannot be written the test is skipped.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Running, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.slurm.cluster import SlurmCluster, slurm_version
from tests.slurm.fixture import require_slurm
from tests.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("devices", "memory", "cpuset", "freezer")
#: A major number without a driver: a device that may be opened answers ENXIO, another one EPERM.
MAJOR = 195
SETTINGS = {
    "ProctrackType": "proctrack/cgroup",
    "TaskPlugin": "task/cgroup",
    "JobAcctGatherType": "jobacct_gather/cgroup",
}
#: From which version on there is a choice between versions of control groups.
PLUGINS_FROM = (21, 8)
CGROUP_CONF = f"""
CgroupMountpoint={CGROUPS}
ConstrainDevices=yes
ConstrainRAMSpace=yes
ConstrainCores=no
"""
PROGRAM = """
import glob, json, os, signal, sys
spec = json.loads(sys.stdin.read())
errors = {}
for path in sorted(glob.glob(spec["devices"])):
    try:
        os.open(path, os.O_RDWR)
    except OSError as error:
        errors[path] = error.errno
seen = {"errors": errors, "visible": os.environ["CUDA_VISIBLE_DEVICES"], "gpus": os.environ["SLURM_JOB_GPUS"]}
with open(spec["path"] + ".new", "w") as file:
    json.dump(seen, file)
os.rename(spec["path"] + ".new", spec["path"])
signal.sigwait({signal.SIGTERM})
"""


def obstacle() -> str | None:
    """Why Slurm cannot isolate devices here."""
    if os.geteuid() != 0:
        return "it needs root"
    if f"{MAJOR} " in Path("/proc/devices").read_text():
        return f"a driver of this machine has the devices {MAJOR}"
    for controller in CONTROLLERS:
        group = CGROUPS / controller / f"fastgpu-test-{secrets.token_hex(4)}"
        try:
            group.mkdir()
            group.rmdir()
        except OSError as error:
            return f"control groups of version 1 cannot be written ({group.parent}: {error.strerror})"
    return None


@pytest.fixture
def isolating(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster that closes devices to jobs."""
    require_slurm()
    if reason := obstacle():
        pytest.skip(f"Slurm cannot isolate devices here: {reason}")
    prefix = f"fg{secrets.token_hex(3)}"
    plugin = "CgroupPlugin=cgroup/v1\n" if slurm_version() >= PLUGINS_FROM else ""
    cluster = SlurmCluster(SETTINGS, {"cgroup.conf": plugin + CGROUP_CONF}, prefix, MAJOR)
    try:
        cluster.start()
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster
        cluster.reset()
    finally:
        cluster.stop()
        for group in CGROUPS.glob(f"*/slurm_{prefix}*"):
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # a step that is about to end is in it
                    Path(folder).rmdir()


@pytest.mark.slow
def test_job_can_open_its_own_gpu_only_and_says_that_it_is_isolated(isolating: SlurmCluster, tmp_path: Path) -> None:
    engine = SlurmEngine()
    jobs = []
    for name in ("first", "second"):
        spec = {"path": str(tmp_path / name), "devices": f"{isolating.folder}/dev/n1a100-*"}
        jobs.append(
            engine.submit(Want(1, ("a100",)), AgentSpec(PROGRAM, json.dumps(spec).encode()), f"fgpu-0-{name}-1")
        )
    wait_until(lambda: all((tmp_path / name).exists() for name in ("first", "second")), isolating.logs)
    seen = [json.loads((tmp_path / name).read_text()) for name in ("first", "second")]
    assert [one["visible"] for one in seen] == ["0", "0"], "the number is that of the job, not of the host"
    assert {one["gpus"] for one in seen} == {"0", "1"}
    for one in seen:
        own, other = f"n1a100-{one['gpus']}", f"n1a100-{1 - int(one['gpus'])}"
        found = {Path(path).name: errno.errorcode[number] for path, number in one["errors"].items()}
        assert found == {own: "ENXIO", other: "EPERM"}
    for status in engine.statuses(jobs).values():
        assert isinstance(status, Running)
        assert status.isolated is True
