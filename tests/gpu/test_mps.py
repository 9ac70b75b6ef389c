"""Leases by MPS on a real GPU: our own control daemon, limits, who is listed. No setting is changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import DeviceSpec, LogicalGPU, Mechanism
from fastgpu_jupyter.pool.devices.driver import ListedProcesses
from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver
from fastgpu_jupyter.pool.devices.nvidia.mps.daemon import PROGRAM, Daemon, family
from fastgpu_jupyter.pool.devices.registration import DriverOptions
from fastgpu_jupyter.units import GIB
from tests.gpu.conftest import Note, Work
from tests.gpu.cuda import MIB, OUT_OF_MEMORY, CudaError, WorkerProcess
from tests.pool.devices.driver_conformance import allocate
from tests.waiting import wait_until


class Bench:
    """A driver that serves by MPS, and what it made."""

    def __init__(self, socket_path: Path) -> None:
        self.driver = NvidiaDriver(DriverOptions(mps=True, socket_path=socket_path))
        self.made: list[LogicalGPU] = []

    def spec(self, gpu: str) -> DeviceSpec:
        return next(spec for spec in self.driver.inventory()[0] if spec.id == gpu)

    def lease(self, gpu: str, size: str = "any:1/16") -> LogicalGPU:
        lease = allocate(self.spec(gpu), size, generation=len(self.made) + 1)
        self.made.append(replace(lease, driver_handle=self.driver.prepare(lease)))
        return self.made[-1]

    def close(self) -> None:
        for lease in self.made:
            self.driver.release(lease)
        self.driver.close()


@pytest.fixture
def benches(gpu: str, tmp_path: Path) -> Iterator[list[Bench]]:
    """Two, as of two users; each has a control daemon of its own on the GPU."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    both = [Bench(tmp_path / name / "pool.sock") for name in ("one", "two")]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    if Mechanism.MPS not in both[0].spec(gpu).mechanisms:
        pytest.skip(f"this GPU cannot serve by MPS: {both[0].driver.mps_obstacle(gpu)}")
    yield both
    for bench in both:
        bench.close()


def start(work: Work, bench: Bench, lease: LogicalGPU) -> WorkerProcess:
    return work(**bench.driver.env(lease))


def test_leases_of_one_daemon_compute_together_with_their_own_limits(
    gpu: str, benches: list[Bench], work: Work, note: Note
) -> None:
    bench = benches[0]
    began_s = time.perf_counter()
    one = bench.lease(gpu)
    note("start of an MPS control daemon", f"{time.perf_counter() - began_s:.2f} s")
    two = bench.lease(gpu)
    assert one.driver_handle == two.driver_handle
    began_s = time.perf_counter()
    first = start(work, bench, one)
    note("first context by MPS, with the start of its server", f"{time.perf_counter() - began_s:.2f} s")
    second = start(work, bench, two)
    free_bytes, total_bytes = first("memory")
    note(f"what CUDA shows of a lease of {one.memory_bytes / GIB:.1f} GiB by MPS",
         f"{free_bytes / GIB:.1f} GiB free of {total_bytes / GIB:.1f} GiB")  # fmt: skip
    for client in (first, second):
        client("take", 512 * MIB)
        with pytest.raises(CudaError) as refusal:
            client("take", one.memory_bytes)
        assert refusal.value.number == OUT_OF_MEMORY
        client("run", "spin", 10**6)

    def listed() -> dict[int, int | None]:
        found = bench.driver.processes(gpu)
        assert isinstance(found, ListedProcesses)
        return {process.pid: process.memory_bytes for process in found.processes}

    wait_until(lambda: {first.pid, second.pid} <= set(listed()), "both are listed")
    daemon = Daemon.parse(one.driver_handle)
    assert daemon is not None
    servers = set(family(daemon.folder)) - {daemon.pid}
    assert servers
    assert not servers & set(listed()), "servers belong to no lease"
    note("a client of MPS with 512 MiB, as NVML lists it", f"{(listed()[first.pid] or 0) / MIB:.0f} MiB")
    second.close()
    wait_until(lambda: second.pid not in listed(), "it is gone")
    bench.driver.release(two)
    first("run", "spin", 10**6)
    assert bench.driver.loss_reason(one) is None
    first.close()
    bench.driver.release(one)
    assert bench.driver.loss_reason(one)


def test_daemons_of_two_users_serve_one_gpu(gpu: str, benches: list[Bench], work: Work) -> None:
    leases = [bench.lease(gpu) for bench in benches]
    assert leases[0].driver_handle != leases[1].driver_handle
    clients = [start(work, bench, lease) for bench, lease in zip(benches, leases, strict=True)]
    for client in clients * 2:
        client("take", 64 * MIB)
        client("run", "spin", 10**6)


def test_fault_reaches_only_the_processes_of_its_daemon(gpu: str, benches: list[Bench], work: Work, note: Note) -> None:
    mine, his = benches
    lease, beside, other = mine.lease(gpu), mine.lease(gpu), his.lease(gpu)
    bad, victim, unleased = start(work, mine, lease), start(work, mine, beside), start(work, his, other)
    victim("run", "spin", 10**6)
    with pytest.raises(CudaError):
        bad("run", "store")
    try:
        victim("run", "spin", 10**6)
        note("a fault of another client of the same MPS daemon", "not told")
    except CudaError as error:
        note("a fault of another client of the same MPS daemon", f"CUDA error {error.number}")
    unleased("run", "spin", 10**6)
