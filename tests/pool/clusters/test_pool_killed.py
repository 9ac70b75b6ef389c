"""A pool manager in engine mode is killed, and started again: leases, kernels and commands."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import PoolProcess
from tests.pool.clusters.agents import SMALL_KERNEL
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
CLUSTER = "--FastGPUPool.cluster=fake:2xA100-80GB"


@pytest.fixture
def pool(isolated: Path) -> Iterator[PoolProcess]:
    """Yield a pool manager with a simulated cluster; it ends its leases, and so their jobs."""
    process = PoolProcess(isolated, "")
    process.start(CLUSTER)
    yield process
    for lease in process.client.leases():
        with contextlib.suppress(FastGPUError):
            process.client.release(lease["id"])
    wait_until(lambda: not jobs_of(isolated), "the agents have ended")
    process.end()


def jobs_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of the jobs whose home is ``folder``: agents, kernels and what is above them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder) and "SLURM_JOB_ID" in process.environ():
                found.append(process)
    return found


def kernels_of(folder: Path) -> list[int]:
    """Return the kernels of these jobs."""
    return [each.pid for each in jobs_of(folder) if SMALL_KERNEL[3] in each.cmdline()]


def test_killed_pool_manager_finds_kernel_again_and_starts_none_twice(
    pool: PoolProcess, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed while a kernel starts: the next one gets that kernel, at the same port, and keeps its lease."""
    monkeypatch.setenv("HOME", str(isolated))  # for processes that are started from now on
    pool.kill()
    pool.start(CLUSTER)
    token, client = new_token(), pool.client
    lease_id = client.request("a100", token=token)["id"]
    wait_until(lambda: client.lease(lease_id)["state"] == "active", lambda: f"it is active: {client.lease(lease_id)}")
    argv = (*SMALL_KERNEL[:-1], str(isolated / "facts"))

    def start() -> None:
        with contextlib.suppress(FastGPUError):
            client.start_kernel(lease_id, token, argv, {}, key="secret", cwd="/")

    starting = threading.Thread(target=start)
    starting.start()
    wait_until(lambda: kernels_of(isolated), "the agent has begun to start the kernel")
    pool.kill()
    starting.join()
    pool.start(CLUSTER)

    def again() -> int | None:
        with contextlib.suppress(FastGPUError):  # the agent is not there again yet
            return int(client.start_kernel(lease_id, token, argv, {}, key="secret", cwd="/")["pid"])
        return None

    pid = wait_until(again, lambda: f"the kernel is there: {pool.log[-2000:]}")
    assert kernels_of(isolated) == [pid], "a kernel was started twice"
    assert client.lease(lease_id)["state"] == "active"
    # Its job ends while no pool manager is there, and is billed until then.
    pool.kill()
    for process in jobs_of(isolated):
        with contextlib.suppress(psutil.Error):
            process.terminate()
    wait_until(lambda: not jobs_of(isolated), "the job has ended")
    (end,) = isolated.rglob("*.end")
    ended_ms = end.stat().st_mtime_ns // 1_000_000
    pool.start(CLUSTER)
    wait_until(lambda: client.lease(lease_id)["state"] == "ended", "its end is noticed")
    ended = client.lease(lease_id)
    granted_at, noticed_at = ended["times"]["granted_at"], ended["times"]["ended_at"]
    assert granted_at is not None
    assert noticed_at is not None
    assert noticed_at - ended_ms > 200
    assert abs(granted_at + ended["usage"]["active_ms"] - ended_ms) < 50, "as far as the clocks agree"
    (statement,) = client.statements(time.strftime("%Y-%m", time.gmtime()))
    assert sum(line["active_ms"] for line in statement["lines"]) == ended["usage"]["active_ms"]
