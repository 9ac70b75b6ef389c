"""All services of a pool in the test's event loop, with a driver whose answers a test decides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    Health,
    Lease,
    LeaseRequest,
    LogicalGPU,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.composition import PoolServices, ServiceOptions
from fastgpu_jupyter.pool.devices.driver import (
    NOT_PARTITIONABLE,
    DeviceProcess,
    LimitResult,
    ListedProcesses,
    PartitionMode,
    ProcessList,
    ReserveHostMemory,
    Sample,
    SampledLease,
    ScrubCommand,
    UnlistedProcesses,
)
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import recover
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.core.world import spec
from tests.waiting import async_wait_until


class ScriptedDriver:
    """Devices whose preparation and processes a test decides."""

    def __init__(self, *specs: DeviceSpec) -> None:
        self.specs = list(specs)
        self.refuse: str | None = None
        self.refuse_resume: HostFault | None = None
        self.prepared = 0
        self.pids: list[int] = []
        self.unlisted: UnlistedProcesses | None = None
        self.using: set[int] = set()  #: processes that may have memory, where none are listed
        self.blind = False
        self.listings = 0
        self.parked: list[tuple[str, int]] = []
        self.released: list[int] = []

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        self.held = list(held)

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        return list(self.specs), None

    def knows(self, device_id: str) -> bool:
        return any(spec.id == device_id for spec in self.specs)

    def health(self, device_id: str) -> tuple[Health, str | None]:
        return Health.HEALTHY, None

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        self.prepared += 1
        if self.refuse:
            raise HostFault(self.refuse)
        return ""

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        return LimitResult(logical_gpu.enforcement)

    def release(self, logical_gpu: LogicalGPU) -> None:
        self.released.append(logical_gpu.generation)

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        return None

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        if self.refuse:
            raise HostFault(self.refuse)
        self.parked.append((logical_gpu.device_id, pid))
        return 7

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        if self.refuse_resume:
            raise self.refuse_resume
        if self.refuse:
            raise HostFault(self.refuse)
        self.parked.remove((logical_gpu.device_id, pid))

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": logical_gpu.device_id}

    def hidden_env(self) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""}

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        return ()

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        return [ScrubCommand(device_id, ("scrub",), {}) for device_id in logical_gpu.device_ids]

    def processes(self, device_id: str) -> ProcessList:
        self.listings += 1
        if self.blind:
            raise HostFault("cannot see")
        return self.unlisted or ListedProcesses(tuple(DeviceProcess(pid, None) for pid in self.pids))

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        return None

    def may_have_memory(self, pid: int) -> bool:
        return pid in self.using

    def sample(self, subjects: Sequence[SampledLease]) -> Sample:
        return Sample()

    def partition_mode(self, device_id: str) -> PartitionMode:
        """It has no such mode."""
        return NOT_PARTITIONABLE

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Refused."""
        raise HostFault("This device cannot be divided.")

    def close(self) -> None:
        pass


class Pool:
    """A running services in a folder, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        driver: ScriptedDriver,
        release_log: PreallocatedReleaseLog | None = None,
        options: ServiceOptions | None = None,
    ) -> None:
        self.folder, self.driver, self.clock = folder, driver, SystemClock()
        self.release_log, self.options = release_log, options or ServiceOptions()

    async def start(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        pool, _ = recover(self.journal, DriverAtStartup(self.driver), self.clock, self.release_log)
        self.services = PoolServices(
            pool, self.journal, self.driver, self.clock, self.release_log, options=self.options
        )
        await self.services.start()

    async def ask(self, name: str, pid: int | None = None, key: str | None = None, profile: str = "full") -> str | None:
        holder = holder_of(pid or os.getpid(), self.clock.boot_id())
        request = LeaseRequest(profile, None, None, None)
        return await self.services.commands.submit(c.RequestLease(name, "ann", request, holder, "0" * 64), key)

    async def lease(self, name: str) -> Lease:
        return await self.services.store.read(lambda state, _: state.leases[name])

    async def until_mended(self) -> None:
        faults = self.services.faults
        await async_wait_until(lambda: faults.message is None, lambda: f"mended; it is {faults.message}")

    async def until(self, name: str, *states: LeaseState) -> Lease:
        lease = await self.lease(name)

        async def reached() -> bool:
            nonlocal lease
            lease = await self.lease(name)
            return lease.state in states

        await async_wait_until(reached, lambda: f"{name} is one of {states}; it is {lease.state}")
        return lease


def run(
    tmp_path: Path,
    story: Callable[[Pool], Coroutine[Any, Any, None]],
    driver: ScriptedDriver | None = None,
    release_log: PreallocatedReleaseLog | None = None,
    options: ServiceOptions | None = None,
) -> None:
    async def play() -> None:
        pool = Pool(tmp_path, driver or ScriptedDriver(spec("gpu")), release_log, options)
        await pool.start()
        try:
            await story(pool)
        finally:
            await pool.services.stop()

    asyncio.run(play())
