"""A simulated engine, for tests and development: jobs are processes of this host, and its faults can be set.

``FastGPUPool.cluster = "fake:2xA100-80GB, 4xH100-80GB"`` has a node for each term. It is in no help text, and
everything that shows it says *simulated*. Its jobs outlive the pool manager, as those of Slurm do: they are in
``jobs.json`` of its folder. ``control.json`` there has the faults of one in another process (:class:`Faults`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from ...core.model.cluster import JOB_PREFIX
from ...errors import EngineUnavailable, InvalidRequest, Message
from ...wire.private_files import write_private
from ...wire.process_identity import ProcessIdentity, boot_id, start_time
from ..devices.registry import CATALOG
from .bootstrap import WITH_DEVICES
from .engine import AgentSpec, Ended, GPUKind, Queued, Running, Status, Want
from .fake_cluster import FakeCluster, FakeJob, FakeNode, job_of

P = ParamSpec("P")
T = TypeVar("T")
DEFAULT_NODES = "2xA100-80GB, 2xA100-80GB"
PARTITION = "gpu"
TIME_LIMIT_MS, TIME_LIMIT_MS_MAX = 3_600_000, 28_800_000
#: How long the processes of a job that is ended may take, before they are killed.
KILL_WAIT_MS = 5_000
#: The parent of an agent, which outlives the pool manager: an agent ends with the process that it runs under. A file
#: tells when that was.
_STEP = 'exec 3<&0; trap : TERM; "$@" <&3 3<&- & while kill -0 $! 2>/dev/null; do wait $!; done; : >"$0"'
#: Jobs that are over and still known, as with Slurm's MinJobAge.
KNOWN_OVER_MAX = 256


@dataclass(slots=True)
class Faults:
    """What goes wrong, and what is slow; as set in this process, or in ``control.json``."""

    silent: bool = False  #: no call is answered
    hang_s: float = 0.0  #: every call takes so long
    hold: bool = False  #: no job starts
    start_delay_ms: int = 0  #: a job starts so long after its submission at the earliest
    refuse: str = ""  #: the reason for which every submission is refused
    lose_answer: bool = False  #: jobs are submitted, and the answer is lost
    without_agents: bool = False  #: jobs run and their agents never report
    lose: Sequence[str] = ()  #: names of jobs whose node fails
    requeue: Sequence[str] = ()  #: names of jobs that an administrator puts into the queue again
    late: str = ""  #: the name of a job of which an earlier submission, which was given up, arrives now


def _exclusive(method: Callable[Concatenate[FakeEngine, P], T]) -> Callable[Concatenate[FakeEngine, P], T]:
    """Make a call of the cluster one at a time, after what is due since the last one: tests call it, too."""

    @wraps(method)
    def call(self: FakeEngine, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._begin()
        with self._lock:
            self._advance()
            return method(self, *args, **kwargs)

    return call


class FakeEngine:
    """A simulated engine. Without ``folder`` its jobs end with it; without ``runs_agents`` they have no processes."""

    name = "fake"

    def __init__(
        self,
        nodes: str = "",
        folder: Path | None = None,
        *,
        runs_agents: bool = True,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        terms = [CATALOG.parse_simulated(term) for term in (nodes.strip() or DEFAULT_NODES).split(",")]
        self.cluster = FakeCluster(
            [FakeNode(f"n{number}", models[0], [1000] * len(models)) for number, models in enumerate(terms, 1)]
        )
        self.faults = Faults()
        self._folder, self._runs_agents, self._clock_ms = folder, runs_agents, clock_ms
        self._specs: dict[str, AgentSpec] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._next = 1
        self._lock = threading.RLock()
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._read_jobs(folder / "jobs.json")

    # -- the protocol of engines ---------------------------------------------------------------------------------------

    @_exclusive
    def version(self) -> str | None:
        """Return a version of its own."""
        return "simulated"

    def controller(self) -> str | None:
        """Return this host: every node is on it."""
        return "127.0.0.1"

    @_exclusive
    def kinds(self) -> list[GPUKind]:
        """Return the models of the nodes."""
        found: dict[str, list[FakeNode]] = {}
        for node in self.cluster.nodes.values():
            found.setdefault(node.model, []).append(node)
        return [
            GPUKind(
                PARTITION,
                model.lower(),
                max(len(node.free) for node in nodes),
                len(nodes),
                shards_per_gpu=4,
                time_limit_max_ms=TIME_LIMIT_MS_MAX,
                default_partition=True,
            )
            for model, nodes in found.items()
        ]

    @_exclusive
    def check(self, want: Want) -> int | None:
        """Return nothing; refuse what fits on no node."""
        self._require_possible(want)
        return None

    @_exclusive
    def submit(self, want: Want, agent: AgentSpec, name: str) -> str:
        """Add a job to the queue."""
        if name in self.cluster.ids:
            raise AssertionError(f"{name} was submitted twice")  # which the service must never do
        self._require_possible(want)
        job = job_of(want, str(self._next), name, self._clock_ms(), TIME_LIMIT_MS)
        self._next += 1
        self._specs[job.id] = agent
        if self._folder is not None:
            spec = {"source": agent.source, "spec": agent.spec.decode()}
            write_private(self._folder / f"{job.id}.script", json.dumps(spec).encode())
        self.cluster.add(job)
        self._save()
        self._advance()
        if self.faults.lose_answer:
            raise EngineUnavailable(Message.of("cluster.fake_silent"))
        return job.id

    @_exclusive
    def statuses(self, jobs: Sequence[str]) -> dict[str, Status]:
        """Return the status of each job."""
        positions = self.cluster.positions()
        return {job_id: self._status(self.cluster.jobs.get(job_id), positions) for job_id in jobs}

    @_exclusive
    def running(self, job: str) -> Running | None:
        """Return what a job runs with."""
        status = self._status(self.cluster.jobs.get(job), {})
        return status if isinstance(status, Running) else None

    def launcher(self, job: str) -> Sequence[str]:
        """Return a command that runs a program of this host with the devices of the job."""
        found = self.cluster.jobs.get(job)
        given = [f"{name}={value}" for name, value in _variables(found).items()] if found else []
        return ("env", *given, *WITH_DEVICES) if found else ("false",)

    @_exclusive
    def cancel(self, job: str) -> None:
        """End a job that waits or runs."""
        found = self.cluster.jobs.get(job)
        if found is not None and found.ended is None:
            self._end(found, "CANCELLED")
            self._save()

    @_exclusive
    def list(self, prefix: str) -> dict[str, str]:
        """Return the jobs that are not over, by name."""
        alive = (job for job in self.cluster.jobs.values() if job.ended is None)
        return {job.name: job.id for job in alive if job.name.startswith(prefix)}

    # -- what happens meanwhile ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Read the faults, and have those of every call. Raises :class:`EngineUnavailable` where that is set."""
        if self._folder is not None:
            self._read_faults(self._folder / "control.json")
        if self.faults.hang_s:
            time.sleep(self.faults.hang_s)
        if self.faults.silent:
            raise EngineUnavailable(Message.of("cluster.fake_silent"))

    def _advance(self) -> None:
        now_ms, before = self._clock_ms(), self._fingerprint()
        for job in list(self.cluster.running.values()):
            self._look_at(job, now_ms)
        if (own := self.cluster.ids.get(self.faults.late)) is not None:
            self.faults.late = ""
            waiting = replace(self.cluster.jobs[own], id=str(self._next), node=None, indices=[], pid=None)
            self.cluster.add(waiting)
            self._next += 1
            self._save()
        if not self.faults.hold:
            for job in self.cluster.start_what_fits(now_ms, now_ms - self.faults.start_delay_ms):
                if self._runs_agents and not self.faults.without_agents:
                    self._start(job)
        self.cluster.forget(KNOWN_OVER_MAX)
        if before != self._fingerprint():
            self._save()

    def _look_at(self, job: FakeJob, now_ms: int) -> None:
        """Note the end of a job's process, and end a job at its time limit or with its node."""
        if job.name in self.faults.lose:
            self._signal(job, signal.SIGKILL)
            self.cluster.end(job, "NODE_FAIL", now_ms)
        elif job.name in self.faults.requeue:
            self._signal(job, signal.SIGTERM)
            if (own := self._processes.pop(job.id, None)) is not None:
                own.wait()
            self.cluster.requeue(job)
        elif job.pid is not None and self._has_ended(job):
            self.cluster.end(job, job.killed_as if job.kill_ms is not None else "COMPLETED", self._end_ms(job, now_ms))
        elif job.kill_ms is None and job.ends_ms is not None and now_ms >= job.ends_ms:
            self._end(job, "TIMEOUT")
        elif job.kill_ms is not None and now_ms >= job.kill_ms:
            self._signal(job, signal.SIGKILL)

    def _end(self, job: FakeJob, state: str) -> None:
        if job.pid is None:
            self.cluster.end(job, state, self._clock_ms())
        elif job.kill_ms is None:
            job.kill_ms, job.killed_as = self._clock_ms() + KILL_WAIT_MS, state
            self._signal(job, signal.SIGTERM)

    def _start(self, job: FakeJob) -> None:
        agent = self._specs.pop(job.id, None)
        if agent is None and self._folder is not None:
            stored = json.loads((self._folder / f"{job.id}.script").read_text())
            agent = AgentSpec(stored["source"], stored["spec"].encode())
        assert agent is not None
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        process = subprocess.Popen(
            ["/bin/sh", "-c", _STEP, str(self._end_file(job)), sys.executable, "-P", "-c", agent.source],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**kept, **_variables(job)},
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        with process.stdin as given:
            given.write(agent.spec)
        job.pid, job.start_time = process.pid, start_time(process.pid)
        self._processes[job.id] = process

    def _has_ended(self, job: FakeJob) -> bool:
        own = self._processes.get(job.id)
        if own is not None:
            return own.poll() is not None
        if job.pid is None or job.start_time is None:
            return job.pid is None
        return ProcessIdentity(boot_id(), job.pid, job.start_time).has_ended()

    def _end_file(self, job: FakeJob) -> Path:
        return Path("/dev/null") if self._folder is None else self._folder / f"{job.id}.end"

    def _end_ms(self, job: FakeJob, now_ms: int) -> int:
        """Return when the processes of a job ended; ``now_ms`` where that was not noted."""
        try:
            return now_ms if self._folder is None else self._end_file(job).stat().st_mtime_ns // 1_000_000
        except OSError:
            return now_ms

    def _signal(self, job: FakeJob, number: int) -> None:
        if job.pid is not None and not self._has_ended(job):
            with suppress(ProcessLookupError):
                os.killpg(job.pid, number)
            if number == signal.SIGKILL and (own := self._processes.get(job.id)) is not None:
                own.wait()

    def _status(self, job: FakeJob | None, positions: dict[str, int]) -> Status:
        if job is None:
            return Ended(Message.of("cluster.fake_forgotten"))
        if job.ended is not None:
            return Ended(Message.of("cluster.fake_ended", state=job.ended), job.ended_ms)
        if job.node is not None:
            return Running(job.node, job.ends_ms, self.cluster.nodes[job.node].model, isolated=False)
        reason = Message.of("cluster.fake_held") if self.faults.hold else Message.of("cluster.fake_full")
        return Queued(reason, positions.get(job.id))

    def _require_possible(self, want: Want) -> None:
        if self.faults.refuse:
            raise InvalidRequest(Message.of("cluster.fake_refused", reason=self.faults.refuse))
        if want.options.partition not in ("", PARTITION):
            reason = f"invalid partition specified: {want.options.partition}"
            raise InvalidRequest(Message.of("cluster.fake_refused", reason=reason))
        if not self.cluster.could_run(job_of(want, "", JOB_PREFIX, 0, TIME_LIMIT_MS)):
            raise InvalidRequest(Message.of("cluster.fake_impossible"))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _fingerprint(self) -> Sequence[object]:
        return [(job.node, job.ended, job.kill_ms) for job in self.cluster.jobs.values()] if self._folder else ()

    def _save(self) -> None:
        if self._folder is not None:
            jobs = [asdict(job) for job in self.cluster.jobs.values()]
            write_private(self._folder / "jobs.json", json.dumps({"next": self._next, "jobs": jobs}).encode())

    def _read_jobs(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            stored = json.loads(path.read_text())
            self._next = stored["next"]
            for job in stored["jobs"]:
                self.cluster.add(FakeJob(**job))

    def _read_faults(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            given = json.loads(path.read_text())
            for one in fields(Faults):
                if one.name in given:
                    setattr(self.faults, one.name, given[one.name])


def _variables(job: FakeJob) -> dict[str, str]:
    """Return the variables of a job by which its processes know their devices."""
    indices = ",".join(map(str, job.indices))
    return {
        "GPU_DEVICE_ORDINAL": indices,
        "SLURM_JOB_GPUS": indices,
        "SLURM_JOB_ID": job.id,
        "SLURMD_NODENAME": job.node or "",
    }
