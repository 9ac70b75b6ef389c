"""What every engine guarantees, as tests: a class for an engine inherits :class:`EngineContract` and has a ``site``.

The jobs of these tests run a program in place of the agent: it says that it is there by a file, and ends on SIGTERM.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fastgpu_jupyter.errors import InvalidRequest, Message
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Engine, Queued, Running, Status, Want
from tests.waiting import wait_until

#: Reads its specification as the agent does, notes what it was given, and ends on SIGTERM.
PROGRAM = """
import json, os, signal, sys
spec = json.loads(sys.stdin.buffer.read())
seen = {"arguments": open("/proc/self/cmdline").read(), "environment": open("/proc/self/environ").read(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("GPU_DEVICE_ORDINAL"))}
with open(spec["path"] + ".new", "w") as file:
    json.dump(seen, file)
os.rename(spec["path"] + ".new", spec["path"])
signal.sigwait({signal.SIGTERM})
"""


class Site(NamedTuple):
    """An engine with nothing in it, and requests that fit it."""

    engine: Engine
    one: Want  #: for some of its GPUs
    rest: Want  #: which does not fit beside the former, and would fit alone
    impossible: Want
    folder: Path  #: that its hosts see, too


class Job:
    """A job of a test, whose specification has a secret."""

    def __init__(self, site: Site, want: Want, prefix: str) -> None:
        self.name = f"{prefix}{secrets.token_hex(4)}-1"
        self.secret, self.path = secrets.token_hex(32), site.folder / self.name
        spec = json.dumps({"path": str(self.path), "token": self.secret}).encode()
        self._engine = site.engine
        self.id = site.engine.submit(want, AgentSpec(PROGRAM, spec), self.name)

    @property
    def status(self) -> Status:
        """Its status."""
        return self._engine.statuses([self.id])[self.id]


def _beside(engine: Engine, job_id: str) -> str:
    """The GPUs that a program sees which the launcher of a job runs; what is written to it is what it reads."""
    code = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['FASTGPU_REMOTE'], sys.stdin.read())"
    command = [*engine.launcher(job_id), sys.executable, "-c", code]
    done = subprocess.run(command, input="given", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    devices, remote, given = done.stdout.split()
    assert (remote, given) == ("1", "given")
    failed = subprocess.run([*engine.launcher(job_id), "sh", "-c", "exit 4"], capture_output=True, check=False)
    assert failed.returncode == 4
    return devices


class EngineContract:
    """The guarantees of every engine."""

    @pytest.fixture
    def site(self) -> Site:
        """Return an engine without jobs of ours."""
        raise NotImplementedError

    @pytest.fixture
    def submit(self, site: Site) -> Callable[[Want], Job]:
        """Submits jobs of one pool."""
        prefix = f"fgpu-{secrets.token_hex(4)}-"
        return lambda want: Job(site, want, prefix)

    def test_job_runs_with_its_specification_and_ends_when_it_is_cancelled(
        self, site: Site, submit: Callable[[Want], Job]
    ) -> None:
        job = submit(site.one)
        assert site.engine.list("fgpu-")[job.name] == job.id
        wait_until(lambda: job.path.exists() and isinstance(job.status, Running), "the job runs")
        running = job.status
        assert isinstance(running, Running)
        assert running.host
        assert running.ends_at_ms is None or running.ends_at_ms > 1_700_000_000_000
        alone = site.engine.running(job.id)
        assert alone is not None
        assert (alone.host, alone.model, alone.isolated) == (running.host, running.model, running.isolated)
        seen = json.loads(job.path.read_text())
        assert job.secret not in seen["arguments"] + seen["environment"]
        assert seen["gpus"]
        assert not _is_in_arguments(job.secret)
        assert _beside(site.engine, job.id) == seen["gpus"]
        site.engine.cancel(job.id)
        wait_until(lambda: isinstance(job.status, Ended), "the job ends")
        assert site.engine.running(job.id) is None
        assert job.name not in site.engine.list("fgpu-")
        site.engine.cancel(job.id)  # harmless
        assert _sentence(job.status)

    def test_job_that_does_not_fit_waits_with_a_reason_and_runs_later(
        self, site: Site, submit: Callable[[Want], Job]
    ) -> None:
        first, second = submit(site.one), submit(site.rest)
        wait_until(lambda: isinstance(first.status, Running), "the first job runs")
        waiting = second.status
        assert isinstance(waiting, Queued)
        assert _sentence(waiting)
        assert waiting.position is None or waiting.position >= 1
        both = site.engine.statuses([first.id, second.id])
        assert isinstance(both[first.id], Running)
        assert isinstance(both[second.id], Queued)
        site.engine.cancel(first.id)
        wait_until(lambda: isinstance(second.status, Running), "the second job runs")

    def test_job_that_is_cancelled_while_it_waits_never_runs(self, site: Site, submit: Callable[[Want], Job]) -> None:
        first, second = submit(site.one), submit(site.rest)
        wait_until(lambda: isinstance(first.status, Running), "the first job runs")
        site.engine.cancel(second.id)
        wait_until(lambda: isinstance(second.status, Ended), "the second job ends")
        site.engine.cancel(first.id)
        wait_until(lambda: isinstance(first.status, Ended), "the first job ends")
        assert not second.path.exists()

    def test_request_that_can_never_be_served_is_refused_and_leaves_nothing(
        self, site: Site, submit: Callable[[Want], Job]
    ) -> None:
        before = site.engine.list("fgpu-")
        for attempt in (lambda: site.engine.check(site.impossible), lambda: submit(site.impossible)):
            with pytest.raises(InvalidRequest) as refusal:
                attempt()
            assert render(refusal.value.message)
        assert site.engine.list("fgpu-") == before
        expected_ms = site.engine.check(site.one)
        assert expected_ms is None or expected_ms > 1_700_000_000_000

    def test_unknown_job_has_ended_and_other_names_are_not_listed(
        self, site: Site, submit: Callable[[Want], Job]
    ) -> None:
        assert site.engine.statuses([]) == {}
        found = site.engine.statuses(["999999"])
        assert isinstance(found["999999"], Ended)
        assert site.engine.running("999999") is None
        site.engine.cancel("999999")
        job = submit(site.one)
        assert site.engine.list("fgpu-ffffffff-") == {}
        site.engine.cancel(job.id)
        wait_until(lambda: isinstance(job.status, Ended), "the job ends")

    def test_kinds_describe_gpus_that_can_be_asked_for(self, site: Site) -> None:
        kinds = site.engine.kinds()
        assert kinds
        assert len(set(kinds)) == len(kinds)
        for kind in kinds:
            assert kind.per_node_max >= 1
            assert kind.partition
            site.engine.check(Want(1, (kind.model,), options=site.one.options))


def _sentence(status: Status) -> str:
    """Return the sentence of a status with a reason."""
    assert not isinstance(status, Running)
    assert isinstance(status.reason, Message)
    return render(status.reason)


def _is_in_arguments(secret: str) -> bool:
    """Return whether the arguments of any process have the secret."""
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 (names)
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except OSError:
            continue
        if secret in arguments:
            return True
    return False
