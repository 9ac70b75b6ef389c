"""A dispatcher of its own for each test, in an isolated environment."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.jobs import client as jobs_client
from fastgpu_jupyter.jobs import places, processes, start
from fastgpu_jupyter.jobs.client import JobsClient
from tests.conftest import ROOT
from tests.helpers import PoolProcess, alive
from tests.waiting import wait_until


@pytest.fixture
def jobs(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsClient]:
    """A client whose dispatcher is started by its first call, and ended with the test; there is no pool manager."""
    monkeypatch.setenv("FASTGPU_SOCKET", str(isolated / "no-pool.sock"))
    yield from with_dispatcher()


@pytest.fixture
def stub_runners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dispatchers start the runner of these tests."""
    monkeypatch.setattr(start, "MODULE", "tests.jobs.stub_dispatcher")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def running(pool: PoolProcess, stub_runners: None) -> Iterator[JobsClient]:
    """The same with a pool of one device, and with the runner of these tests."""
    yield from with_dispatcher()


@pytest.fixture
def dispatched(pool: PoolProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsClient]:
    """The same with a pool of one device, and with real runners and work processes of this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield from with_dispatcher()


def with_dispatcher() -> Iterator[JobsClient]:
    """Yield a client whose dispatcher is started by its first call; end that and its runners."""
    client = JobsClient()
    yield client
    client.close()
    other = jobs_client.running_dispatcher()
    if other is not None:
        pid = other.ping()["pid"]
        other.stop()
        other.close()
        wait_until(lambda: not alive(pid), "The dispatcher ends.")
    store_id = places.jobs_dir() / places.STORE_ID
    if store_id.exists():
        for runner in _runners(store_id.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(runner, signal.SIGKILL)


def _runners(store_id: str) -> list[int]:
    """Return the processes that have the lock of a job of this store open."""
    found = []
    for entry in places.jobs_dir().iterdir():
        if entry.name.isdecimal() and (entry / places.RUNNER_LOCK).exists():
            found += processes_with(entry / places.RUNNER_LOCK)
            found += list(processes.processes_of(places.mark_of(store_id, int(entry.name))))
    return found


def processes_with(path: Path) -> list[int]:
    """Return the processes of this user that have a file open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if any(Path(os.readlink(one)) == path for one in (process / "fd").iterdir()):  # noqa: PTH115
                    found.append(int(process.name))
    return found


def runner_of(job_id: int) -> int:
    """Return the process that holds the lock of a job."""
    [pid] = processes_with(places.job_folder(job_id) / places.RUNNER_LOCK)
    return pid


def kill_dispatcher(client: JobsClient) -> int:
    """Kill the dispatcher with SIGKILL, wait for its end, and return its process number."""
    pid = int(client.ping()["pid"])
    kill(pid)
    return pid


def kill(pid: int) -> None:
    """Kill a process with SIGKILL and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), f"Process {pid} ends.")
