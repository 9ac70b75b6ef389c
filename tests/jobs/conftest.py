"""A dispatcher for a test or a module, in an isolated environment, with or without a pool."""

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
from tests.conftest import ROOT, isolate
from tests.helpers import PoolProcess, alive
from tests.waiting import wait_until


@pytest.fixture
def own_jobs(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsClient]:
    """A client whose dispatcher is started by its first call, and ended with the test; there is no pool manager."""
    monkeypatch.setenv("FASTGPU_SOCKET", str(isolated / "no-pool.sock"))
    yield from with_dispatcher()


@pytest.fixture(scope="module")
def dispatcher_without_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsClient]:
    """The same for all tests of a module."""
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        patch.setenv("FASTGPU_SOCKET", str(folder / "no-pool.sock"))
        yield from with_dispatcher()


@pytest.fixture
def jobs(dispatcher_without_pool: JobsClient) -> Iterator[JobsClient]:
    """The same; no job is left to the next test."""
    yield dispatcher_without_pool
    _remove_all(dispatcher_without_pool)


@pytest.fixture(scope="module")
def shared_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment that the tests of a module share, in which dispatchers start the runner of these tests."""
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        patch.setattr(start, "MODULE", "tests.jobs.stub_dispatcher")
        patch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", str(ROOT)))
        yield folder


@pytest.fixture(scope="module")
def shared_pool(shared_environment: Path) -> Iterator[PoolProcess]:
    """A pool with one simulated device, for all tests of a module."""
    process = PoolProcess(shared_environment, "1xA100-80GB")
    process.start()
    yield process
    process.end()


@pytest.fixture(scope="module")
def shared_dispatcher(shared_pool: PoolProcess) -> Iterator[JobsClient]:
    """A client of a dispatcher with that pool."""
    yield from with_dispatcher()


@pytest.fixture
def running(shared_dispatcher: JobsClient, shared_pool: PoolProcess) -> Iterator[JobsClient]:
    """The same; no job is left to the next test."""
    yield shared_dispatcher
    _remove_all(shared_dispatcher)
    live = ("waiting", "preparing", "active", "draining")
    wait_until(
        lambda: not [view for view in shared_pool.client.leases() if view["state"] in live], "All leases have ended."
    )


@pytest.fixture
def dispatched(pool: PoolProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsClient]:
    """A client of a dispatcher and a pool of the test, with real runners and work processes of this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", str(ROOT)))
    yield from with_dispatcher()


def _remove_all(client: JobsClient) -> None:
    unfinished = [view["id"] for view in client.jobs(states=["queued", "running"])]
    for job_id in unfinished:
        client.cancel(job_id)
    for job_id in unfinished:
        client.wait(job_id, 30)
    client.prune(older_ms=-1, bytes_max=0)


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
