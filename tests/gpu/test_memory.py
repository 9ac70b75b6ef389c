"""Memory on the GPU: what another process left there, what limits do, and how long parking takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml
import pytest

from fastgpu_jupyter.pool.devices.nvidia.checkpoint_process import CheckpointProcesses
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import CheckpointParker
from fastgpu_jupyter.units import GIB
from fastgpu_jupyter.wire import host_memory
from tests.gpu.conftest import Note, Work
from tests.gpu.cuda import MIB, OUT_OF_MEMORY, CudaError

SECRET = 0x5EC2E7AA
BLOCK_BYTES = 256 * MIB


def leave_a_secret(work: Work) -> None:
    """A process fills 2 GiB and ends."""
    worker = work()
    for _ in range(8):
        worker("take", BLOCK_BYTES)
    worker("fill", SECRET)
    assert worker("count", SECRET) == 2048
    worker.close()


def look_for_it(work: Work) -> int:
    """How many MiB of it the next process finds in memory that it has not written."""
    worker = work()
    worker("take_all", BLOCK_BYTES)
    found = int(worker("count", SECRET))
    worker.close()
    return found


def overwrite(gpu: str) -> dict[str, int]:
    """What the pool runs between two leases, and what it says."""
    command = [sys.executable, "-m", "fastgpu_jupyter.pool.devices.nvidia.scrub_worker", str(os.getpid())]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_scrubbed_memory_is_not_read_by_the_next_process(gpu: str, work: Work, note: Note) -> None:
    leave_a_secret(work)
    note("found of 2048 MiB that another process left", f"{look_for_it(work)} MiB")
    leave_a_secret(work)
    began_s = time.perf_counter()
    said = overwrite(gpu)
    took_s = time.perf_counter() - began_s
    found = look_for_it(work)
    note("the same after a scrub", f"{found} MiB")
    sizes = [f"{said[f'{name}_bytes'] / GIB:.2f} GiB {name}" for name in ("total", "overwritten", "left")]
    note("a scrub, its process included", f"{took_s:.2f} s; {', '.join(sizes)}")
    assert found == 0


TORCH = """
import torch
torch.cuda.set_per_process_memory_fraction(0.1)
total = torch.cuda.get_device_properties(0).total_memory
kept = torch.empty(int(total * 0.05), dtype=torch.uint8, device="cuda")
try:
    torch.empty(int(total * 0.2), dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError as error:
    print(str(error).splitlines()[0])
"""


def test_allocation_over_the_limit_raises_out_of_memory(gpu: str, note: Note) -> None:
    pytest.importorskip("torch")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    command = [sys.executable, "-c", TORCH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "out of memory" in done.stdout
    note("PyTorch at a limit of 10 %", done.stdout.strip()[:200])


@pytest.fixture
def mps(gpu: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of clients of a control daemon of our own."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        pytest.skip("nvidia-cuda-mps-control is not installed")
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path), "CUDA_MPS_LOG_DIRECTORY": str(tmp_path)}
    served = os.environ | environment | {"CUDA_VISIBLE_DEVICES": gpu}
    subprocess.run([control, "-d"], env=served, check=True, timeout=30)
    yield environment
    subprocess.run([control], input="quit\n", env=served, text=True, check=False, timeout=60)


def test_mps_clients_have_a_limit_each(mps: dict[str, str], work: Work) -> None:
    clients = [work(**mps, CUDA_MPS_PINNED_DEVICE_MEM_LIMIT="0=2G") for _ in range(2)]
    for client in clients:
        client("take", 512 * MIB)
        with pytest.raises(CudaError) as refusal:
            client("take", 3 * GIB)
        assert refusal.value.number == OUT_OF_MEMORY
        client("run", "spin", 10**6)


@pytest.mark.parametrize("size_gib", [1, 10, 60])
def test_parking_moves_memory_and_its_time_is_noted(gpu: str, work: Work, note: Note, size_gib: int) -> None:
    pytest.importorskip("cuda.bindings.driver")
    free_bytes = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(gpu)).free
    if free_bytes < (size_gib + 2) * GIB or (host_memory.available_bytes() or 0) < (size_gib + 4) * GIB:
        pytest.skip(f"this machine has no {size_gib} GiB to spare on the GPU and in the host")
    worker = work()
    for _ in range(size_gib * 4):
        worker("take", BLOCK_BYTES)
    worker("fill", SECRET)
    processes = Timed()
    parker = CheckpointParker(processes)
    parker.park([worker.pid], size_gib * GIB)
    assert parker.may_be_parked([worker.pid]) == [worker.pid]
    assert pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(gpu)).free > free_bytes - GIB
    parker.resume([worker.pid], {}, size_gib * GIB)
    assert worker("count", SECRET) == size_gib * 1024
    worker("run", "spin", 10**6)
    processes.close()
    for name, took_s in processes.took_s.items():
        note(f"{name} of {size_gib} GiB", f"{took_s:.3f} s")


class Timed(CheckpointProcesses):
    """Knows how long each call took."""

    def __init__(self) -> None:
        super().__init__()
        self.took_s: dict[str, float] = {}

    @contextmanager
    def calls(self) -> Iterator[Any]:
        with super().calls() as make_call:

            def timed(name: str, pid: int, timeout_s: float, **arguments: Any) -> Any:
                began_s = time.perf_counter()
                try:
                    return make_call(name, pid, timeout_s, **arguments)
                finally:
                    self.took_s[name] = time.perf_counter() - began_s

            yield timed


def test_park_of_an_endless_computation_is_refused(work: Work, note: Note, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cuda.bindings.driver")
    monkeypatch.setattr("fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint.LOCK_MS", 500)
    worker = work()
    worker.send("run", "spin", 10**10)
    time.sleep(0.5)  # until it runs there
    began_s = time.perf_counter()
    with pytest.raises(Exception, match="did not come to an end"):
        CheckpointParker().park([worker.pid], 0)
    note("a lock of 0.5 s that is refused", f"{time.perf_counter() - began_s:.2f} s")
    worker.answer()
    worker("run", "spin", 10**6)
