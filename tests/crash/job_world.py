"""A pool manager, a dispatcher and clients that tests kill at steps of a job, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.jobs.results import ResultStore
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.job_states import ENDED, JobState
from fastgpu_jupyter.wire.locate import user_socket
from tests.conftest import isolate
from tests.crash import job_work
from tests.crash.conftest import KillablePool
from tests.crash.job_failpoints import sitecustomize as failpoints
from tests.helpers import alive, end_pool_at
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Submitted:
    """A job of a test: its own folder, and what was submitted."""

    folder: Path
    body: dict[str, Any]
    id: int = 0
    clients: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def witness(self) -> list[str]:
        """What its work has noted: ``begin``, ``end`` or ``twice``."""
        with contextlib.suppress(FileNotFoundError):
            return [line.split()[0] for line in (self.folder / "witness").read_text().splitlines()]
        return []


class JobsWorld:
    """The processes of one user's jobs; everything is in ``folder``."""

    def __init__(self, folder: Path, pool: KillablePool) -> None:
        self.folder, self.pool = folder, pool
        self.client = JobsClient()
        self._numbers = iter(range(10_000))
        self._blocker: str | None = None
        self.checked: list[Submitted] = []  #: jobs that are over, whose costs are checked at the end

    # -- what a user does ----------------------------------------------------------------------------------------------

    def new_job(self, *, hold: bool = False, retries: int = 1, **fields: Any) -> Submitted:
        """Return a job that is not submitted yet; with ``hold`` its work goes on until :meth:`let_go`."""
        folder = self.folder / f"job-{next(self._numbers)}"
        folder.mkdir()
        if hold:
            (folder / "hold").touch()
        variables = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", failpoints.VARIABLE)}
        options = {"priority": fields.pop("priority")} if "priority" in fields else {}
        body = {
            "kind": "command", "name": folder.name, "options": options, "retries": retries, "size": "full",
            "program": {"argv": [sys.executable, "-m", job_work.__name__, str(folder)]},
            "environment": {"interpreter": sys.executable, "cwd": str(folder), "variables": variables},
            "save": ["out/*"], "submission": secrets.token_hex(16), **fields,
        }  # fmt: skip
        (folder / "body.json").write_text(json.dumps(body))
        return Submitted(folder, body)

    def submit(self, job: Submitted) -> Submitted:
        """Submit a job from this process; once more is the same job."""
        job.id = int(self.client.submit(job.body)["id"])  # type: ignore[arg-type]
        return job

    def start_client(self, job: Submitted) -> subprocess.Popen[str]:
        """Submit a job from a process of its own."""
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.job_client", str(job.folder / "body.json")],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        job.clients.append(client)
        return client

    def state(self, job: Submitted) -> JobState:
        """Return the state of a job."""
        return JobState(self.client.job(job.id)["state"])

    def let_go(self, job: Submitted) -> None:
        """Let the work of a job end."""
        (job.folder / "hold").unlink(missing_ok=True)

    def wait_begun(self, job: Submitted, count: int = 1) -> None:
        """Wait until the work of a job has begun so many times."""
        wait_until(lambda: job.witness.count("begin") >= count, lambda: f"the work begins: {self.describe(job)}")

    def wait_over(self, job: Submitted) -> Mapping[str, Any]:
        """Return the view of a job once it is over."""

        def over() -> Mapping[str, Any] | None:
            view = self.client.job(job.id)
            return view if JobState(view["state"]) in ENDED else None

        return wait_until(over, lambda: f"the job ends: {self.describe(job)}")

    def describe(self, job: Submitted) -> str:
        """Return what is known of a job, for a failed test."""
        with contextlib.suppress(FastGPUError):
            view = self.client.job(job.id)
            return f"{json.dumps(view)}; witness {job.witness}; {failpoints.processes(str(self.folder))}"
        return f"no dispatcher; witness {job.witness}"

    # -- what a test does ----------------------------------------------------------------------------------------------

    def block(self) -> None:
        """Take all devices, so that jobs wait."""
        lease = self.pool.client.request("full", token=new_token(), options={"priority": "high", "retention": "hold"})
        self._blocker = str(lease["id"])
        wait_until(lambda: self.pool.client.lease(str(self._blocker))["state"] == "active", "the device is taken")

    def unblock(self) -> None:
        """Give them back."""
        if self._blocker is not None:
            self.pool.client.release(self._blocker)
            self._blocker = None

    def arm(self, role: str, point: str, victim: str | int, count: int = 1) -> None:
        """Let the victim be killed when a process reaches a failpoint."""
        wanted = {"id": secrets.token_hex(4), "role": role, "point": point, "count": count, "victim": victim}
        whole = self.folder / "crash.new"
        whole.write_text(json.dumps(wanted))
        whole.rename(self.folder / "crash.json")

    def wait_reached(self) -> None:
        """Wait until the failpoint was reached."""
        wait_until((self.folder / "reached.json").exists, "the failpoint is reached")
        (self.folder / "reached.json").unlink()

    def pid_of(self, role: str) -> int:
        """Return the process of a role."""

        def found() -> int | None:
            return next((pid for pid, its in failpoints.processes(str(self.folder)).items() if its == role), None)

        return wait_until(found, f"there is a {role}")

    def kill(self, victim: str) -> None:
        """Kill the process of a role, or the pool manager, and wait until it has ended."""
        pid = self.pool.pid if victim == "pool" else self.pid_of(victim)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), f"the killed {victim} ends")

    def restart_what_was_killed(self) -> None:
        """Start the pool manager if it was killed; the next call of a client starts a dispatcher."""
        if self.pool.pid and not alive(self.pool.pid):
            self.pool.wait()
            self.start_pool()
        self.client.ping()

    def start_pool(self, crash_at: str | None = None) -> None:
        """Start the pool manager of this test, in place of one that the dispatcher may have started meanwhile."""
        while not self.pool.start(crash_at):
            self.pool.wait()
            end_pool_at(user_socket())

    # -- what must be true ---------------------------------------------------------------------------------------------

    def check(self, *jobs: Submitted) -> None:
        """Check jobs that are over: nothing ran twice, nothing is half-written, nothing is left."""
        for job in jobs:
            self._check_job(job)
        self._check_nothing_left()
        self.checked += jobs

    def _check_job(self, job: Submitted) -> None:
        view = self.client.job(job.id)
        facts = self.describe(job)
        same = [one for one in self.client.jobs() if one["name"] == job.folder.name]
        assert [one["id"] for one in same] == [job.id], "one submission is one job"
        assert JobState(view["state"]) in ENDED, facts
        assert "twice" not in job.witness, f"the work ran twice at a time: {facts}"
        assert job.witness.count("begin") <= max(1, view["attempt"]), f"an attempt began twice: {facts}"
        if view["state"] == JobState.DONE:
            assert job.witness[-1] == "end", facts
            assert view["exit_status"] == 0, facts
            outcome = json.loads(places.outcome_file(job.id).read_text())
            store = ResultStore(places.results_folder())
            manifest = store.manifest(outcome["result"])
            assert set(manifest.files) == {"out/result"}, facts
            with store.open(manifest.files["out/result"].digest) as file:
                assert file.read() == job_work.WHOLE, f"the result is not whole: {facts}"
        elif view["state"] in (JobState.LOST, JobState.CANCELLED):
            assert view["result"] is None, facts

    def _check_nothing_left(self) -> None:
        unfinished = {view["name"] for view in self.client.jobs(["queued", "running"])}

        def leases() -> list[tuple[str, str | None, str]]:
            live = [view for view in self.pool.client.leases() if view["state"] != "ended"]
            found = [(view["id"], view["holder"]["job"], view["state"]) for view in live]
            return [one for one in found if one[1] is not None and one[1].rpartition(" ")[2] not in unfinished]

        wait_until(lambda: not leases(), lambda: f"no lease is left: {leases()}")
        kept = {"dispatcher", "client"}

        def processes() -> dict[int, str]:
            found = failpoints.processes(str(self.folder))
            return {pid: role for pid, role in found.items() if role not in kept}

        wait_until(lambda: not processes(), lambda: f"no process is left: {processes()}")
        assert not self.client.jobs(["running"])

    def check_costs(self) -> None:
        """Check that the statement sums to its total, and that no job costs more than its last lease was billed."""
        (statement,) = self.pool.client.statements(time.strftime("%Y-%m", time.gmtime()))
        amounts: dict[str, int] = {}
        for line in statement["lines"]:
            amounts[str(line["lease_id"])] = amounts.get(str(line["lease_id"]), 0) + line["amount_micro"]
        assert sum(amounts.values()) == statement["total_micro"]
        for job in self.checked:
            view = self.client.job(job.id)
            if view["cost_micro"] is not None and view["lease_id"] is not None:
                billed = amounts.get(str(view["lease_id"]), 0)
                # A line is rounded with those before it.
                assert view["cost_micro"] <= billed + 1, f"the job costs more than was billed, {billed}: {view}"
                assert view["state"] != JobState.DONE or view["cost_micro"] > 0, view


@contextlib.contextmanager
def jobs_world(folder: Path, simulate: str = "1xA100-80GB") -> Iterator[JobsWorld]:
    """Yield a world in a folder, with a pool manager that serves; end all of its processes."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        isolate(folder, patch)
        patch.setenv(failpoints.VARIABLE, str(folder))
        patch.setenv(
            "PYTHONPATH",
            os.pathsep.join(
                (str(Path(failpoints.__file__).parent), os.environ.get("PYTHONPATH", str(ROOT)), str(ROOT))
            ),
        )
        pool = KillablePool(folder, simulate)
        stack.callback(pool.close)
        assert pool.start()
        world = JobsWorld(folder, pool)
        stack.callback(end_pool_at, user_socket())
        stack.callback(end_processes, folder)
        stack.callback(world.client.close)
        yield world
        world.check_costs()


def end_processes(folder: Path) -> None:
    """End every process of the jobs of a world."""
    (folder / "crash.json").unlink(missing_ok=True)
    while left := failpoints.processes(str(folder)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
