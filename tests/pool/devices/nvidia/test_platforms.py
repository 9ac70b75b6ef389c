"""What the driver says of a GPU where processes or memory cannot be seen: unknown is neither none nor silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import Health
from fastgpu_jupyter.pool.devices.driver import Driver, ListedProcesses, UnlistedProcesses
from tests.nvml.machine import FakeMachine
from tests.nvml.platforms import PLATFORMS, Platform
from tests.nvml.stub import Stub
from tests.pool.devices.remote_driver import remote
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
#: Runs an expression in the container, and the machine below it.
Container = tuple[Callable[[str], Any], FakeMachine]
CODE = """
from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver
from fastgpu_jupyter.pool.devices.nvidia.doctor import nvml_facts
from fastgpu_jupyter.pool.devices.registration import DriverOptions
from fastgpu_jupyter.pool.host import pid_namespace
if {own_namespace}:
    pid_namespace.is_first = lambda *_: False

class Watched(NvidiaDriver):
    def check(self, device_id):
        return self.watch().check(device_id)
    def facts(self):
        return nvml_facts.read()
"""


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> Platform:
    return PLATFORMS[request.param]


@pytest.fixture
def machine(fake_machine: Build, platform: Platform) -> FakeMachine:
    machine = fake_machine("1xL4")
    platform.play(machine)
    return machine


@pytest.fixture
def driver(nvml_stub: Stub, machine: FakeMachine, platform: Platform) -> Iterator[Driver]:
    code = CODE.replace("{own_namespace}", str(platform.own_namespace))
    driver = remote(nvml_stub.environment(machine), code, "Watched(DriverOptions())")
    yield driver
    driver.close()


def test_driver_tells_unknown_from_none_and_from_silence(driver: Any, machine: FakeMachine, platform: Platform) -> None:
    (gpu,) = machine.gpus
    specs, message = driver.inventory()
    assert [spec.id for spec in specs] == ([gpu.uuid] if platform.leased else [])
    if not platform.leased:
        assert "may not read it" in str(message)
        assert "does not answer" not in str(message)
    assert driver.check(gpu.uuid).health is Health.HEALTHY, "a refusal is an answer"
    assert driver.health(gpu.uuid)[0] is Health.HEALTHY
    (found,) = driver.facts().gpus
    assert found.error is None
    assert found.lists_processes is (platform.listed or platform.own_namespace)

    gpu.add_process(os.getpid(), 3 * GIB)
    said = driver.processes(gpu.uuid)
    in_use = 0 if platform.listed and not platform.lists_none else 3 * GIB
    if platform.listed:
        pids = [] if platform.lists_none else [os.getpid()]
        assert isinstance(said, ListedProcesses)
        assert [process.pid for process in said.processes] == pids
    else:
        assert isinstance(said, UnlistedProcesses)
    assert said.unowned_bytes == (in_use if platform.knows_memory else None)
    sample = driver.sample([])
    if platform.leased:
        assert (gpu.uuid in sample.unlisted) is not platform.listed
        assert (gpu.uuid in sample.processes) is platform.listed
        assert sample.unowned_bytes.get(gpu.uuid) == (in_use if platform.knows_memory else None)


@pytest.mark.parametrize("error", [1, 9])
def test_driver_that_was_loaded_again_gets_another_session(nvml_stub: Stub, fake_machine: Build, error: int) -> None:
    machine = fake_machine("1xL4")
    driver: Any = remote(
        nvml_stub.environment(machine), CODE.replace("{own_namespace}", "False"), "Watched(DriverOptions())"
    )
    try:
        (before,), _ = driver.inventory()
        machine.fail("nvmlDeviceGetCount_v2", error, times=1)
        machine.forget_calls()
        assert driver.inventory()[0] == [before]
        assert (machine.calls()["nvmlShutdown"], machine.calls()["nvmlInitWithFlags"]) == (1, 1)
    finally:
        driver.close()


#: What happens in the container: each line that is read is a step, each line that is written is its result.
INSIDE = """
import json, subprocess, sys, time
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_socket
from fastgpu_jupyter.errors import FastGPUError
subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
pool = subprocess.Popen([sys.executable, "-m", "fastgpu_jupyter", "pool", "--Parking.idle_s=0"])
client = PoolClient(user_socket())
def wait(ask, wanted):
    ends = time.monotonic() + %(deadline)d
    while time.monotonic() < ends:
        try:
            found = ask()
            if found in wanted:
                return found
        except FastGPUError:
            found = None
        time.sleep(0.1)
    return f"not {wanted} but {found}"
def request():
    kernel, token = subprocess.Popen(["sleep", "600"]), new_token()
    lease = client.request("full", token=token)["id"]
    client.bind(lease, token, kernel.pid)
    return lease, kernel
def state(lease):
    return client.lease(lease)["state"]
device = lambda: client.devices()[0]
wait(lambda: len(client.devices()), [1])
for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
pool.terminate()
"""


@pytest.fixture
def container(
    isolated: Path, nvml_stub: Stub, fake_machine: Build
) -> Iterator[tuple[Callable[[str], Any], FakeMachine]]:
    """A pool manager, and its client, with a PID namespace of their own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a PID namespace needs unshare, and root")
    machine = fake_machine("1xA100-SXM4-80GB")
    command = [
        "unshare",
        "--pid",
        "--mount",
        "--fork",
        "--kill-child",
        sys.executable,
        "-c",
        INSIDE % {"deadline": DEADLINE_S},
    ]
    env = {name: value for name, value in os.environ.items() if name != "FASTGPU_SIMULATE"}
    with subprocess.Popen(
        command, env=env | nvml_stub.environment(machine), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:

        def step(code: str) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(code + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        try:
            yield step, machine
        finally:
            process.kill()


def test_lease_in_a_container_is_neither_parked_nor_gone_while_its_memory_may_be_there(
    container: Container,
) -> None:
    step, machine = container
    (gpu,) = machine.gpus
    hidden = 2**22 - 5  # a number of the machine; in the container there is no such process, or it is another one
    assert step("globals().update(first=request()) or wait(lambda: state(first[0]), ['active'])") == "active"
    gpu.add_process(hidden, 58 * GIB, stays=True)
    assert step("wait(lambda: device()['processes_message'] is not None, [True])") is True
    assert "--pid=host" in step("device()['processes_message']['text']")
    assert any("cannot be seen" in note["text"] for note in step("client.lease(first[0])['notes']"))
    assert step("globals().update(second=request()) or state(second[0])") == "waiting"

    # Its process ends; what is in use may be its own, or another's.
    assert step("(first[1].kill(), first[1].wait(), wait(lambda: state(first[0]), ['ended']))[2]") == "ended"
    assert step("client.lease(first[0])['scrub']['result']") == "unknown"
    assert step("state(second[0])") == "waiting"
    assert step("client.lease(second[0])['queue']['reason']['code']") == "pending.health"
    assert step("wait(lambda: device()['health']['state'], ['suspect'])") == "suspect"
    assert step("wait(lambda: 'in use by' in device()['health']['message']['text'], [True])") is True
    assert "58 GiB of it is in use by processes that this pool cannot see" in step(
        "device()['health']['message']['text']"
    )

    gpu.remove_process(hidden)
    assert step("wait(lambda: state(second[0]), ['active'])") == "active"
    assert step("device()['health']['state']") == "healthy"
