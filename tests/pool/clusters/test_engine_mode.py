"""The parts of engine mode that need no cluster: its thread, its allocations, what follows from a status, settings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.cluster import ClusterJob
from fastgpu_jupyter.core.model.entities import ClusterRequest, Enforcement, LeaseRequest
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import EngineUnavailable, InvalidRequest, Message
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.app import FastGPUPool
from fastgpu_jupyter.pool.clusters import engine_thread
from fastgpu_jupyter.pool.clusters.agent_messages import AgentHello, NodeDevice
from fastgpu_jupyter.pool.clusters.allocation import Allocations, want_of
from fastgpu_jupyter.pool.clusters.board import Watched
from fastgpu_jupyter.pool.clusters.engine import Ended, Infeasible, Queued, Running, Want
from fastgpu_jupyter.pool.clusters.engine_thread import EngineThread
from fastgpu_jupyter.pool.clusters.reconcile import command_of, without_lease
from fastgpu_jupyter.pool.devices.registry import CATALOG
from fastgpu_jupyter.pool.host.threads import DaemonThreads
from fastgpu_jupyter.units import GIB
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.spawn import ensure_pool
from tests.helpers import PoolProcess
from tests.waiting import wait_until

REASON = Message.of("cluster.fake_full")


def watched(state: LeaseState, ends_at_ms: int | None = None, job_id: str = "7") -> Watched:
    """A lease with a job."""
    request = LeaseRequest("a100", None, None, None, cluster=ClusterRequest())
    return Watched("l", ClusterJob("fgpu-1-l-1", 1, job_id), state, ends_at_ms, request)


def hello(devices: tuple[NodeDevice, ...] | None = None, **variables: str) -> AgentHello:
    """The report of an agent on ``n1``."""
    return AgentHello(1, "i", "n1", "10.0.0.1", 1, "7", variables, "3.11", None, None, devices)


# -- the thread --------------------------------------------------------------------------------------------------------


def test_engine_thread_gives_up_a_call_that_hangs_and_makes_no_other_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "ANSWER_S", 0.1)
    free, changes, calls = threading.Event(), [], []

    def hang() -> None:
        free.wait()

    def ask() -> int:
        calls.append(1)
        return 5

    async def run() -> None:
        thread = EngineThread(DaemonThreads, lambda: 1000, lambda: changes.append(1))
        with pytest.raises(EngineUnavailable):
            await thread.call(hang)
        assert (thread.unanswered_since, len(changes)) == (1000, 1)
        assert 0 < thread.pause_s() <= engine_thread.RETRY_S
        with pytest.raises(EngineUnavailable):
            await thread.call(ask)
        assert calls == []  # the first one still hangs
        assert thread.pause_s() > engine_thread.RETRY_S
        free.set()
        while True:
            try:
                assert await thread.call(ask) == 5
                break
            except EngineUnavailable:  # the thread is not free yet
                await asyncio.sleep(0.01)
        assert (thread.unanswered_since, thread.reason, thread.pause_s(), len(changes)) == (None, None, 0.0, 2)
        thread.close()

    asyncio.run(run())


# -- what follows from a status ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lease", "status", "expected"),
    [
        (watched(LeaseState.WAITING), Queued(REASON), None),
        (watched(LeaseState.WAITING), Running("n1", 5), None),
        (watched(LeaseState.WAITING), Infeasible(REASON), c.ClusterJobRefused("l", "fgpu-1-l-1", REASON)),
        (watched(LeaseState.ACTIVE), Infeasible(REASON), None),
        (watched(LeaseState.ACTIVE), Ended(REASON), c.ClusterJobEnded("l", "fgpu-1-l-1", REASON)),
        (watched(LeaseState.DRAINING), Ended(REASON, 9), c.ClusterJobEnded("l", "fgpu-1-l-1", REASON, 9)),
        (watched(LeaseState.ACTIVE), Running("n1", 60_000), c.ClusterTimeSet("l", "fgpu-1-l-1", 60_000)),
        (watched(LeaseState.ACTIVE, 90_000), Running("n1", 60_000), None),
        (watched(LeaseState.ACTIVE, 90_001), Running("n1", 60_000), c.ClusterTimeSet("l", "fgpu-1-l-1", 60_000)),
    ],
)
def test_command_of_reports_what_changes_the_lease(lease: Watched, status: object, expected: object) -> None:
    assert command_of(lease, status) == expected  # type: ignore[arg-type]


def test_without_lease_finds_unknown_jobs_and_second_ones_of_a_name() -> None:
    lease = watched(LeaseState.ACTIVE)
    assert without_lease({"fgpu-1-l-1": "7"}, [lease]) == {}
    assert without_lease({"fgpu-1-l-1": "8", "fgpu-1-x-1": "9"}, [lease]) == {"fgpu-1-l-1": "8", "fgpu-1-x-1": "9"}


# -- allocations -------------------------------------------------------------------------------------------------------


def test_allocation_has_the_devices_memory_rate_and_enforcement_that_are_known() -> None:
    allocations = Allocations(CATALOG, {"h100": 4.0}, {"v100": 32 * GIB})
    seen = NodeDevice(0, "GPU-1", "NVIDIA A100-SXM4-80GB", 80 * GIB)
    by_nvml = allocations.of_hello(Want(1), hello((seen,)), Running("n1", 9, "a100", isolated=True))
    assert [tuple(device) for device in by_nvml.devices] == [("GPU-1", "NVIDIA A100-SXM4-80GB", 80 * GIB, 2_500_000)]
    assert (by_nvml.milli, by_nvml.enforcement, by_nvml.ends_at_ms) == (1000, Enforcement.HARDWARE, 9)
    two = allocations.of_hello(Want(2, ("h100",)), hello(SLURM_JOB_GPUS="2,3"), None)
    assert [device.name for device in two.devices] == ["n1:gpu2", "n1:gpu3"]
    assert [(device.memory_bytes, device.rate_micro_per_hour) for device in two.devices] == [(None, 4_000_000)] * 2
    assert (two.milli, two.enforcement) == (2000, Enforcement.NONE)
    half = allocations.of_hello(Want(1, ("v100",), (1, 4)), hello(SLURM_JOB_GPUS="0"), Running("n1", None, "v100"))
    assert (half.milli, half.devices[0].memory_bytes, half.enforcement) == (250, 8 * GIB, Enforcement.NONE)
    mig = allocations.of_hello(Want(1, partition_profile="1g.10gb"), hello((seen,)), None)
    assert (mig.milli, mig.devices[0].memory_bytes, mig.enforcement) == (142, 10 * GIB, Enforcement.HARDWARE)
    assert allocations.of_hello(Want(1), hello(), None).devices == ()  # no GPU was given


def test_memory_of_a_model_is_unknown_where_its_name_has_several() -> None:
    allocations = Allocations(CATALOG, {}, {})
    assert (allocations.memory_of("a100"), allocations.least_memory_of("a100")) == (None, 40 * GIB)
    assert allocations.memory_of("nvidia_a100_80gb_pcie") == 80 * GIB
    assert (allocations.memory_of("rtx_4090"), allocations.memory_of("abc")) == (24 * GIB, None)
    assert allocations.rate_of("a100") == 1_800_000


def test_want_of_has_all_that_a_request_says() -> None:
    options = ClusterRequest("gpu", time_limit_ms=5)
    request = LeaseRequest("a100:1/2", None, None, None, cpu_milli=2000, host_memory_bytes=GIB, cluster=options)
    assert want_of(request) == Want(
        1, ("a100",), (1, 2), cpu_milli=2000, host_memory_bytes=GIB, time_limit_ms=5, options=options
    )


# -- settings ----------------------------------------------------------------------------------------------------------


def test_system_pool_refuses_an_engine() -> None:
    app = FastGPUPool()
    app.initialize(["--system", "--FastGPUPool.cluster=slurm"])
    with pytest.raises(InvalidRequest) as refusal:
        app._require_valid_settings()
    assert "user's own pool only" in text_of(refusal.value)


def test_unknown_engine_is_refused_with_the_known_ones(tmp_path: object) -> None:
    app = FastGPUPool()
    app.initialize(["--FastGPUPool.cluster=slrum", "--FastGPUPool.cluster_time_limit=4h"])
    app._require_valid_settings()
    with pytest.raises(InvalidRequest) as refusal:
        app._set_up_cluster(tmp_path)  # type: ignore[arg-type]
    assert "Known: slurm" in text_of(refusal.value)
    assert app.cluster_options().defaults.time_limit_ms == 14_400_000


@pytest.mark.slow
def test_pool_started_in_place_of_a_killed_one_has_its_cluster_and_without_it_none_starts(isolated: Path) -> None:
    pool = PoolProcess(isolated, "")
    pool.start("--FastGPUPool.cluster=fake:2xA100-80GB", "--FastGPUPool.cluster_partition=gpu")
    try:
        lease_id = pool.client.request("a100", token=new_token())["id"]
        wait_until(lambda: pool.client.lease(lease_id)["state"] == "active", "it is granted")
        pool.kill()
        refused = subprocess.run([*pool.command(), "pool"], capture_output=True, text=True, check=False)
        assert (refused.returncode, "Leases of a cluster are not over" in refused.stderr) == (1, True)
        client = ensure_pool()
        view = client.pool()
        assert view["cluster"] is not None
        assert "FastGPUPool.cluster = " in str(view["carried_over"])
        assert client.lease(lease_id)["state"] == "active"
        client.release(lease_id)
        wait_until(lambda: client.lease(lease_id)["state"] == "ended", "its job is over")
    finally:
        pool.end()


@pytest.mark.slow
def test_pool_of_local_devices_imports_nothing_of_engines() -> None:
    code = "import sys, fastgpu_jupyter.pool.app; print([n for n in sys.modules if 'clusters' in n or n == 'zmq'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
