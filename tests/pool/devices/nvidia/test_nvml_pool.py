"""Shared GPUs, too much memory, strangers, and hardware that misbehaves: the real pool manager and real kernels on
NVIDIA GPUs that are simulated below ``pynvml``.

Whatever happens there ends in a state with a name, nothing is granted that is not there, and the pool always answers.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.spawn import ensure_pool
from tests.helpers import KernelHelper, PoolProcess, alive, fastgpu, fastgpu_process
from tests.nvml.machine import FakeGpu, FakeMachine
from tests.pool.conftest import machine_pool
from tests.views import (
    device_of,
    enforcement_of,
    explanation_of,
    gpu_of,
    mechanisms_of,
    partitions_of,
    pending_reason_of,
    scrub_of,
    text,
    value_of,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
pool = machine_pool


@pytest.fixture
def unleased() -> Iterator[int]:
    """A process that is no kernel."""
    env = {name: value for name, value in os.environ.items() if name != "FASTGPU_LEASE"}
    command = [sys.executable, "-I", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=env) as process:
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


@contextlib.contextmanager
def answering(pool: PoolProcess) -> Iterator[list[float]]:
    """Ask the pool again and again meanwhile; how long each answer took."""
    took_s: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.1):
            began_s = time.monotonic()
            pool.client.devices()
            took_s.append(time.monotonic() - began_s)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took_s
    finally:
        done.set()
        asking.join(DEADLINE_S)
    assert not asking.is_alive()


def device(pool: PoolProcess, number: int = 0) -> dict[str, Any]:
    return dict(pool.client.devices()[number])


def test_kernels_on_one_gpu_apply_limits_in_their_libraries(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str
) -> None:
    (gpu,) = use_machine("1xH100-80GB", old_driver=True).gpus
    pool.start()
    first, second = kernels.start(half), kernels.start(half)
    for kernel in (first, second):
        pool.wait_state(kernel.lease_id, "active")
        view = pool.lease(kernel.lease_id)
        assert enforcement_of(view) == (
            "shared",
            "cooperative",
            "lease",
        )
        assert "part of a GPU was requested" in text(gpu_of(view)["mechanism_reason"])
        assert view["device_access"]["nodes"] == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"]
        assert kernel.value("__import__('os').environ['CUDA_VISIBLE_DEVICES']") == repr(gpu.uuid)
        cap = int(kernel.value("int(__import__('os').environ['FASTGPU_CAP_BYTES'])"))
        assert cap == view["memory"]["limit_bytes"] - 512 * 2**20
    assert device(pool)["memory"]["free_bytes"] < GIB
    waiting = pool.client.request("half", token=new_token())["id"]
    assert pool.state(waiting) == "waiting"
    assert "shared, cooperative" in fastgpu("status").stdout

    # A library that the kernel has imported follows a change of size.
    first.run(
        "import sys, types\n"
        "cupy = types.ModuleType('cupy')\n"
        "class _Pool:\n"
        "    def set_limit(self, size=None): cupy.told = size\n"
        "cupy.get_default_memory_pool = _Pool\n"
        "sys.modules['cupy'] = cupy\n"
    )
    pool.client.resize(first.lease_id, "quarter")
    quarter = pool.lease(first.lease_id)["memory"]["limit_bytes"] - 512 * 2**20
    assert pool.lease(first.lease_id)["size"]["applied"] == "pending"
    wait_until(lambda: first.value("getattr(cupy, 'told', None)") == str(quarter), "the library is limited")
    wait_until(lambda: pool.lease(first.lease_id)["size"]["applied"] == "applied", "and the pool hears of it")

    # One that has begun cannot, and everybody who looks learns it.
    first.run("sys.modules['jax'] = types.ModuleType('jax')")
    assert "follow before its next cell" in fastgpu("resize", first.lease_id, "half").stdout
    said = "JAX cannot change the memory limit in this process"
    wait_until(lambda: said in first.run("1").stream("stderr"), "its user reads it")
    view = wait_until(
        lambda: (one := pool.lease(first.lease_id)) and one["size"]["applied"] == "needs_restart" and one,
        "the pool knows",
    )
    assert text(view["size"]["message"]) == "JAX keeps the earlier size until the kernel is restarted."
    assert text(view["size"]["message"]) in fastgpu("status").stdout
    assert first.manager is not None
    first.manager.restart_kernel()
    first.wait_ready()
    wait_until(lambda: pool.lease(first.lease_id)["size"]["applied"] == "applied", "a new process has it")


def test_lease_over_its_limit_is_warned_and_then_ended(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str
) -> None:
    (gpu,) = use_machine("1xH100-80GB", old_driver=True).gpus
    pool.start("--Sharing.over_limit_action=revoke", "--Sharing.over_limit_grace_s=10")
    kernel, neighbour = kernels.start(half), kernels.start(half)
    for one in (kernel, neighbour):
        pool.wait_state(one.lease_id, "active")
        gpu.add_process(one.pid, 20 * GIB)
    child = int(
        kernel.value(
            "__import__('subprocess').Popen([__import__('sys').executable, '-c', 'import time; time.sleep(600)']).pid"
        )
    )
    gpu.add_process(child, 25 * GIB)
    wait_until(lambda: text(pool.lease(kernel.lease_id)["enforcement"]["message"]), "the pool knows")
    said = wait_until(lambda: kernel.run("1").stream("stderr"), "the notebook shows it")
    assert "45 GiB" in said
    assert "ended after 10 s" in said
    pool.wait_state(kernel.lease_id, "draining")
    assert value_of(pool.lease(kernel.lease_id)["end_reason"]) == "over_limit"
    assert "used more GPU memory than its limit" in wait_until(lambda: kernel.run("1").stream("stderr"), "and why")
    assert pool.state(neighbour.lease_id) == "active"
    for pid in (kernel.pid, child):
        assert scrub_of(pool.lease(kernel.lease_id))[0] is None
        gpu.remove_process(pid)
    pool.wait_state(kernel.lease_id, "ended")
    assert scrub_of(pool.lease(kernel.lease_id))[0] == "gone"


def test_driver_limit_that_cannot_be_set_becomes_cooperative(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str
) -> None:
    """These kernels share the control group of the tests."""
    machine = use_machine("1xH100-80GB")
    pool.start()
    kernel = kernels.start(half)
    pool.wait_state(kernel.lease_id, "active")
    view = wait_until(
        lambda: (one := pool.lease(kernel.lease_id)) and enforcement_of(one)[1] == "cooperative" and one,
        "it is found out",
    )
    if text(view["enforcement"]["message"]) is not None:  # where there are control groups at all
        assert "does not enforce the memory limit" in text(view["enforcement"]["message"])
    wait_until(lambda: kernel.value("'FASTGPU_CAP_BYTES' in __import__('os').environ") == "True", "the kernel caps")
    assert machine.limits() == {}, "no other lease was limited by it"


def test_unleased_process_is_shown_with_user_and_memory(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, unleased: int
) -> None:
    (gpu, other) = use_machine("2xL4").gpus
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    gpu.add_process(kernel.pid, GIB)
    other.add_process(unleased, 3 * GIB)
    began_s = time.monotonic()
    found = wait_until(lambda: device(pool, 1)["unleased_processes"], "it is found")
    assert time.monotonic() - began_s < 5
    user = pwd.getpwuid(os.getuid()).pw_name
    assert found == [{"pid": unleased, "user": user, "memory_bytes": 3 * GIB, "lease_id": None}]
    assert device(pool)["unleased_processes"] == []
    assert f"process {unleased} of {user} has 3 GiB there and no lease" in fastgpu("status").stdout
    other.remove_process(unleased)
    wait_until(lambda: device(pool, 1)["unleased_processes"] == [], "it is gone")


def test_removed_gpu_ends_only_its_lease(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    pool.start()
    leases = {}
    for _ in machine.gpus:
        lease_id = pool.client.request("full", token=new_token())["id"]
        pool.wait_state(lease_id, "active")
        leases[device_of(pool.lease(lease_id))] = lease_id
    gone, stays = machine.gpus
    gone.vanish()
    wait_until(lambda: condition_of(pool, gone) == "missing", "the device is missing")
    assert fastgpu("devices", "forget", gone.uuid).returncode == 0
    pool.wait_state(leases[gone.uuid], "ended")
    ended = pool.lease(leases[gone.uuid])
    assert (value_of(ended["end_reason"]), scrub_of(ended)[0]) == ("device_lost", "device_gone")
    assert pool.state(leases[stays.uuid]) == "active"
    pool.client.release(leases[stays.uuid])
    pool.wait_state(leases[stays.uuid], "ended")
    again = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(again, "active")
    assert device_of(pool.lease(again)) == stays.uuid


def test_missing_gpu_keeps_its_lease_unbilled_until_it_is_back(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper
) -> None:
    (gpu,) = use_machine("1xL4").gpus
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    waits = pool.client.request("full", token=new_token())["id"]
    shown = kernel.value("__import__('os').environ['CUDA_VISIBLE_DEVICES']")
    gpu.vanish()
    wait_until(lambda: condition_of(pool, gpu) == "missing", "the device is missing")
    for _ in range(2):
        lease = pool.lease(kernel.lease_id)
        assert lease["state"] == "active"
        assert lease["health"]["missing_since"] is not None
        assert "is not billed" in text(lease["health"]["message"])
        assert lease["money"]["billed_micro_per_hour"] == 0
        assert pending_reason_of(pool.lease(waits)) == "missing"
        assert "missing" in fastgpu("devices").stdout
        os.kill(process_at(pool.client), signal.SIGKILL)
        ensure_pool()  # it finds the driver without the GPU from its start; the kernel may have started it
    gpu.appear()
    wait_until(lambda: condition_of(pool, gpu) == "healthy", "the device is back")
    lease = pool.lease(kernel.lease_id)
    assert (lease["state"], lease["health"]["missing_since"]) == ("active", None)
    assert lease["money"]["billed_micro_per_hour"] > 0
    assert pool.state(waits) == "waiting"
    assert kernel.value("__import__('os').environ['CUDA_VISIBLE_DEVICES']") == shown
    refused = fastgpu("devices", "forget", gpu.uuid)
    assert (refused.returncode, "is there" in refused.stderr) == (1, True)


def test_released_driver_is_closed_and_leases_keep_their_places(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper
) -> None:
    use_machine("1xL4")
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    released = fastgpu("devices", "release")
    assert "missing" in released.stdout, released.stderr
    lease = pool.lease(kernel.lease_id)
    assert (lease["state"], lease["money"]["billed_micro_per_hour"]) == ("active", 0)
    assert "had the pool manager release the GPU driver" in pool.log
    assert kernel.value("6 * 7") == "42"
    used = fastgpu("devices", "use")
    assert "healthy" in used.stdout, used.stderr
    lease = pool.lease(kernel.lease_id)
    assert (lease["state"], lease["health"]["missing_since"]) == ("active", None)
    assert lease["money"]["billed_micro_per_hour"] > 0


def process_at(client: PoolClient) -> int:
    """Return the pool manager that serves."""
    with contextlib.closing(unixsocket.connect(client.path, DEADLINE_S)) as sock:
        return unixsocket.peer_of(sock).pid


def condition_of(pool: PoolProcess, gpu: FakeGpu) -> str:
    """Return the health that the pool shows of a GPU."""
    return next(one["health"]["state"] for one in pool.client.devices() if one["id"] == gpu.uuid)


def test_gpu_divided_by_others_is_not_granted_whole(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xH100-80GB").gpus
    pool.start()
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    gpu.switch_mig(on=True)
    pool.wait_state(lease_id, "draining", "ended")
    assert value_of(pool.lease(lease_id)["end_reason"]) == "device_lost"
    assert "MIG mode" in str(explanation_of(pool.lease(lease_id)))
    wait_until(
        lambda: mechanisms_of(pool.client.devices()) == [["mig"]],
        "it is had by partitions",
    )
    gpu.switch_mig(on=False)
    wait_until(lambda: partitions_of(pool.client.devices()) == [[]], "it is back")
    again = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(again, "active")


def test_nvml_that_hangs_delays_no_request(use_machine: Build, pool: PoolProcess, kernels: KernelHelper) -> None:
    machine = use_machine("2xL4")
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    machine.hang()
    with answering(pool) as took_s:
        wait_until(lambda: {one["health"]["state"] for one in pool.client.devices()} == {"missing"}, "they are missing")
        assert "does not answer" in text(device(pool)["health"]["message"])
        waiting = pool.client.request("full", token=new_token())["id"]
        assert pool.state(waiting) == "waiting"
        assert pending_reason_of(pool.lease(waiting)) == "missing"
        assert pool.state(kernel.lease_id) == "active"
        assert kernel.value("6 * 7") == "42"
        wait_until(lambda: len(took_s) > 50, "the pool has answered for seconds")
        assert sorted(took_s)[len(took_s) * 9 // 10] < 1, "the loop went on"
        assert pool.state(waiting) == "waiting"
        machine.lift()
        wait_until(lambda: pool.state(waiting) == "active", "it is granted once the driver answers")
        assert {one["health"]["state"] for one in pool.client.devices()} == {"healthy"}


def test_pool_starts_and_stops_while_nvml_hangs(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xL4")
    machine.hang()
    pool.start()
    assert pool.client.devices() == []
    assert "does not answer" in str(pool.client.pool()["message"])
    machine.lift()
    wait_until(lambda: len(pool.client.devices()) == 2, "its GPUs are there once it answers")
    wait_until(lambda: pool.client.pool()["message"] is None, "and all is well")
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    machine.hang()
    machine.forget_calls()
    wait_until(machine.calls, "a call hangs")
    began_s = time.monotonic()
    os.kill(pool.pid, signal.SIGTERM)
    wait_until(lambda: not alive(pool.pid), "it stops")
    assert time.monotonic() - began_s < 10


def test_unleased_processes_are_ended_only_by_a_system_pool(isolated: Path) -> None:
    command = ["pool", "--simulate=1xL4-24GB", "--Access.foreign_processes=end", f"--socket={isolated}/pool.sock"]
    refused = fastgpu_process(*command)
    assert refused.returncode != 0
    assert "Only a pool of the whole system" in refused.stderr


@pytest.mark.parametrize("start_again", [False, True])
def test_impossible_answers_of_nvml_grant_nothing(use_machine: Build, pool: PoolProcess, start_again: bool) -> None:
    machine = use_machine("2xL4")
    bad, good = machine.gpus
    if not start_again:
        pool.start()
    machine.garble("nvmlDeviceGetMemoryInfo", gpu=bad)
    if start_again:
        pool.start()
        assert [one["id"] for one in pool.client.devices()] == [good.uuid]
        assert "cannot be true" in str(pool.client.pool()["message"])
    ids = [pool.client.request("full", token=new_token())["id"] for _ in range(2)]
    first, second = ids
    if not start_again:  # its looks are good: only who is to use it finds out
        wait_until(lambda: tried(pool.lease(first)) or tried(pool.lease(second)), "it is tried")
        first, second = sorted(ids, key=lambda one: tried(pool.lease(one)))
    pool.wait_state(first, "active")
    assert device_of(pool.lease(first)) == good.uuid
    assert pool.state(second) in ("waiting", "preparing")


def tried(view: dict[str, Any]) -> bool:
    """Whether a lease was granted what could not be prepared."""
    return "could not be prepared" in str(explanation_of(view))
