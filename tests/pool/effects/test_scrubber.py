"""The memory of a lease: the next lease reads it unless it is overwritten, and waits while it is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.gpu.cuda import MIB, WorkerProcess
from tests.helpers import PoolProcess, alive, fastgpu
from tests.libcuda.stub import MEMORY_BYTES, OUT_OF_MEMORY, PAGES, CudaStub, FakeMemory
from tests.nvml.machine import FakeGpu, FakeMachine
from tests.pool.conftest import machine_pool
from tests.views import device_of, explanation_of, pending_reason_of, scrub_of, text
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
SECRET = 0x5EC2E7AA
OVERWRITE = "--Scrubbing.mode=overwrite"
Build = Callable[..., FakeMachine]
pool = machine_pool


class Tenant:
    """A lease, and a process of it that works on the GPU."""

    def __init__(self, pool: PoolProcess, gpu: FakeGpu, size: str = "full") -> None:
        self.pool, self.gpu = pool, gpu
        self.token = new_token()
        self.lease_id = str(pool.client.request(size, token=self.token)["id"])

    def begin(self) -> Tenant:
        """Once it is granted."""
        self.pool.wait_state(self.lease_id, "active")
        visible = self.view["environment"]["CUDA_VISIBLE_DEVICES"]
        self.worker = WorkerProcess(os.environ | {"CUDA_VISIBLE_DEVICES": visible, "FASTGPU_LEASE": self.lease_id})
        self.worker("start")
        self.pool.client.bind(self.lease_id, self.token, self.worker.pid)
        self.gpu.add_process(self.worker.pid, 1 << 30)
        return self

    @property
    def view(self) -> dict[str, Any]:
        return self.pool.lease(self.lease_id)

    def leave_a_secret(self) -> None:
        """Fill all there is, and end without a word of it."""
        self.worker("take_all", 2 * MIB)
        self.worker("fill", SECRET)
        self.end()

    def look_for_it(self) -> int:
        """How many MiB of it are in memory that this process has not written."""
        self.worker("take_all", 2 * MIB)
        return int(self.worker("count", SECRET))

    def end(self) -> None:
        self.worker.close()
        self.gpu.remove_process(self.worker.pid)
        self.pool.client.release(self.lease_id)

    def ended(self, timeout_s: float = 30) -> tuple[str, int | None]:
        self.pool.wait_state(self.lease_id, "ended", timeout_s=timeout_s)
        return scrub_of(self.view)[0], scrub_of(self.view)[1]


@pytest.fixture
def gpu(use_machine: Build) -> FakeGpu:
    return use_machine("1xH100-80GB", old_driver=True).gpus[0]


@pytest.fixture
def memory(gpu: FakeGpu, cuda_stub: CudaStub, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMemory]:
    """The memory of the GPU, for processes that are started from now on."""
    for name, value in cuda_stub.environment().items():
        monkeypatch.setenv(name, value)
    memory = cuda_stub.memory(gpu.uuid)
    yield memory
    memory.close()


@pytest.fixture
def foreign_process() -> Iterator[int]:
    """A process that belongs to no lease."""
    command = [sys.executable, "-I", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def device(pool: PoolProcess) -> dict[str, Any]:
    return dict(pool.client.devices()[0])


def children(pid: int) -> list[int]:
    """The processes that overwrite, of that pool manager."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.parametrize("overwrite", [False, True])
def test_memory_of_a_lease_is_readable_unless_overwritten(
    pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory, overwrite: bool
) -> None:
    pool.start(*[OVERWRITE] * overwrite)
    first = Tenant(pool, gpu).begin()
    first.leave_a_secret()
    assert first.ended() == (("overwritten", MEMORY_BYTES) if overwrite else ("gone", None))
    assert (f"{first.lease_id}: 32 MiB of its GPU's memory were overwritten." in fastgpu("status").stdout) == overwrite
    second = Tenant(pool, gpu).begin()
    assert second.look_for_it() == (0 if overwrite else MEMORY_BYTES // MIB)
    second.end()
    second.ended()


def test_device_that_cannot_be_scrubbed_is_not_granted(pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory) -> None:
    pool.start(OVERWRITE)
    tenant = Tenant(pool, gpu).begin()
    memory.fail("cuMemsetD8_v2")
    tenant.leave_a_secret()
    wait_until(lambda: device(pool)["health"]["state"] == "suspect", "it is known")
    assert "cuMemsetD8_v2 answered CUDA_ERROR_UNKNOWN" in text(device(pool)["health"]["message"])
    assert "could not be overwritten yet" in explanation_of(tenant.view)
    assert f"{tenant.lease_id}: The memory that it had on its device could not be" in fastgpu("status").stdout
    assert tenant.view["state"] == "draining"
    waiting = Tenant(pool, gpu)
    assert (waiting.view["state"], pending_reason_of(waiting.view)) == ("waiting", "health")
    assert memory.pages_with(SECRET) == PAGES
    memory.lift()
    assert tenant.ended() == ("overwritten", MEMORY_BYTES)
    assert memory.pages_with(SECRET) == 0
    waiting.begin().end()
    assert (device(pool)["health"]["state"], text(device(pool)["health"]["message"])) == ("healthy", None)
    waiting.ended()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain answered CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuMemAlloc_v2", "32 MiB of its free memory could not be had"),
    ],
)
def test_scrub_without_room_to_allocate_fails(
    pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory, call: str, said: str
) -> None:
    pool.start(OVERWRITE)
    tenant = Tenant(pool, gpu).begin()
    tenant.worker("take_all", 2 * MIB)
    tenant.worker("fill", SECRET)
    memory.fail(call, OUT_OF_MEMORY)
    tenant.end()
    wait_until(lambda: said in str(text(device(pool)["health"]["message"])), "it is known")
    assert memory.pages_with(SECRET) == PAGES
    memory.lift()
    assert tenant.ended() == ("overwritten", MEMORY_BYTES)


def test_scrub_worker_that_hangs_is_killed_and_delays_no_other_lease(
    pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory, foreign_process: int
) -> None:
    """Nor is it taken for a process without a lease: of those, one is found beside it."""
    pool.start(OVERWRITE, "--Scrubbing.timeout_s=5")
    tenant = Tenant(pool, gpu).begin()
    memory.hang("cuMemsetD8_v2")
    tenant.leave_a_secret()
    (first,) = wait_until(lambda: children(pool.pid), "it is being overwritten")
    assert explanation_of(tenant.view) == "The memory that it had on its device is being overwritten."
    for pid in (first, foreign_process):
        gpu.add_process(pid, 1 << 30)
    wait_until(
        lambda: [one["pid"] for one in device(pool)["unleased_processes"]] == [foreign_process],
        "only the other one is found",
    )
    took_s = []

    def killed() -> bool:
        began_s = time.monotonic()
        pool.client.pool()
        took_s.append(time.monotonic() - began_s)
        return not alive(first)

    wait_until(killed, "the process that overwrites is killed")
    assert len(took_s) > 3
    assert sorted(took_s)[len(took_s) // 2] < 1
    gpu.remove_process(first)
    wait_until(lambda: "not done within 5 seconds" in str(text(device(pool)["health"]["message"])), "it is known")
    memory.lift()
    assert tenant.ended() == ("overwritten", MEMORY_BYTES)


def test_other_devices_are_granted_during_a_scrub(
    use_machine: Build, pool: PoolProcess, cuda_stub: CudaStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = use_machine("2xH100-80GB", old_driver=True).gpus
    for name, value in cuda_stub.environment().items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        memories = {gpu.uuid: stack.enter_context(contextlib.closing(cuda_stub.memory(gpu.uuid))) for gpu in gpus}
        pool.start(OVERWRITE)
        hangs, other, last = Tenant(pool, gpus[0]), Tenant(pool, gpus[1]), Tenant(pool, gpus[1])
        for tenant in (hangs, other):
            pool.wait_state(tenant.lease_id, "active")
        memory = memories[device_of(hangs.view)]
        memory.hang("cuMemsetD8_v2")
        pool.client.release(hangs.lease_id)
        wait_until(lambda: children(pool.pid), "it is being overwritten")
        pool.client.release(other.lease_id)
        assert other.ended() == ("overwritten", MEMORY_BYTES)
        pool.wait_state(last.lease_id, "active")
        assert hangs.view["state"] == "draining"
        memory.lift()
        assert hangs.ended() == ("overwritten", MEMORY_BYTES)


def test_undrain_ends_a_scrub_that_keeps_failing(pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory) -> None:
    pool.start(OVERWRITE)
    tenant = Tenant(pool, gpu).begin()
    memory.fail("cuInit")
    tenant.leave_a_secret()
    wait_until(lambda: device(pool)["health"]["state"] == "suspect", "it is known")
    assert fastgpu("drain", gpu.uuid, "--undo").returncode == 0
    assert tenant.ended() == ("gone", None)
    assert "an administrator went on" in scrub_of(tenant.view)[2]
    assert device(pool)["health"]["state"] == "healthy"


def test_scrub_of_a_killed_pool_is_repeated(pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory) -> None:
    pool.start(OVERWRITE)
    tenant = Tenant(pool, gpu).begin()
    memory.hang("cuMemsetD8_v2")
    tenant.leave_a_secret()
    (first,) = wait_until(lambda: children(pool.pid), "it is being overwritten")
    wait_until(lambda: memory.contexts == 2, "it has come so far")
    pool.kill()
    wait_until(lambda: not alive(first), "it ends with its pool")
    assert memory.pages_with(SECRET) == PAGES
    memory.lift()
    pool.start(OVERWRITE)
    assert tenant.ended() == ("overwritten", MEMORY_BYTES)
    assert memory.pages_with(SECRET) == 0


def test_failed_scrub_is_dropped_by_a_pool_that_does_not_overwrite(
    pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory
) -> None:
    pool.start(OVERWRITE)
    tenant = Tenant(pool, gpu).begin()
    memory.fail("cuInit")
    tenant.leave_a_secret()
    wait_until(lambda: device(pool)["health"]["state"] == "suspect", "it is known")
    pool.kill()
    pool.start()
    assert tenant.ended() == ("gone", None)
    assert device(pool)["health"]["state"] == "healthy"


def test_device_with_other_leases_is_not_scrubbed_and_reported(
    pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory
) -> None:
    pool.start(OVERWRITE)
    first, second = (Tenant(pool, gpu, "half").begin() for _ in range(2))
    for tenant, pages in ((first, PAGES // 2), (second, PAGES - PAGES // 2)):
        for _ in range(pages):
            tenant.worker("take", 2 * MIB)
        tenant.worker("fill", SECRET)
    first.end()
    assert first.ended() == ("gone", None)
    assert "other leases are on the device" in scrub_of(first.view)[2]
    assert memory.pages_with(SECRET) == PAGES
    second.end()
    assert second.ended() == ("overwritten", MEMORY_BYTES)
    assert memory.pages_with(SECRET) == 0, "what the first one left, too"


def test_lease_granted_during_a_scrub_waits_for_it(pool: PoolProcess, gpu: FakeGpu, memory: FakeMemory) -> None:
    pool.start(OVERWRITE)
    first = Tenant(pool, gpu, "half").begin()
    memory.hang("cuMemsetD8_v2")
    first.leave_a_secret()
    wait_until(lambda: children(pool.pid), "it is being overwritten")
    second = Tenant(pool, gpu, "quarter")
    assert (second.view["state"], explanation_of(second.view)) == (
        "preparing",
        "The memory of its device is overwritten first.",
    )
    memory.lift()
    assert first.ended() == ("overwritten", MEMORY_BYTES)
    assert second.begin().look_for_it() == 0
    second.end()
    second.ended()


def test_mig_instance_is_scrubbed_before_it_is_destroyed(
    use_machine: Build, pool: PoolProcess, cuda_stub: CudaStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gpu,) = use_machine("1xH100-80GB MIG").gpus
    for name, value in cuda_stub.environment().items():
        monkeypatch.setenv(name, value)
    pool.start(OVERWRITE)
    first, neighbour = Tenant(pool, gpu, "1g.10gb"), Tenant(pool, gpu, "1g.10gb")
    for tenant in (first, neighbour):
        pool.wait_state(tenant.lease_id, "active")
    uuid = first.view["environment"]["CUDA_VISIBLE_DEVICES"]
    with contextlib.closing(cuda_stub.memory(uuid)) as memory:
        worker = WorkerProcess(os.environ | {"CUDA_VISIBLE_DEVICES": uuid, "FASTGPU_LEASE": first.lease_id})
        worker("start")
        worker("take_all", 2 * MIB)
        worker("fill", SECRET)
        worker.close()
        pool.client.release(first.lease_id)
        assert first.ended() == ("overwritten", MEMORY_BYTES)
        assert memory.pages_with(SECRET) == 0
    assert [uuid in one.uuids for one in gpu.instances] == [False]
    pool.kill()
    pool.start()
    pool.client.release(neighbour.lease_id)
    assert neighbour.ended() == ("gone", None)
    assert "whether that clears its memory is not documented" in scrub_of(neighbour.view)[2]
