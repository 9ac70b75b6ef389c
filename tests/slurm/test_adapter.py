"""What the adapter says of a real Slurm: what is offered, refused, waits, runs, and how jobs end.

Several statements share one cluster and often one job, because each start of a job takes half a second.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.errors import EngineUnavailable, InvalidRequest
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, GPUKind, Infeasible, Queued, Running, Status, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine, SlurmOptions
from fastgpu_jupyter.pool.clusters.slurm.commands import Timeouts
from tests.pool.clusters.contract import PROGRAM
from tests.slurm.cluster import SlurmCluster, free_ports, has_shards, slurm_version
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
HOUR_MS = 3_600_000
OTHER_UID = 65534  #: a user that Debian has
#: Where variables begin by which later versions make the programs of MPI start their processes with Slurm.
OF_MPI = ("HYDRA_", "I_MPI_", "OMPI_MCA_", "PRTE_MCA_")
#: From which version on, if not from an earlier one, accounts mean nothing in a Slurm without accounting.
ACCOUNTS_NEED_ACCOUNTING_FROM = (24, 11)
Submit = Callable[..., str]


@pytest.fixture
def engine(slurm: SlurmCluster) -> SlurmEngine:
    """The adapter, as a pool manager of this user has it."""
    return SlurmEngine()


@pytest.fixture
def submit(engine: SlurmEngine, tmp_path: Path) -> Submit:
    """Submits a job that notes what it was given and waits."""

    def submit(want: Want, name: str = "fgpu-0-a-1", program: str = PROGRAM, **spec: Any) -> str:
        described = json.dumps({"path": str(tmp_path / name), **spec})
        return engine.submit(want, AgentSpec(program, described.encode()), name)

    return submit


def a100(gpus: int = 1, **options: Any) -> Want:
    return Want(gpus, ("a100",), options=ClusterRequest(**options))


def status(engine: SlurmEngine, job: str) -> Status:
    return engine.statuses([job])[job]


def until_running(engine: SlurmEngine, job: str) -> Running:
    wait_until(lambda: isinstance(status(engine, job), Running), lambda: f"it runs: {status(engine, job)}")
    running = status(engine, job)
    assert isinstance(running, Running)
    return running


def until_ended(engine: SlurmEngine, job: str) -> str:
    wait_until(lambda: isinstance(status(engine, job), Ended), lambda: f"it ends: {status(engine, job)}")
    return sentence(status(engine, job))


def sentence(found: Status) -> str:
    assert not isinstance(found, Running)
    return render(found.reason)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequest) as refused:
        call()
    return render(refused.value.message)


# -- what there is ----------------------------------------------------------------------------------------------------


def test_kinds_are_gpus_by_partition_with_shards_mig_types_and_time_limits(engine: SlurmEngine) -> None:
    mig, shards = ("1g.10gb",), 4 if has_shards() else None
    assert engine.kinds() == [
        GPUKind("gpu", "a100", 2, 1, shards, (), 8 * HOUR_MS, default_partition=True),
        GPUKind("gpu", "h100", 4, 1, None, mig, 8 * HOUR_MS, default_partition=True),
        GPUKind("short", "a100", 2, 1, shards, (), HOUR_MS // 6),
        GPUKind("physics", "h100", 4, 1, None, mig, None),
    ]
    assert engine.version() == subprocess.check_output(["sinfo", "--version"], text=True).split()[-1]
    assert engine.controller() == "127.0.0.1"


# -- what runs --------------------------------------------------------------------------------------------------------


def test_whole_gpus_shards_and_mig_instances_run_side_by_side(
    engine: SlurmEngine, submit: Submit, tmp_path: Path
) -> None:
    wants = {
        "fgpu-0-whole-1": Want(2, ("h100",), cpu_milli=1500, host_memory_bytes=2 << 30),
        "fgpu-0-half-1": Want(1, ("a100",), fraction=(1, 2) if has_shards() else None),
        "fgpu-0-short-1": Want(1, ("a100",), fraction=(1, 4) if has_shards() else None, time_limit_ms=5 * 60_000),
        "fgpu-0-mig-1": Want(1, partition_profile="1g.10gb"),
    }
    jobs = {name: submit(want, name) for name, want in wants.items()}
    assert engine.list("fgpu-0-") == jobs
    running = {name: until_running(engine, job) for name, job in jobs.items()}
    assert [one.host for one in running.values()] == ["n2", "n1", "n1", "n2"]
    assert running["fgpu-0-whole-1"].model == "h100"
    assert running["fgpu-0-mig-1"].model == "1g.10gb"
    assert running["fgpu-0-short-1"].model == "a100"
    assert running["fgpu-0-whole-1"].isolated is False, "this Slurm has no task/cgroup"
    ends_at_ms = running["fgpu-0-short-1"].ends_at_ms
    assert ends_at_ms is not None
    assert 3 * 60_000 < ends_at_ms - time.time() * 1000 <= 5 * 60_000 + 2000
    wait_until(lambda: all((tmp_path / name).exists() for name in jobs), "all programs run")
    seen = {name: json.loads((tmp_path / name).read_text()) for name in jobs}
    assert len(seen["fgpu-0-whole-1"]["gpus"].split(",")) == 2
    assert len(seen["fgpu-0-half-1"]["gpus"].split(",")) == 1


def test_job_has_nothing_secret_that_slurm_or_another_user_shows(
    engine: SlurmEngine, submit: Submit, slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "of-the-server")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1")  # of a job in which the pool manager runs
    job = submit(a100(), token="of-the-agent")
    until_running(engine, job)
    wait_until((tmp_path / "fgpu-0-a-1").exists, "the program runs")
    seen = json.loads((tmp_path / "fgpu-0-a-1").read_text())
    shown = slurm.run("scontrol", "--details", "show", "job", job)
    for text in (seen["arguments"], seen["environment"], shown):
        assert "of-the-agent" not in text
        assert "of-the-server" not in text
    names = {line.partition("=")[0] for line in seen["environment"].split("\0") if line}
    own = {name for name in names if not name.startswith(("SLURM", "CUDA", "GPU", "ROCR", "ZE_", *OF_MPI))}
    assert own <= {
        *("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG"),
        *("PWD", "OLDPWD", "HOSTNAME", "ENVIRONMENT", "TMPDIR"),  # which Slurm or the shell sets
    }
    assert "of-the-agent" in slurm.run("scontrol", "write", "batch_script", job, "-"), "its owner can read the script"


@pytest.mark.skipif(os.geteuid() != 0, reason="another user takes part, which needs root")
def test_other_user_can_neither_read_nor_cancel_a_job(engine: SlurmEngine, submit: Submit, slurm: SlurmCluster) -> None:
    job = submit(a100(), token="of-the-agent")
    until_running(engine, job)
    environment = {**os.environ, **slurm.environment}
    for argv in (["scontrol", "write", "batch_script", job, "-"], ["scancel", job]):
        done = subprocess.run(
            argv, user=OTHER_UID, env=environment, cwd="/", capture_output=True, text=True, check=False
        )  # fmt: skip
        assert "of-the-agent" not in done.stdout
        assert "Invalid user id" in done.stderr or "denied" in done.stderr
    theirs = slurm.run(
        "sbatch", "--parsable", "--output=/dev/null", "--chdir=/", stdin="#!/bin/sh\nsleep 99\n", uid=OTHER_UID
    )
    their_job = theirs.strip()
    engine.cancel(their_job)
    assert their_job in slurm.run("squeue", "-h", "-o", "%A").split(), "the adapter cancels jobs of its user only"
    assert isinstance(status(engine, their_job), Ended), "and knows no other"
    assert isinstance(status(engine, job), Running)


# -- what waits, and what never runs ----------------------------------------------------------------------------------


def test_waiting_jobs_have_reason_position_and_start(engine: SlurmEngine, submit: Submit, slurm: SlurmCluster) -> None:
    running = submit(a100(2, time_limit_ms=HOUR_MS), "fgpu-0-a-1")
    until_running(engine, running)
    first, second = submit(a100(2), "fgpu-0-b-1"), submit(a100(2), "fgpu-0-c-1")

    def waiting() -> dict[str, Status] | None:
        both = engine.statuses([first, second])
        one = both[first]
        considered = all("considered" not in sentence(status_) for status_ in both.values())
        return both if considered and isinstance(one, Queued) and one.starts_at_ms is not None else None

    both = wait_until(waiting, "Slurm has considered both, and expects a start")
    assert isinstance(one := both[first], Queued)
    assert isinstance(other := both[second], Queued)
    assert (one.position, other.position) == (1, 2)
    assert one.starts_at_ms is not None
    assert 3_500_000 < one.starts_at_ms - time.time() * 1000 < 3_700_000, "when the first job is over"
    assert sentence(one) == "All GPUs that could serve it are in use; it is next when some become free."
    slurm.run("scontrol", "uhold", second)
    assert sentence(status(engine, second)) == (f"You put the job on hold. `scontrol release {second}` lets it start.")
    expected_ms = engine.check(a100(2))
    assert expected_ms is not None
    assert expected_ms > time.time() * 1000 + 3_500_000


def test_impossible_requests_are_refused_with_a_sentence_and_leave_no_job(
    engine: SlurmEngine, submit: Submit, slurm: SlurmCluster
) -> None:
    refusals = {
        "There is no partition nope. Nothing was submitted.": a100(partition="nope"),
        "No node has the feature fast. Nothing was submitted.": a100(constraint="fast"),
        "Slurm does not accept account closed (Slurm: Account closed has no hours left.; Invalid account": a100(
            account="closed"
        ),
        "Partition short allows at most 10 min, and 1 h was requested.": a100(partition="short", time_limit_ms=HOUR_MS),
        "The cluster has no GPU of model v100. It has a100 and h100.": Want(1, ("v100",)),
        "A node has at most 2 GPUs of model a100, and 3 were requested.": a100(3),
        "No node of the cluster has what was requested (gpu:a100:1": Want(1, ("a100",), host_memory_bytes=900 << 30),
        "This cluster leases whole GPUs only": Want(1, ("h100",), fraction=(1, 2), options=ClusterRequest("physics")),
        "The cluster has no MIG partitions 3g.40gb. It has 1g.10gb.": Want(1, partition_profile="3g.40gb"),
    }
    if has_shards():
        third = Want(1, fraction=(1, 3))
        refusals["GPUs of model a100 are divided into 4 shards here, which gives no 1/3."] = third
        words = "GPUs of model h100 have no shards here, which are Slurm's parts of a GPU; those of a100 have."
        refusals[words] = Want(1, ("h100",), fraction=(1, 2))
    for beginning, want in refusals.items():
        said = refusal(lambda want=want: engine.check(want))  # type: ignore[misc]
        assert said.startswith(beginning)
    assert refusal(lambda: submit(a100(account="closed"))).startswith("Slurm does not accept account closed")
    assert engine.list("fgpu-") == {}
    assert slurm.run("squeue", "-h") == ""


def test_accepted_jobs_that_never_start_are_infeasible(engine: SlurmEngine, submit: Submit) -> None:
    # Slurm accepts both: it enforces these limits only when it looks for nodes.
    late = submit(a100(partition="short", time_limit_ms=HOUR_MS), "fgpu-0-a-1")
    wait_until(lambda: isinstance(status(engine, late), Infeasible), lambda: f"{status(engine, late)}")
    assert sentence(status(engine, late)).startswith("Partition short allows no such job, so it would never start")
    if slurm_version() >= ACCOUNTS_NEED_ACCOUNTING_FROM:
        return
    refused = submit(Want(1, ("h100",), options=ClusterRequest("physics", "chemistry")), "fgpu-0-b-1")
    wait_until(lambda: isinstance(status(engine, refused), Infeasible), lambda: f"{status(engine, refused)}")
    assert sentence(status(engine, refused)).startswith("Your account may not use partition physics")


# -- how jobs end -----------------------------------------------------------------------------------------------------


def test_ends_of_jobs_have_their_reason(engine: SlurmEngine, submit: Submit, slurm: SlurmCluster) -> None:
    cancelled = submit(a100(), "fgpu-0-a-1")
    lost = submit(Want(1, ("h100",)), "fgpu-0-b-1")
    failed = submit(a100(), "fgpu-0-c-1", program="import sys; sys.exit(3)")
    agent = AgentSpec(PROGRAM, b"{}")
    nowhere = SlurmEngine(SlurmOptions(python="/nowhere/python"))
    no_python = nowhere.submit(Want(1, ("h100",)), agent, "fgpu-0-d-1")
    bare = SlurmEngine(SlurmOptions(python="/usr/bin/env python3 -S -I"))
    no_pyzmq = bare.submit(Want(1, partition_profile="1g.10gb"), agent, "fgpu-0-f-1")
    changed = submit(Want(1, ("h100",), options=ClusterRequest(account="rewritten")), "fgpu-0-e-1")
    assert until_ended(engine, failed) == "The job on n1 failed with exit status 3."
    assert until_ended(nowhere, no_python).startswith("/nowhere/python cannot be run on n2, so that no kernel was")
    assert until_ended(bare, no_pyzmq).startswith("/usr/bin/env python3 -S -I has no pyzmq on n2, so that no kernel")
    assert until_ended(engine, changed).startswith("The job on n2 did not start its kernel, because its script is not")
    until_running(engine, cancelled)
    until_running(engine, lost)
    slurm.run("scancel", cancelled)
    slurm.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    assert until_ended(engine, cancelled) == "The job was cancelled in Slurm."
    assert until_ended(engine, lost).startswith("Node n2 failed, and the job with it.")
    assert engine.list("fgpu-") == {}


def test_full_spools_are_one_sentence_and_leave_nothing(
    engine: SlurmEngine, submit: Submit, slurm: SlurmCluster
) -> None:
    with no_room(slurm.folder / "state", [f"hash.{number}" for number in range(10)]):
        said = refusal(lambda: submit(a100()))
    assert said.startswith("Slurm could not store the job (Slurm: I/O error writing script/environment to file).")
    assert engine.list("fgpu-") == {}
    held = int(slurm.run("sbatch", "--parsable", "--hold", "--output=/dev/null", stdin="#!/bin/sh\n"))
    with no_room(slurm.folder / "spool-n1", [f"job{number:05d}" for number in range(held + 1, held + 4)]):
        assert until_ended(engine, submit(a100())).startswith("Slurm ended the job as it started on n1.")


class no_room:  # noqa: N801 (used as a function)
    """Files in place of folders that a daemon is to make: to it the same as an exceeded quota."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._paths = [folder / name for name in names]

    def __enter__(self) -> None:
        for path in self._paths:
            if path.exists():
                path.rename(path.with_name(f"{path.name}-kept"))
            path.touch()

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)
            if path.with_name(f"{path.name}-kept").exists():
                path.with_name(f"{path.name}-kept").rename(path)


# -- Slurm does not answer --------------------------------------------------------------------------------------------


def test_controller_that_cannot_be_reached_is_unknown_and_refuses_nothing(slurm: SlurmCluster, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    conf = tmp_path / "slurm.conf"
    conf.write_text(re.sub(r"(?m)^SlurmctldPort=.*", f"SlurmctldPort={port}", slurm.conf.read_text()))
    environ = {**os.environ, **slurm.environment, "SLURM_CONF": str(conf)}
    calls: list[Callable[[SlurmEngine], object]] = [
        lambda engine: status(engine, "1"),
        lambda engine: engine.list("fgpu-"),
        lambda engine: engine.cancel("1"),
        lambda engine: engine.check(a100()),
        lambda engine: engine._commands.submit((), "#!/bin/sh\n"),
    ]
    with ThreadPoolExecutor(len(calls)) as threads:  # each waits for seconds
        errors = list(map(Future.exception, [threads.submit(call, SlurmEngine(environ=environ)) for call in calls]))
    for error in errors:
        assert isinstance(error, EngineUnavailable), error
        assert render(error.message).startswith("Slurm does not answer (")


@pytest.fixture
def wrapped(tmp_path: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script of the site before ``sbatch`` on the PATH."""
    path = tmp_path / "bin/sbatch"
    path.parent.mkdir()

    def wrap(text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{slurm.environment['PATH']}")

    return wrap


def test_sbatch_that_is_missing_or_hangs_is_one_sentence_and_leaves_nothing(
    slurm: SlurmCluster, wrapped: Callable[[str], None], tmp_path: Path
) -> None:
    agent = AgentSpec(PROGRAM, b"{}")
    nothing = SlurmEngine(environ={**os.environ, "PATH": "/nowhere"})
    with pytest.raises(EngineUnavailable) as error:
        nothing.kinds()
    assert render(error.value.message).startswith("The command sinfo of Slurm could not be run (No such file")
    note = tmp_path / "pid"
    wrapped(f"sleep 600 & echo $! > {note}; wait")
    hangs = SlurmEngine(SlurmOptions(timeouts=Timeouts(submit_s=0.5)))
    with pytest.raises(EngineUnavailable) as error:
        hangs.submit(a100(), agent, "fgpu-0-a-1")
    assert render(error.value.message).startswith("sbatch did not answer within 0 s and was ended.")
    wait_until(lambda: not Path(f"/proc/{note.read_text().strip()}").exists(), "what it started is ended, too")
    assert hangs.list("fgpu-") == {}
    wrapped(f'exec {shutil.which("sbatch", path=slurm.environment["PATH"])} --gres=gpu:v100:1 "$@"')
    assert SlurmEngine().submit(a100(), agent, "fgpu-0-a-1"), "options of the request go before those of a wrapper"
