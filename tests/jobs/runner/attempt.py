"""One attempt of a job as a dispatcher starts it, without a dispatcher."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.environment import recorded
from fastgpu_jupyter.jobs.results import Manifest, ResultStore
from fastgpu_jupyter.jobs.runner.processes import has_variable, processes
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import PoolProcess
from tests.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[3]


class Attempt:
    """A runner, and the files between it and the dispatcher."""

    def __init__(self, pool: PoolProcess, cwd: Path, kind: str, program: dict[str, Any], **body: Any) -> None:
        """Request the lease of the job, and write the hand-over; ``body``: more of what was submitted."""
        self.id = 1 + max((int(one.name) for one in places.jobs_dir().glob("[0-9]*")), default=0)
        store = secrets.token_hex(6)  # other runs of these tests have a job 1 as well
        self.mark = f"{self.id}@{store}"
        self.pool = pool
        self.folder = places.job_folder(self.id)
        self.payload = places.payload_folder(self.id)
        self.payload.mkdir(mode=0o700, parents=True)
        token = new_token()
        self.lease_id = pool.client.request("half", token=token, job=f"job {self.id}", options={"priority": "low"})[
            "id"
        ]
        environment = recorded({**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}, folder=cwd)
        limits = {"log_bytes_max": 2**20, "result_bytes_max": 2**30, "worker_idle_ms": 10_000, **body.pop("limits", {})}
        start = {
            "version": 1, "id": self.id, "attempt": 1, "store": store, "mark": self.mark,
            "body": {"kind": kind, "name": "test", "program": program, "environment": environment, **body},
            "lease": {"id": self.lease_id, "token": token}, "socket": str(pool.client.path), "limits": limits,
        }  # fmt: skip
        path = places.start_file(self.id)
        path.write_text(json.dumps(start))
        path.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None

    def change_environment(self, **fields: Any) -> None:
        """Change what was recorded of the environment."""
        path = places.start_file(self.id)
        start = json.loads(path.read_text())
        start["body"]["environment"] |= fields
        path.write_text(json.dumps(start))

    def start(self) -> None:
        """Start the runner, as a dispatcher does."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fastgpu_jupyter.jobs.runner", str(self.id)],
            env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
            cwd="/", stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Run to the end, and return the outcome."""
        self.start()
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait for the end of the runner, and return the outcome."""
        assert self.process is not None
        assert self.process.wait(DEADLINE_S) == 0
        assert not self.live()
        return self.outcome()

    def outcome(self) -> dict[str, Any]:
        """Return the outcome."""
        return dict(json.loads(places.outcome_file(self.id).read_text()))

    @property
    def log(self) -> str:
        """What the job has printed."""
        try:
            return places.log_file(self.id).read_text()
        except FileNotFoundError:
            return ""

    def wait_for_log(self, part: str) -> None:
        """Wait until the job has printed something."""
        wait_until(lambda: part in self.log, lambda: f"the log has {part!r}: {self.log!r}")

    def live(self) -> list[int]:
        """The processes of the job."""
        return [
            one.pid for one in processes() if not one.is_zombie and has_variable(one.pid, "FASTGPU_JOB", [self.mark])
        ]

    def manifest(self) -> Manifest:
        """Return the parts of the result."""
        return self.store.manifest(self.outcome()["result"])

    @property
    def store(self) -> ResultStore:
        """The store of results."""
        return ResultStore(places.results_folder())

    def end(self) -> None:
        """Kill what is left, also of a broken build."""
        for pid in self.live():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        for pid in self.live():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
