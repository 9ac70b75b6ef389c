"""The real pool manager on NVIDIA GPUs that are simulated below ``pynvml`` (see ``tests/nvml/README.md``)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.helpers import KernelHelper, PoolProcess, fastgpu_process
from tests.nvml.machine import FakeMachine
from tests.pool.conftest import machine_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
pool = machine_pool


def test_pool_serves_eight_gpus_as_nvml_shows_them(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("8xA100-SXM4-80GB")
    pool.start()
    devices = pool.client.devices()
    assert [device["id"] for device in devices] == [gpu.uuid for gpu in machine.gpus]
    assert {(one["model"], one["simulated"], one["health"]["state"]) for one in devices} == {
        ("A100-SXM4-80GB", False, "healthy")
    }  # fmt: skip
    assert devices[0]["memory"]["total_bytes"] == 80 * GIB


@pytest.mark.parametrize("old_driver", [False, True])
def test_lease_ends_once_the_kernels_memory_is_gone(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, old_driver: bool
) -> None:
    machine = use_machine("1xA100-SXM4-80GB", old_driver=old_driver)
    (gpu,) = machine.gpus
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    assert kernel.run("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])").stream().strip() == gpu.uuid

    gpu.add_process(kernel.pid, 3 * GIB, utilization=40)
    view = wait_until(
        lambda: next((one for one in pool.live() if one["usage"]["utilization_percent"] == 40), None),
        "its use is measured",
    )
    assert 3 * GIB <= view["memory"]["used_bytes"] < 4 * GIB

    waiting = pool.client.request("full", token=new_token())["id"]
    pool.client.release(kernel.lease_id)
    pool.wait_state(kernel.lease_id, "draining")
    machine.forget_calls()
    wait_until(lambda: machine.calls().get("nvmlDeviceGetComputeRunningProcesses_v3", 0) > 2, "its memory is watched")
    assert pool.state(waiting) == "waiting"
    gpu.remove_process(kernel.pid)
    pool.wait_state(kernel.lease_id, "ended")
    pool.wait_state(waiting, "active")


def test_pool_answers_while_nvml_hangs(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    pool.start()
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    machine.hang()
    machine.forget_calls()
    wait_until(machine.calls, "a call hangs")
    assert pool.client.health()
    assert len(pool.client.devices()) == 2
    assert pool.state(lease_id) == "active"
    machine.lift()


def test_pool_without_a_loaded_driver_says_so(use_machine: Build, pool: PoolProcess) -> None:
    use_machine("2xL4").no_driver()
    pool.start()
    assert pool.client.devices() == []
    assert "does not answer (Driver Not Loaded)" in str(pool.client.pool()["message"])


def test_probe_reports_what_nvml_answers(use_machine: Build) -> None:
    machine = use_machine("1xH200-141GB")
    found = fastgpu_process("probe")
    assert (found.returncode, found.stdout.strip()) == (0, "H200")
    machine.gpus[0].lose()
    assert "no GPU" in fastgpu_process("probe").stdout
    machine.no_driver()
    broken = fastgpu_process("probe")
    assert (broken.returncode, "Driver Not Loaded" in broken.stdout) == (4, True)
