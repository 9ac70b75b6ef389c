"""CUDA's checkpoint calls hang: the real pool manager, and fakes of NVML and CUDA below it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.helpers import KernelHelper, PoolProcess, alive
from tests.nvml.machine import FakeMachine
from tests.pool.devices.nvidia.played_cuda import PREPARE, RUNNING, Mover, PlayedCuda
from tests.views import text
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
#: A process that has CUDA loaded, as far as anybody can see, and waits to be ended.
HOLDER = f"{PREPARE}\nprint('ready', flush=True)\ninput()"
LONG_S, SHORT_S = 60.0, 0.5


class ImpatientPool(PoolProcess):
    """A pool manager that gives calls of CUDA another time than the usual one."""

    limit_s = LONG_S

    def command(self) -> list[str]:
        """Return the command that starts it."""
        code = (
            "import sys\nfrom fastgpu_jupyter.cli import main\n"
            "from fastgpu_jupyter.pool.devices.nvidia import cuda_checkpoint\n"
            f"cuda_checkpoint.CALL_S = cuda_checkpoint.MOVE_S = {self.limit_s}\nmain()"
        )
        return [sys.executable, "-c", code]


class Holder:
    """A process with a lease and memory on its GPU."""

    def __init__(self, pool: PoolProcess) -> None:
        self.token = new_token()
        self.lease_id = pool.client.request("full", token=self.token)["id"]
        pool.wait_state(self.lease_id, "active")
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"FASTGPU_LEASE": self.lease_id},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.pid = self._process.pid
        pool.client.bind(self.lease_id, self.token, self.pid)
        pool.client.activity(self.lease_id, self.token, busy=False)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def cuda(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedCuda:
    return PlayedCuda(isolated / "simulated", monkeypatch)


@pytest.fixture
def pool(isolated: Path) -> Iterator[ImpatientPool]:
    process = ImpatientPool(isolated, simulate="")
    yield process
    process.end()


@pytest.fixture
def hold(pool: PoolProcess, cuda: PlayedCuda, use_machine: Build) -> Iterator[Callable[[], Holder]]:
    """Starts processes with a lease and 1 GiB on a GPU of their own."""
    machine = use_machine("6xL4")
    mover = Mover(cuda, machine.gpus[0])
    holders: list[Holder] = []

    def start() -> Holder:
        holder = Holder(pool)
        holders.append(holder)
        device_id = pool.lease(holder.lease_id)["gpu"]["device_ids"][0]
        mover.put(holder.pid, GIB, next(gpu for gpu in machine.gpus if gpu.uuid == device_id))
        return holder

    yield start
    mover.close()
    for holder in holders:
        holder.end()


def test_hangs_of_five_leases_do_not_delay_the_parking_of_another(
    pool: ImpatientPool, cuda: PlayedCuda, hold: Callable[[], Holder]
) -> None:
    pool.start()
    *hung, other = [hold() for _ in range(6)]
    cuda.hang(*(f"Checkpoint {one.pid}" for one in hung))
    for one in hung:
        pool.client.park(one.lease_id)
    wait_until(lambda: sum(call.startswith("Checkpoint") for call, _ in cuda.calls()) == 5, "five calls hang")
    pool.client.park(other.lease_id)
    pool.wait_state(other.lease_id, "parked")
    assert {pool.state(one.lease_id) for one in hung} == {"parking"}
    cuda.hang()
    for one in hung:
        pool.wait_state(one.lease_id, "parked")


def test_lease_whose_checkpoint_hangs_goes_on_and_says_why(
    pool: ImpatientPool, cuda: PlayedCuda, hold: Callable[[], Holder]
) -> None:
    pool.limit_s = SHORT_S
    pool.start()
    holder = hold()
    cuda.hang(f"Checkpoint {holder.pid}")
    pool.client.park(holder.lease_id)
    (call,) = wait_until(lambda: [one for one in cuda.calls() if one[0].startswith("Checkpoint")], "the call hangs")
    pool.wait_state(holder.lease_id, "active")
    assert (cuda.state(holder.pid), alive(call[1])) == (RUNNING, False)
    said = str(text(pool.lease(holder.lease_id)["parking"]["obstacle"]))
    assert "CUDA did not return from the call 'checkpoint' in time. The pool tries again after 1 min" in said
    assert pool.lease(holder.lease_id)["parking"]["parkable"], "its user may try at once"
    cuda.hang()
    pool.client.park(holder.lease_id)
    pool.wait_state(holder.lease_id, "parked")


def test_lease_whose_process_never_answers_says_that_it_is_broken(
    pool: ImpatientPool, cuda: PlayedCuda, hold: Callable[[], Holder]
) -> None:
    pool.limit_s = SHORT_S
    pool.start()
    holder = hold()
    cuda.hang(f"GetState {holder.pid}")
    pool.client.park(holder.lease_id)
    pool.wait_state(holder.lease_id, "active")
    assert "CUDA did not return from the call 'state' in time. Restart the kernel." in str(
        text(pool.lease(holder.lease_id)["health"]["message"])
    )


def test_hang_that_killed_pool_manager_leaves_is_overcome_by_the_next_one(
    pool: ImpatientPool, cuda: PlayedCuda, hold: Callable[[], Holder]
) -> None:
    pool.start()
    holder = hold()
    cuda.hang(f"Checkpoint {holder.pid}")
    pool.client.park(holder.lease_id)
    (call,) = wait_until(lambda: [one for one in cuda.calls() if one[0].startswith("Checkpoint")], "the call hangs")
    pool.kill()
    wait_until(lambda: not alive(call[1]), "the process that made the call ends with the pool manager")
    assert cuda.state(holder.pid) != RUNNING
    pool.limit_s = SHORT_S
    pool.start()
    pool.wait_state(holder.lease_id, "active")
    assert cuda.state(holder.pid) == RUNNING


def test_process_whose_lease_is_released_during_a_hang_runs_again(
    pool: ImpatientPool, cuda: PlayedCuda, hold: Callable[[], Holder]
) -> None:
    pool.limit_s = SHORT_S
    pool.start()
    holder = hold()
    cuda.hang(f"Checkpoint {holder.pid}")
    pool.client.park(holder.lease_id)
    wait_until(lambda: cuda.state(holder.pid) != RUNNING, "its process is locked")
    pool.client.release(holder.lease_id)
    assert pool.state(holder.lease_id) == "draining"
    wait_until(lambda: cuda.state(holder.pid) == RUNNING, "its process is unlocked")
    holder.end()
    pool.wait_state(holder.lease_id, "ended")


def test_kernel_whose_parking_hung_keeps_its_variables_and_is_parked_later(
    pool: ImpatientPool, cuda: PlayedCuda, use_machine: Build, kernels: KernelHelper
) -> None:
    (gpu,) = use_machine("1xL4").gpus
    pool.limit_s = SHORT_S
    pool.start("--Parking.idle_s=5")
    mover = Mover(cuda, gpu)
    try:
        first = kernels.start()
        assert first.run(f"{PREPARE}\nkept = 42").status == "ok"
        mover.put(first.pid, GIB)
        cuda.hang(f"Lock {first.pid}")
        second = kernels.start()
        cell = second.send("print('ran')")
        wait_until(lambda: pool.lease(first.lease_id)["parking"]["obstacle"], "parking failed")
        assert first.run("print(kept)").stream() == "42\n"
        cuda.hang()
        pool.client.park(first.lease_id)
        assert second.collect(cell).stream() == "ran\n"
        assert first.run("print(kept)").stream() == "42\n"
    finally:
        mover.close()
