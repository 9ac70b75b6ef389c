"""Leases whose kernels run on another machine: behind a firewall, with another clock, over a network that fails.

``FASTGPU_PARTITION_S`` is for how long the network is partitioned.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from fastgpu_jupyter.pool.clusters.options import EngineOptions
from fastgpu_jupyter.pool.clusters.service import Times
from fastgpu_jupyter.pool.clusters.set_up import ClusterSetUp
from fastgpu_jupyter.wire.client import new_token
from tests.pool.clusters.conftest import end_jobs
from tests.pool.clusters.machines import WITHOUT_SKEW, RemoteEngine, SecondMachine, second_machine
from tests.pool.served import ServedPool
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
PARTITION_S = float(os.environ.get("FASTGPU_PARTITION_S", "3"))
#: How far ahead the clock of the second machine is.
SKEW_S = 3 * 3600
KERNEL = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")
#: A partition that is longer than the limits of both sides' connections, which then make new ones.
ORPHAN_AFTER_S = PARTITION_S + 60


@pytest.fixture
def machine() -> Iterator[SecondMachine]:
    """Yield a second machine."""
    made = second_machine()
    yield made
    made.close()


@pytest.fixture
def remote_pool(tmp_path: Path, machine: SecondMachine) -> Iterator[ServedPool]:
    """Yield a pool whose simulated cluster has its nodes on the second machine."""
    engine = RemoteEngine(machine, tmp_path / "fake", SKEW_S)
    options = EngineOptions("fake", address=machine.here, orphan_after_s=ORPHAN_AFTER_S)
    times = Times(settle_s=0.2, late_s=2.0)
    pool = ServedPool(tmp_path, cluster=ClusterSetUp(engine, options, tmp_path / "cluster", {}, times))
    yield pool
    pool.stop()
    end_jobs(engine)


def test_kernel_on_second_machine_outlives_firewall_and_partition(
    remote_pool: ServedPool, machine: SecondMachine
) -> None:
    """A firewall is named until it is lifted; a partition ends nothing, starts nothing twice, and is billed as time."""
    client = remote_pool.client

    def lease() -> Any:
        return client.lease(lease_id)

    machine.firewall(f"ip daddr {machine.here} drop", f"ip saddr {machine.here} drop")
    token = new_token()
    lease_id = client.request("full", token=token)["id"]
    wait_until(lambda: machine.here in str(lease()["cluster"]["message"]), lambda: f"it says why it waits: {lease()}")
    assert lease()["state"] == "waiting"
    machine.firewall()
    wait_until(lambda: lease()["state"] == "active", lambda: f"the lease is active: {lease()}")
    granted = time.monotonic()
    started = client.start_kernel(lease_id, token, KERNEL, WITHOUT_SKEW, key="secret")
    assert started["ip"] == machine.address
    agent = psutil.Process(started["pid"]).parent()
    assert agent is not None
    assert any("libfaketime" in each.path for each in agent.memory_maps()), "the agent has this machine's clock"
    kernel = BlockingKernelClient()
    info: Any = {name: value for name, value in started.items() if value is not None}
    kernel.load_connection_info(info)
    kernel.start_channels()
    try:
        kernel.wait_for_ready(timeout=DEADLINE_S)
        kernel.execute_interactive("kept = 41", timeout=DEADLINE_S, output_hook=lambda _: None)
        machine.firewall("drop")
        time.sleep(PARTITION_S)  # the partition itself
        assert lease()["state"] == "active"
        machine.firewall()
        said: list[str] = []
        kernel.execute_interactive(
            "print(kept + 1)",
            timeout=DEADLINE_S,
            output_hook=lambda message: said.append(message["content"].get("text", "")),
        )
        assert "".join(said) == "42\n"
    finally:
        kernel.stop_channels()
    again = client.start_kernel(lease_id, token, KERNEL, WITHOUT_SKEW, key="secret")
    assert (again["pid"], again["generation"]) == (started["pid"], 1)
    client.release(lease_id)
    wait_until(lambda: lease()["state"] == "ended", lambda: f"the lease ends: {lease()}")
    bill, lasted_ms = lease(), 1000 * (time.monotonic() - granted)
    assert PARTITION_S * 1000 <= bill["usage"]["active_ms"] <= lasted_ms + 1000
    assert bill["money"]["cost_micro"] == bill["usage"]["active_ms"] * bill["money"]["rate_micro_per_hour"] // 3_600_000
    assert not Path(f"/proc/{started['pid']}").exists()
