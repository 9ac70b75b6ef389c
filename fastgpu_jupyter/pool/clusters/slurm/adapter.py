"""Slurm behind the protocol of engines."""

from __future__ import annotations

import builtins
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ....core.model.cluster import JOB_PREFIX
from ....errors import EngineUnavailable, InvalidRequest, Message
from ..bootstrap import WITH_DEVICES
from ..engine import AgentSpec, Ended, GPUKind, Running, Status, Want
from . import reasons, script
from .commands import DEFAULT_TIMEOUTS, TEXT_MAX, Commands, Ran, Timeouts
from .devices import gres_choices, kinds_of
from .parse import (
    JOB_FORMAT,
    NODE_FORMAT,
    PENDING_FORMAT,
    JobRow,
    expected_start_ms,
    fields_of,
    gres_of,
    job_rows,
    moment_ms,
    node_rows,
    pending_rows,
    positions_of,
    settings_of,
    submitted_job,
)
from .reasons import ScriptExit

#: Seconds for which a list of all waiting jobs counts, from which positions are computed.
POSITIONS_S = 30.0
#: Seconds for which the list of GPUs counts, by which requests are translated.
KINDS_S = 60.0
#: Jobs that one question about all jobs looks up by themselves, because the list has not all of them.
LOOKED_UP_MAX = 16
#: What ``scontrol`` says of a job that Slurm does not know.
_UNKNOWN = "invalid job id"
#: What ``scancel`` says where there is nothing to cancel.
_OVER = (_UNKNOWN, "already completing or completed", "job has already finished")
_TRIAL = "#!/bin/sh\nexit 0\n"


class SlurmOptions(NamedTuple):
    """Settings of the adapter."""

    shards_per_gpu: Mapping[str, int] = {}  #: by type, where the nodes do not say it
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    #: The command of the interpreter on the nodes, which must have pyzmq; empty: this one, at the same path.
    python: str = ""


DEFAULT_OPTIONS = SlurmOptions()


class SlurmEngine:
    """The Slurm that the commands of this user reach."""

    name = "slurm"

    def __init__(
        self,
        options: SlurmOptions = DEFAULT_OPTIONS,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._clock = options, clock
        self._commands = Commands(environ, options.timeouts)
        self._python = options.python or shlex.join([sys.executable, "-P"])
        self._user = str(os.getuid())
        self._settings: dict[str, str] = {}
        self._kinds: list[GPUKind] = []
        #: On a clock that is never set, as the ages of answers must be.
        self._kinds_at_s = self._positions_at_s = float("-inf")
        self._positions: dict[str, int] = {}
        self._others: frozenset[str] = frozenset()  #: this user's jobs that are not ours
        self._ends: dict[str, Message] = {}  #: by job, so that each is looked up once
        self._models: dict[str, str | None] = {}  #: by running job

    def version(self) -> str | None:
        """Return the version of the controller."""
        return self._setting("SLURM_VERSION")

    def controller(self) -> str | None:
        """Return the address of the controller, or its name where the configuration has no address."""
        named = re.fullmatch(r"([^()]+)(?:\(([^()]+)\))?", self._setting("SlurmctldHost[0]") or "")
        return (named[2] or named[1]) if named else None

    def kinds(self) -> list[GPUKind]:
        """Return the GPUs by partition and type, as the nodes declare them."""
        answer = self._require(self._commands.query("sinfo", "--noheader", "--format", NODE_FORMAT))
        self._kinds = kinds_of(node_rows(answer.output), self._options.shards_per_gpu)
        self._kinds_at_s = time.monotonic()
        return list(self._kinds)

    def check(self, want: Want) -> int | None:
        """Return when Slurm expects to start such a job. Raises :class:`InvalidRequest` where it never would."""
        kinds = self._recent_kinds()
        _require_time(want, kinds)
        return self._best(want, kinds)[1]

    def submit(self, want: Want, agent: AgentSpec, name: str) -> str:
        """Submit the job and return its id."""
        choices = gres_choices(want, self._recent_kinds())
        gres = choices[0] if len(choices) == 1 else self._best(want, self._recent_kinds())[0]
        options = (*script.job_options(name), *script.resource_options(want, gres))
        ran = self._commands.submit(options, script.job_script(agent, name, self._python))
        if ran.status:
            raise reasons.refusal(ran.said or ran.output.strip(), want, gres)
        if (job := submitted_job(ran.output)) is None:
            raise EngineUnavailable(Message.of("slurm.no_job_id", text=ran.output.strip()[:TEXT_MAX] or "-"))
        return job

    def statuses(self, jobs: Sequence[str]) -> dict[str, Status]:
        """Return the status of each job, from one list of this user's jobs.

        Where the list does not have a job that Slurm knows, nothing is said of it: a site may answer ``squeue`` from a
        list that it renews now and then.
        """
        if not jobs:
            return {}
        rows = {row.job_id: row for row in self._own_rows()}
        self._find_positions([rows[job] for job in jobs if job in rows])
        said = ((job, self._status(rows[job])) for job in jobs if job in rows)
        found = {job: status for job, status in said if status is not None}
        absent = [job for job in jobs if job not in rows]
        found |= {job: reasons.FORGOTTEN for job in absent[:LOOKED_UP_MAX] if not self._knows(job)}
        asked = set(jobs)
        self._ends = {job: message for job, message in self._ends.items() if job in asked}
        self._models = {job: model for job, model in self._models.items() if job in asked}
        return found

    def running(self, job: str) -> Running | None:
        """Return host, GPUs and the end of a job that runs."""
        shown = self._show_job(job)
        if shown.get("JobState") not in reasons.RUNS:
            return None
        self._models[job] = _model_of(shown)
        host = shown.get("BatchHost") or shown.get("NodeList", "")
        # The end of a job that is being ended is the present, which is no time limit.
        ends_at_ms = moment_ms(shown.get("EndTime", "")) if shown["JobState"] == "RUNNING" else None
        return Running(host, ends_at_ms, self._models[job], self._isolates())

    def launcher(self, job: str) -> Sequence[str]:
        """Return the command of a step in the job, which has all that the job has."""
        binds = "affinity" in self._settings.get("TaskPlugin", "")
        options = (*script.STEP_OPTIONS, *(script.UNBOUND if binds else ()))
        return self._commands.with_configuration(("srun", f"--jobid={job}", *options, *WITH_DEVICES))

    def cancel(self, job: str) -> None:
        """Cancel a job of this user, unless it has the name of another one in the last list of all jobs.

        A controller that lost its state gives the numbers again, perhaps to a job that this user submitted otherwise.
        """
        if job in self._others:
            return
        ran = self._commands.query("scancel", "--user", self._user, job)
        if ran.status and not any(words in ran.errors.lower() for words in _OVER):
            raise EngineUnavailable(Message.of("slurm.not_cancelled", job=job, text=ran.said))

    def list(self, prefix: str) -> dict[str, str]:
        """Return the ids of this user's jobs that are not over, by name."""
        rows = [row for row in self._own_rows() if row.name.startswith(prefix) and row.state not in reasons.ENDS]
        return {row.name: row.job_id for row in sorted(rows, key=lambda row: (len(row.job_id), row.job_id))}

    # -- status -------------------------------------------------------------------------------------------------------

    def _own_rows(self) -> builtins.list[JobRow]:
        argv = ("squeue", "--noheader", "--user", self._user, "--states", "all", "--format", JOB_FORMAT)
        rows = list(job_rows(self._require(self._commands.query(*argv)).output))
        self._others = frozenset(row.job_id for row in rows if not row.name.startswith(JOB_PREFIX))
        return rows

    def _status(self, row: JobRow) -> Status | None:
        if row.state in reasons.WAITS:
            return reasons.pending_status(row, self._positions.get(row.job_id), int(self._clock() * 1000))
        if row.state in reasons.RUNS:
            return reasons.running_status(row)._replace(model=self._model(row.job_id), isolated=self._isolates())
        if row.state not in reasons.ENDS:
            return None
        if row.job_id not in self._ends:
            self._ends[row.job_id] = reasons.end_message(row, self._exit_of(row), self._python)
        return Ended(self._ends[row.job_id], row.ends_at_ms)

    def _knows(self, job: str) -> bool:
        """Return whether Slurm has that job of this user. Raises :class:`EngineUnavailable` where it does not say."""
        ran = self._commands.query("scontrol", "--oneliner", "show", "job", job)
        if ran.status and _UNKNOWN in ran.errors.lower():
            return False
        owner = fields_of(self._require(ran).output).get("UserId")
        return owner is None or owner.endswith(f"({self._user})")  # of another user: the number was given again

    def _find_positions(self, rows: Sequence[JobRow]) -> None:
        """Find the places of waiting jobs among those that wait in their partitions, if they may be other ones now."""
        waiting = [row.job_id for row in rows if row.state == "PENDING"]
        age_s = time.monotonic() - self._positions_at_s
        if not waiting or (age_s <= POSITIONS_S and all(job in self._positions for job in waiting)):
            return
        argv = ("squeue", "--noheader", "--states", "PENDING", "--format", PENDING_FORMAT)
        self._positions = positions_of(pending_rows(self._require(self._commands.query(*argv)).output))
        self._positions_at_s = time.monotonic()

    def _exit_of(self, row: JobRow) -> ScriptExit | None:
        if row.host is None or not reasons.needs_exit(row):
            return None
        status, _, signum = self._show_job(row.job_id).get("ExitCode", "").partition(":")
        return ScriptExit(int(status), int(signum)) if status.isdigit() and signum.isdigit() else None

    def _model(self, job: str) -> str | None:
        """Return the type of a running job's GPUs, which is asked for once."""
        if job not in self._models:
            self._models[job] = _model_of(self._show_job(job))
        return self._models[job]

    def _show_job(self, job: str) -> dict[str, str]:
        ran = self._commands.query("scontrol", "--details", "--oneliner", "show", "job", job)
        return fields_of(ran.output) if ran.status == 0 else {}

    # -- the cluster --------------------------------------------------------------------------------------------------

    def _isolates(self) -> bool | None:
        """Return whether jobs can open no GPU but their own; ``None`` where Slurm does not say."""
        if "task/cgroup" not in (self._setting("TaskPlugin") or ""):
            return False
        constrains = self._setting("ConstrainDevices")
        return None if constrains is None else constrains.lower() == "yes"

    def _setting(self, name: str) -> str | None:
        if not self._settings:
            self._settings = settings_of(self._require(self._commands.query("scontrol", "show", "config")).output)
        return self._settings.get(name)

    def _recent_kinds(self) -> builtins.list[GPUKind]:
        return self._kinds if time.monotonic() - self._kinds_at_s < KINDS_S else self.kinds()

    def _best(self, want: Want, kinds: Sequence[GPUKind]) -> tuple[str, int | None]:
        """Return the resources that Slurm would grant first, and when. Raises the refusal of the preferred ones."""
        refused: InvalidRequest | None = None
        found: builtins.list[tuple[str, int | None]] = []
        for gres in gres_choices(want, kinds):
            argv = ("sbatch", "--test-only", *script.resource_options(want, gres))
            ran = self._commands.trial(argv, _TRIAL)
            if ran.status == 0:
                found.append((gres, expected_start_ms(ran.errors + ran.output)))
            else:
                refused = refused or reasons.refusal(ran.said, want, gres)
        if not found:
            raise refused or InvalidRequest(Message.of("slurm.refused", text="-"))
        return min(found, key=lambda one: (one[1] is None, one[1] or 0))

    @staticmethod
    def _require(ran: Ran) -> Ran:
        """Return the answer of a query. Raises :class:`EngineUnavailable` where there is none."""
        if ran.status:
            raise EngineUnavailable(Message.of("slurm.unreached", text=ran.said or str(ran.status)))
        return ran


def _model_of(shown: Mapping[str, str]) -> str | None:
    """Return the type of a job's GPUs, from GRES=gpu:a100:1(IDX:0) or TresPerNode=gres:gpu:a100:1."""
    found = (*gres_of(shown.get("GRES", "")), *gres_of(shown.get("TresPerNode", "")))
    return next((one.type for one in found if one.type), None)


def _require_time(want: Want, kinds: Sequence[GPUKind]) -> None:
    """Raise :class:`InvalidRequest` for a time that no partition allows: Slurm would accept it and never start it."""
    asked_ms = want.options.time_limit_ms or want.time_limit_ms
    names = set(want.options.partition.split(",")) if want.options.partition else None
    limits = [kind for kind in kinds if (kind.partition in names if names else kind.default_partition)]
    if asked_ms is None or not limits or any(kind.time_limit_max_ms is None for kind in limits):
        return
    most = max(limits, key=lambda kind: kind.time_limit_max_ms or 0)
    if asked_ms > (most.time_limit_max_ms or 0):
        raise InvalidRequest(
            Message.of(
                "slurm.over_time_limit",
                asked_ms=asked_ms,
                partition=most.partition,
                most_ms=most.time_limit_max_ms or 0,
            )
        )
