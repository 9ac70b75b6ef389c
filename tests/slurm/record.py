"""Record what the Slurm that is first on the path prints, for the tests of versions that do not run in them.

``python -m tests.slurm.record FILE`` asks the Slurm of this user what the adapter asks. It submits nothing but with
``--submit``: then one job of one GPU and a minute, which it cancels. ``--own`` starts a Slurm of its own instead, of
the installed packages, and records every way to wait and to end, in about two minutes. Names of people, hosts, paths
and the cluster are replaced, but not those of partitions and GPUs: **read the file before you send it**.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

import msgspec

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Infeasible, Queued, Running, Status, Want
from fastgpu_jupyter.pool.clusters.slurm import script
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from fastgpu_jupyter.pool.clusters.slurm.commands import DEFAULT_TIMEOUTS, Commands, Ran
from fastgpu_jupyter.pool.clusters.slurm.reasons import LAUNCH_MS
from tests.pool.clusters.slurm.recording import USER, Answer, Recording, Step
from tests.slurm.cluster import SYSTEM_PATH, SlurmCluster, has_shards
from tests.waiting import wait_until

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
#: Of the names of the jobs that are submitted, and the only ones of which a list is recorded.
PREFIX = "fgpu-0a1b2c3d-"
#: Slurm notices a time limit within a minute.
DEADLINE_S = 150
#: A program in place of the agent, which ends on SIGTERM.
WAITS = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); signal.sigwait({signal.SIGTERM})"
#: One that only SIGKILL ends.
STAYS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.sigwait({signal.SIGUSR1})"
FAILS = "raise SystemExit(3)"
#: Settings of the configuration that are recorded; it has names of hosts and people in others.
SETTINGS = ("SLURM_VERSION", "SlurmctldHost[0]", "TaskPlugin", "ConstrainDevices", "ProctrackType", "SelectType")
#: Fields of a job whose values are about people and paths.
PRIVATE = re.compile(
    r"\b(GroupId|Account|Command|WorkDir|StdErr|StdIn|StdOut|SubmitLine|AllocNode:Sid|Comment|SLUID|MCS_label)="
    r"(.*?)(?= [A-Z][\w/:]*=|$)",
    re.MULTILINE,
)

OWNER = re.compile(r"UserId=\S*\((\d+)\)")


class Recorder(Commands):
    """Runs commands, and keeps what they print."""

    def __init__(self) -> None:
        super().__init__(os.environ, DEFAULT_TIMEOUTS)
        self.answers: list[Answer] = []
        self._names = names_of_the_site()

    def _execute(self, argv: Sequence[str], text: str, timeout_s: float, environment: Mapping[str, str]) -> Ran:
        ran = super()._execute(argv, text, timeout_s, environment)
        output = ran.output
        lines = output.splitlines(keepends=True)
        if "config" in argv:
            output = "".join(line for line in lines if line.partition("=")[0].strip() in SETTINGS)
        elif argv[0] == "squeue" and "--user" in argv:  # which has all jobs of this user
            output = "".join(line for line in lines if f"|{PREFIX}" in line)
        words = tuple(USER if word == str(os.getuid()) else word for word in argv)
        answer = Answer(words, ran.status, self._without_names(output), self._without_names(ran.errors))
        if answer not in self.answers:
            self.answers.append(answer)
        return ran

    def _without_names(self, text: str) -> str:
        text = PRIVATE.sub(r"\1=x", text)
        text = OWNER.sub(lambda found: f"UserId=user({USER if found[1] == str(os.getuid()) else 'OTHER'})", text)
        for name, other in self._names.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", other, text)
        return text


def names_of_the_site() -> dict[str, str]:
    """What stands for the names of hosts and people, by name."""
    config = _ask("scontrol", "show", "config")
    controllers = re.findall(r"SlurmctldHost\[\d+\]\s*=\s*([^\s()]+)(?:\(([^\s()]+)\))?", config)
    found = {name: f"controller{number}" for number, pair in enumerate(controllers, 1) for name in pair if name}
    found |= dict.fromkeys(re.findall(r"ClusterName\s*=\s*(\S+)", config), "cluster")
    nodes = dict.fromkeys(_ask("sinfo", "--noheader", "-N", "--format", "%N").split())
    found |= {name: f"n{number}" for number, name in enumerate(nodes, 1)}
    found |= {socket.gethostname(): "host", socket.getfqdn(): "host", getpass.getuser(): "user"}
    return {
        name: found[name] for name in sorted(found, key=len, reverse=True) if name not in {"127.0.0.1", "localhost"}
    }


class Session:
    """A recording that is being made."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.recorder = Recorder()

    def step(self, name: str, ask: Callable[[SlurmEngine], Any], **subject: Any) -> Any:
        """Ask a new adapter, and keep the answers of Slurm; return its own, ``None`` where it refuses."""
        answer = self._ask(ask)
        self._keep(name, subject)
        return answer

    def until(self, name: str, job: str, condition: Callable[[Status], bool]) -> None:
        """Ask for the status of a job until the condition holds, and keep the last answers."""
        found: dict[str, Status] | None = None

        def holds() -> bool:
            nonlocal found
            found = self._ask(lambda engine: engine.statuses([job]))
            return found is not None and condition(found[job])

        wait_until(holds, lambda: f"{name}: {found}", DEADLINE_S)
        self._keep(name, {"jobs": (job,)}, job)
        print(f"{name}: job {job}", file=sys.stderr)  # noqa: T201 (a program)

    def submit(self, want: Want, name: str, program: str = WAITS) -> str:
        """Submit a job; what it takes is not recorded."""
        return SlurmEngine().submit(want, AgentSpec(f"{program}\n", b"{}"), f"{PREFIX}{name}-1")

    def refused(self, name: str, gres: str, want: Want) -> None:
        """Have ``sbatch`` try a request, and keep what it says."""
        argv = ("sbatch", "--test-only", *script.resource_options(want, gres))
        self.step(
            name, lambda engine: engine._commands.trial(argv, "#!/bin/sh\n"), gres=gres, options=want.options
        )  # fmt: skip

    def _ask(self, ask: Callable[[SlurmEngine], Any]) -> Any:
        self.recorder.answers = []
        self._asked_at = time.time()
        engine = SlurmEngine(clock=lambda: self._asked_at)
        engine._commands = self.recorder
        with contextlib.suppress(FastGPUError):
            return ask(engine)
        return None

    def _keep(self, name: str, subject: Mapping[str, Any], only: str = "") -> None:
        answers = [_with_job(answer, only) if only else answer for answer in self.recorder.answers]
        self.steps = [step for step in self.steps if step.name != name]  # the last one counts
        self.steps.append(Step(name, self._asked_at, answers, **subject))


def _with_job(answer: Answer, job: str) -> Answer:
    """A list of the user's jobs with one job only; other answers as they are."""
    if answer.argv[0] != "squeue" or USER not in answer.argv:
        return answer
    lines = answer.output.splitlines(keepends=True)
    return msgspec.structs.replace(answer, output="".join(line for line in lines if line.startswith(f"{job}|")))


def of_any_site(session: Session) -> None:
    """Record what needs no job."""
    session.step("kinds", lambda engine: (engine.kinds(), engine.version(), engine.controller(), engine._isolates()))
    session.step("check", lambda engine: engine.check(Want(1)))
    session.step("forgotten", lambda engine: engine.statuses(["999999999"]), jobs=("999999999",))
    session.step("cancel unknown", methodcaller("cancel", "999999999"), jobs=("999999999",))
    session.refused("no partition", "gpu:1", Want(1, options=ClusterRequest(partition="nope")))
    session.refused("no feature", "gpu:1", Want(1, options=ClusterRequest(constraint="nope")))
    session.refused("no type", "gpu:nope:1", Want(1))
    session.refused("no resource", "nope:1", Want(1))
    session.refused("too many", "gpu:4000", Want(1))
    session.refused("too much memory", "gpu:1", Want(1, host_memory_bytes=1 << 50))
    session.refused("too many processors", "gpu:1", Want(1, cpu_milli=30_000_000))
    session.refused("account", "gpu:1", Want(1, options=ClusterRequest(account="nope")))
    session.refused("qos", "gpu:1", Want(1, options=ClusterRequest(qos="nope")))
    session.refused("time", "gpu:1", Want(1, time_limit_ms=9_000 * HOUR_MS))


def of_one_job(session: Session) -> None:
    """Record a job of one GPU, which is cancelled."""
    job = session.submit(Want(1, time_limit_ms=MINUTE_MS), "one")
    try:
        session.until("one job", job, lambda status: isinstance(status, (Running, Queued, Infeasible)))
        session.step("one job alone", methodcaller("running", job), jobs=(job,))
        session.step("list", methodcaller("list", PREFIX), jobs=(job,))
    finally:
        session.step("cancel", methodcaller("cancel", job), jobs=(job,))
    session.until("cancelled", job, lambda status: isinstance(status, Ended))


def of_own_cluster(session: Session, cluster: SlurmCluster) -> None:
    """Record all ways to wait and to end."""
    a100 = Want(1, ("a100",))
    one_minute = Want(1, ("h100",), time_limit_ms=MINUTE_MS)
    timed, warned = session.submit(one_minute, "timed", STAYS), session.submit(one_minute, "warned")
    _ways_to_run(session)
    _ways_to_wait(session, cluster)
    _ways_to_end(session, cluster)
    session.refused("closed account", "gpu:1", a100._replace(options=ClusterRequest(account="closed")))
    session.until("time limit heeded", warned, is_ended)
    session.until("time limit", timed, is_ended)
    lost = session.submit(Want(1, ("h100",)), "lost")
    session.until("before node failure", lost, is_running)
    cluster.run("scontrol", "update", f"NodeName={cluster.prefix}n2", "State=DOWN", "Reason=test")
    session.until("node failure", lost, is_ended)
    cluster.run("scontrol", "update", f"NodeName={cluster.prefix}n2", "State=DRAIN", "Reason=test")
    unable = session.submit(Want(1, ("h100",)), "down")
    session.until("nodes down", unable, is_considered)
    cluster.stop_controller()
    session.step("controller down", lambda engine: engine.statuses([lost]), jobs=(lost,))


def _ways_to_run(session: Session) -> None:
    wants = {"whole": Want(2, ("h100",)), "mig": Want(1, partition_profile="1g.10gb")}
    if has_shards():
        wants["shard"] = Want(1, ("a100",), fraction=(1, 2))
    for name, want in wants.items():
        job = session.submit(want, name)
        session.until(f"{name} runs", job, is_running)
        session.step(f"{name} alone", methodcaller("running", job), jobs=(job,))
        session.step("list", methodcaller("list", PREFIX), jobs=(job,))
        session.step("cancel", methodcaller("cancel", job), jobs=(job,))
        session.until("cancelled at once", job, is_ended)
        session.step("cancel again", methodcaller("cancel", job), jobs=(job,))


def _ways_to_wait(session: Session, cluster: SlurmCluster) -> None:
    both = Want(2, ("a100",), time_limit_ms=HOUR_MS)
    first = session.submit(both, "first")
    session.until("first runs", first, is_running)
    began = time.time()
    second, third = session.submit(both, "second"), session.submit(both, "third")
    session.until("resources", second, lambda status: is_considered(status) and has_start(status))
    session.until("priority", third, is_considered)
    cluster.run("scontrol", "uhold", third)
    session.until("held by user", third, lambda status: is_waiting(status, "JobHeldUser", "held"))
    cluster.run("scontrol", "hold", second)
    session.until("held", second, lambda status: is_waiting(status, "held"))
    late = session.submit(Want(1, ("a100",), time_limit_ms=HOUR_MS, options=ClusterRequest("short")), "late")
    session.until("over time limit", late, lambda status: isinstance(status, Infeasible))
    cluster.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    closed = session.submit(a_minute("short"), "closed")
    session.until("partition down", closed, is_considered)
    wait_until(lambda: time.time() - began > LAUNCH_MS / 1000 + 2, "the first job has not ended as it started")
    for job in (late, closed, third, second, first):
        cluster.run("scancel", job)
        session.until("cancelled while waiting" if job != first else "cancelled", job, is_ended)


def _ways_to_end(session: Session, cluster: SlurmCluster) -> None:
    failed = session.submit(Want(1, ("a100",)), "failed", FAILS)
    session.until("failed", failed, is_ended)
    spool = cluster.folder / f"spool-{cluster.prefix}n1"
    blocked = [spool / f"job{number:05d}" for number in range(int(failed) + 1, int(failed) + 3)]
    for path in blocked:
        path.touch()
    session.until("not launched", session.submit(Want(1, ("a100",)), "unlaunched"), is_ended)
    for path in blocked:
        path.unlink(missing_ok=True)


def a_minute(partition: str) -> Want:
    """A small request in a partition."""
    return Want(1, ("a100",), time_limit_ms=MINUTE_MS, options=ClusterRequest(partition))


def is_running(status: Status) -> bool:
    """Whether the job runs."""
    return isinstance(status, Running)


def is_ended(status: Status) -> bool:
    """Whether the job is over."""
    return isinstance(status, Ended)


def is_considered(status: Status) -> bool:
    """Whether the job waits, and Slurm says for what."""
    return isinstance(status, Queued) and status.reason.code != "slurm.not_considered"


def is_waiting(status: Status, *words: str) -> bool:
    """Whether the job waits with one of the words in the code of its reason."""
    return isinstance(status, Queued) and any(word in status.reason.code for word in words)


def has_start(status: Status) -> bool:
    """Whether Slurm expects a start."""
    return isinstance(status, Queued) and status.starts_at_ms is not None


def package() -> str:
    """The package of the distribution with its version, ``not known`` where there is none."""
    for argv in (
        ("dpkg-query", "--show", "--showformat=Debian ${Package} ${Version}", "slurm-client"),
        ("rpm", "--query", "slurm"),
    ):
        if shutil.which(argv[0]) and (said := _ask(*argv)):
            return said.strip()
    return "not known"


def _ask(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


@contextlib.contextmanager
def _own_cluster() -> Iterator[SlurmCluster]:
    cluster = SlurmCluster()
    try:
        cluster.start()
        os.environ.update(cluster.environment)
        yield cluster
    finally:
        cluster.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """Make a recording."""
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.record", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--submit", action="store_true", help="submit a job of one GPU and a minute, and cancel it")
    parser.add_argument("--own", action="store_true", help="start a Slurm of the installed packages, with device files")
    parser.add_argument("--package", default="", help="the package of the distribution, where it is not found")
    options = parser.parse_args(argv)
    os.environ["PATH"] = SYSTEM_PATH
    with _own_cluster() if options.own else contextlib.nullcontext() as cluster:
        session, version = Session(), SlurmEngine().version() or "not known"
        of_any_site(session)
        if cluster:
            of_own_cluster(session, cluster)
        elif options.submit:
            of_one_job(session)
    made_on = "two nodes with device files, on one host" if options.own else "a site"
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    recording = Recording(version, options.package or package(), date, made_on, session.steps)
    options.file.write_bytes(msgspec.json.format(msgspec.json.encode(recording), indent=1) + b"\n")


if __name__ == "__main__":
    main()
