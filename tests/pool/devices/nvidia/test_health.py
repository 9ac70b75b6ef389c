"""Reports of NVIDIA's driver reach notebooks and administrators: real ``pynvml``, real pool, simulated GPUs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.helpers import KernelHelper, PoolProcess, fastgpu, fastgpu_process
from tests.nvml.machine import FakeMachine
from tests.pool.conftest import machine_pool
from tests.views import device_of, text, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
Build = Callable[..., FakeMachine]
pool = machine_pool


def device(pool: PoolProcess, number: int) -> Any:
    return pool.client.devices()[number]


def until_health(pool: PoolProcess, number: int, health: str) -> Any:
    return wait_until(
        lambda: found if (found := device(pool, number))["health"]["state"] == health else None,
        f"GPU {number} is {health}",
    )


def watched(machine: FakeMachine) -> None:
    """The pool waits for events."""
    wait_until(lambda: machine.calls().get("nvmlEventSetWait_v2"), "events are waited for")


def test_fault_of_a_program_is_shown_in_its_notebook(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper
) -> None:
    machine = use_machine("2xA100-SXM4-80GB")
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    held = device_of(pool.client.lease(kernel.lease_id))
    gpu = next(gpu for gpu in machine.gpus if gpu.uuid == held)
    gpu.add_process(kernel.pid, 2**30)
    watched(machine)
    gpu.xid(31)
    message = wait_until(lambda: text(pool.client.lease(kernel.lease_id)["health"]["message"]), "the fault is reported")
    assert "Your code read or wrote outside its memory on the GPU: Xid 31." in message
    wait_until(lambda: "Xid 31" in kernel.run("1 + 1").stream("stderr"), "the notebook says so")
    assert device(pool, gpu.place)["health"]["state"] == "healthy"
    status = fastgpu("status").stdout
    assert f"{kernel.lease_id}: Your code" in status


def test_gpu_that_needs_a_reset_is_out_of_service_until_then(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    pool.start()
    watched(machine)
    machine.gpus[0].need(1)
    ill = until_health(pool, 0, "faulty")
    assert "reset" in text(ill["health"]["message"])
    assert f"{machine.gpus[0].uuid}: {text(ill['health']['message'])}" in fastgpu("status").stdout
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    assert device_of(pool.client.lease(lease_id)) == machine.gpus[1].uuid
    machine.gpus[0].need(0)
    until_health(pool, 0, "healthy")


def test_gpu_with_a_fault_is_out_of_service_until_restored(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xL4")
    (gpu,) = machine.gpus
    pool.start()
    watched(machine)
    gpu.set(remapped=(0, 1, True, False))
    gpu.xid(63)
    until_health(pool, 0, "suspect")
    refused = fastgpu("drain", "--undo", gpu.uuid)
    assert refused.returncode == 1
    assert "replaced when it is reset" in refused.stderr
    gpu.set(remapped=(0, 1, False, False))
    assert "in service again" in fastgpu("drain", "--undo", gpu.uuid).stdout
    assert device(pool, 0)["health"]["state"] == "healthy"


def test_gpu_off_the_bus_ends_its_leases(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    pool.start()
    watched(machine)
    leases = [pool.client.request("full", token=new_token())["id"] for _ in range(3)]
    for lease_id in leases[:2]:
        pool.wait_state(lease_id, "active")
    lost = device_of(pool.client.lease(leases[0]))
    next(gpu for gpu in machine.gpus if gpu.uuid == lost).lose()
    view = wait_until(
        lambda: value_of(pool.client.lease(leases[0])["end_reason"]) and pool.client.lease(leases[0]), "it is lost"
    )
    assert value_of(view["end_reason"]) == "device_lost"
    assert pool.state(leases[1]) == "active"
    pool.client.release(leases[1])
    pool.wait_state(leases[2], "active")
    assert device_of(pool.client.lease(leases[2])) != lost


def test_doctor_reports_what_nvml_shows(use_machine: Build) -> None:
    machine = use_machine("1xH200-141GB, 1xL4")
    found = fastgpu_process("doctor", "--json")
    output = json.loads(found.stdout)
    assert (found.returncode, output["verdict"]) == (0, "serves")
    states = {one["subject"]: one["state"] for one in output["findings"]}
    assert (states["driver"], states["GPU 0"], states["exclusive"]) == ("ok", "ok", "ok")
    machine.gpus[1].lose()
    assert fastgpu_process("doctor").returncode == 0
    machine.no_driver()
    broken = fastgpu_process("doctor")
    assert (broken.returncode, "Driver Not Loaded" in broken.stdout) == (4, True)


def test_doctor_with_an_old_driver_reports_what_it_lacks(use_machine: Build) -> None:
    use_machine("1xA100-SXM4-80GB MIG", old_driver=True)
    found = fastgpu_process("doctor")
    assert found.returncode == 0
    output = " ".join(found.stdout.split())
    assert "needs a driver of R570 or newer, this is 515" in output
    assert "from R615 on, this is 515" in output
