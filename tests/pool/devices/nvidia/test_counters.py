"""Counters through the real ``pynvml``, of GPUs that are simulated below it: usage by lease, MIG, garbage, silence."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.helpers import PoolProcess
from tests.nvml.machine import FakeMachine
from tests.nvml.stub import Stub
from tests.pool.conftest import machine_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
pool = machine_pool


@contextlib.contextmanager
def kernel(pool: PoolProcess, profile: str) -> Iterator[tuple[str, int, int]]:
    """A lease, the process that holds it, and a child of that process."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, token = int(process.stdout.readline()), new_token()
        lease = pool.client.request(profile, token=token)
        pool.client.bind(lease["id"], token, process.pid)
        try:
            yield lease["id"], process.pid, child
        finally:
            os.kill(child, 9)


def used(pool: PoolProcess, lease_id: str) -> tuple[int | None, int | None]:
    lease = pool.lease(lease_id)
    return lease["usage"]["utilization_percent"], lease["memory"]["used_bytes"]


def test_sample_of_leases_on_one_gpu_is_that_of_their_processes(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB")
    (gpu,) = machine.gpus
    pool.start()
    with kernel(pool, "half") as (one, parent, child), kernel(pool, "half") as (other, _, _):
        gpu.add_process(parent, 2 * GIB, utilization=30)
        gpu.add_process(child, GIB, utilization=15)
        gpu.add_process(os.getpid(), 7 * GIB, utilization=20)  # of no lease
        wait_until(lambda: used(pool, one) == (45, 3 * GIB), "a lease uses what its process and its child do")
        assert used(pool, other) == (0, 0)
        device = pool.client.devices()[0]
        assert device["usage"]["utilization_percent"] == 65
        assert device["memory"]["used_bytes"] is not None
        assert device["memory"]["used_bytes"] >= 10 * GIB
        history = pool.client.lease_history(one)
        assert 3 * GIB in history["memory_used_bytes"]
        # Power and energy are not measured by process.
        assert set(history["power_milliwatt"]) == set(history["temperature_celsius"]) == {None}
        assert history["energy_millijoule"] is None
        assert any(pool.client.device_history(device["id"])["power_milliwatt"])
        # A process that cannot be seen from here may be of either lease.
        gpu.add_process(2**22 - 1, GIB, stays=True)
        wait_until(lambda: used(pool, one) == used(pool, other) == (None, None), "nothing can be told of either")


def test_sample_of_a_whole_gpu_has_energy(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB")
    machine.gpus[0].set(power_w=250.0, utilization=40, temperature_c=61)
    pool.start()
    with kernel(pool, "full") as (lease_id, _, _):
        found = wait_until(
            lambda: next(
                (seen for seen in [pool.client.lease_history(lease_id)] if (seen["energy_millijoule"] or 0) > 0), None
            ),
            "its energy is measured",
        )
        assert 250_000 in found["power_milliwatt"]
        assert 61 in found["temperature_celsius"]
        (device,) = pool.client.devices()
        assert 61 in pool.client.device_history(device["id"])["temperature_celsius"]
        assert 40 in found["utilization_percent"]


@pytest.mark.parametrize("old_driver", [False, True])
def test_sample_of_impossible_values_is_unknown(use_machine: Build, pool: PoolProcess, old_driver: bool) -> None:
    machine = use_machine("1xA100-SXM4-80GB", old_driver=old_driver)
    machine.gpus[0].set(utilization=40)
    pool.start()

    def seen() -> tuple[int | None, bool]:
        device = pool.client.devices()[0]
        return device["usage"]["utilization_percent"], device["memory"]["used_bytes"] is not None

    wait_until(lambda: seen() == (40, True), "the device says what it does")
    for byte in (0xFF, 0x7F):
        machine.garble("nvmlDeviceGetUtilizationRates", byte=byte)
        wait_until(lambda: seen() == (None, True), "its utilization is not known")
        machine.lift()
        wait_until(lambda: seen() == (40, True), "the device says what it does again")


def test_sample_of_a_silent_gpu_is_unknown_until_it_answers(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    pool.start()
    wait_until(lambda: pool.client.devices()[0]["memory"]["used_bytes"] is not None, "the counters are read")
    assert pool.client.pool()["counters_silent_since"] is None
    machine.hang()
    since = wait_until(lambda: pool.client.pool()["counters_silent_since"], "it is said that they are not")
    assert {device["memory"]["used_bytes"] for device in pool.client.devices()} == {None}
    assert pool.client.pool()["counters_silent_since"] == since
    machine.lift()
    wait_until(lambda: pool.client.pool()["counters_silent_since"] is None, "they are read again")


# -- MIG devices ------------------------------------------------------------------------------------------------------

READER = """
import json, sys, time
import pynvml
from fastgpu_jupyter.pool.devices.nvidia.counters import Counters
pynvml.nvmlInit()
counters = Counters(pynvml)
for line in sys.stdin:
    print(json.dumps(counters.partitions(json.loads(line))), flush=True)
"""


class Reader:
    """A process that reads MIG devices."""

    def __init__(self, stub: Stub, machine: FakeMachine) -> None:
        pipe, environment = subprocess.PIPE, os.environ | stub.environment(machine)
        command = [sys.executable, "-c", READER]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def __call__(self, *partition_ids: str) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(partition_ids) + "\n")
        self.process.stdin.flush()
        return [usage[:2] for usage in json.loads(self.process.stdout.readline()).values()]


@pytest.fixture
def read(nvml_stub: Stub, fake_machine: Build) -> Iterator[Callable[[str], tuple[FakeMachine, Reader]]]:
    readers: list[Reader] = []

    def start(description: str) -> tuple[FakeMachine, Reader]:
        machine = fake_machine(description)
        readers.append(Reader(nvml_stub, machine))
        return machine, readers[-1]

    yield start
    for reader in readers:
        reader.process.communicate(timeout=20)


def test_sample_of_mig_devices_has_their_own_memory_and_utilization(
    read: Callable[[str], tuple[FakeMachine, Reader]],
) -> None:
    machine, ask = read("1xH100-80GB MIG")
    (gpu,) = machine.gpus
    idle, busy = gpu.create_instance("1g.10gb", 0), gpu.create_instance("3g.40gb", 4)
    gpu.add_process(os.getpid(), 5 * GIB, utilization=60, instance=busy)
    (none, before), (_, memory_bytes) = ask(idle.uuid, busy.uuid)
    assert none is None  # it takes two samples
    assert memory_bytes - before >= 4 * GIB
    percents = wait_until(
        lambda: next((found for found in [[one[0] for one in ask(idle.uuid, busy.uuid)]] if None not in found), None),
        "both samples were taken",
    )
    assert percents[0] == 0
    assert percents[1] > 0
    gone = busy.uuid
    busy.destroy()  # by another program
    wait_until(lambda: ask(gone) == [[None, None]], "nothing is known of it")
    assert ask(idle.uuid)[0][1] == before


def test_sample_of_a_mig_device_on_an_older_gpu_lacks_utilization(
    read: Callable[[str], tuple[FakeMachine, Reader]],
) -> None:
    machine, ask = read("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    part = gpu.create_instance("3g.40gb", 0)
    gpu.add_process(os.getpid(), 5 * GIB, utilization=60, instance=part)
    for _ in range(3):
        ((percent, memory_bytes),) = ask(part.uuid)
        assert percent is None
        assert memory_bytes >= 5 * GIB
