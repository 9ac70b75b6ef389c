"""A small world for tests of the rules: named devices, processes and leases; the state is checked at each step."""

from __future__ import annotations

from typing import Any

from fastgpu_jupyter.core.lease import presence
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.cluster import job_name
from fastgpu_jupyter.core.model.entities import (
    GONE,
    ClusterAllocation,
    ClusterDevice,
    ClusterRequest,
    DeviceSpec,
    Enforcement,
    ExistingPartition,
    Health,
    Holder,
    Instant,
    Lease,
    LeaseRequest,
    Mechanism,
    PartitionProfile,
    PartitionStyle,
    ScrubResult,
    State,
)
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.units import GIB, MIB

BOOT = "boot-1"


def text(message: Message | None) -> str:
    """Return the sentence of a message, or nothing where there is none."""
    return "" if message is None else render(message)


def spec(
    name: str,
    memory_bytes: int = 80 * GIB,
    *,
    index: int = 0,
    whole_only: bool = False,
    parkable: bool = False,
    host_id: str = "",
    model: str = "A100-80GB",
) -> DeviceSpec:
    mechanism = Mechanism.EXCLUSIVE if whole_only else Mechanism.SHARED
    return DeviceSpec(
        name,
        index,
        model,
        memory_bytes,
        simulated=False,
        mechanisms=(mechanism,),
        rate_micro_per_hour=3_600_000,
        host_id=host_id,
        parkable=parkable,
    )


def mig_spec(
    name: str, *, index: int = 0, host_id: str = "", existing_partitions: tuple[ExistingPartition, ...] = ()
) -> DeviceSpec:
    """An A100 of 80 GB that MIG divides: memory as its driver tells it, which is less than an eighth for each slot."""
    return DeviceSpec(
        name,
        index,
        "A100-SXM4-80GB",
        80 * GIB,
        simulated=False,
        mechanisms=(Mechanism.MIG,),
        rate_micro_per_hour=3_600_000,
        host_id=host_id,
        partition=PartitionStyle.DYNAMIC,
        profiles=EIGHTHS,
        existing_partitions=existing_partitions,
    )


def _profile(name: str, mib: int, milli: int, length: int, starts: tuple[int, ...], at_most: int) -> PartitionProfile:
    return PartitionProfile(name, mib * MIB, milli, length, starts, at_most)


EIGHTHS = (
    _profile("1g.10gb", 9728, 142, 1, (0, 1, 2, 3, 4, 5, 6), 7),
    _profile("1g.10gb+me", 9728, 142, 1, (0, 1, 2, 3, 4, 5, 6), 1),
    _profile("1g.20gb", 19968, 250, 2, (0, 2, 4, 6), 4),
    _profile("2g.20gb", 19968, 285, 2, (0, 2, 4), 3),
    _profile("3g.40gb", 40192, 500, 4, (0, 4), 2),
    _profile("4g.40gb", 40192, 571, 4, (0,), 1),
    _profile("7g.80gb", 80640, 1000, 8, (0,), 1),
)


def holder(pid: int, boot_id: str = BOOT) -> Holder:
    return Holder(boot_id, pid, start_time=pid * 10, pidfd_inode=pid, uid=1000)


class World:
    """A pool under test; ``now_ms`` is its clock."""

    def __init__(self, *specs: DeviceSpec) -> None:
        self.pool = Pool(State())
        self.state = self.pool.state
        self.now_ms = 1000
        self.wall_offset_ms = 10**12  # 2001-09-09
        self.history: list[tuple[Instant, list[Event]]] = []
        self.do(c.StartPool(BOOT, 1000))
        self.do(c.SetDevices(specs))

    @property
    def at(self) -> Instant:
        return Instant(self.now_ms, self.now_ms + self.wall_offset_ms)

    def do(self, command: c.Command) -> list[Event]:
        at = self.at
        events = self.pool.execute(command, at)
        self.history.append((at, events))
        broken = list(violations(self.state))
        assert not broken, f"an invariant is broken: {broken}"
        return events

    def ask(
        self,
        name: str,
        profile: str | None = "full",
        memory_bytes: int | None = None,
        *,
        tenant: str = "ann",
        tenant_name: str | None = None,
        **more: Any,
    ) -> Lease:
        request = LeaseRequest(profile, memory_bytes, None, f"{name}.ipynb", **more)
        self.do(c.RequestLease(name, tenant, request, holder(len(self.history)), "0" * 64, tenant_name))
        return self.state.leases[name]

    def active(
        self,
        name: str,
        profile: str | None = "full",
        memory_bytes: int | None = None,
        *,
        tenant: str = "ann",
        **more: Any,
    ) -> Lease:
        lease = self.ask(name, profile, memory_bytes, tenant=tenant, **more)
        self.prepared(name)
        assert lease.state is LeaseState.ACTIVE
        return lease

    def on_cluster(
        self,
        name: str,
        profile: str = "h100",
        *,
        tenant: str = "ann",
        cluster: ClusterRequest = ClusterRequest(),  # noqa: B008 (frozen)
        **more: Any,
    ) -> Lease:
        """Request a lease that an engine is to serve."""
        request = LeaseRequest(profile, None, None, f"{name}.ipynb", cluster=cluster, **more)
        command = c.RequestLease(
            name, tenant, request, holder(len(self.history)), "0" * 64, job_name=job_name("0123456789", name)
        )
        self.do(command)
        return self.state.leases[name]

    def job(self, name: str) -> str:
        """Return the name of the engine's job for a lease."""
        job = self.state.leases[name].cluster_job
        assert job is not None
        return job.name

    def granted(
        self,
        name: str,
        *,
        milli: int = 1000,
        enforcement: Enforcement = Enforcement.HARDWARE,
        ends_at_ms: int | None = None,
    ) -> None:
        """Report the allocation of a lease: devices of a host n1, at 3.6 units an hour for a whole one."""
        count = max(1, milli // 1000)
        device = (80 * GIB * milli // count // 1000, 3600 * milli // count)
        devices = tuple(ClusterDevice(f"n1:gpu{number}", "h100", *device) for number in range(count))
        allocation = ClusterAllocation("n1", devices, milli, enforcement, ends_at_ms)
        self.do(c.ClusterGranted(name, self.job(name), allocation))

    def prepared(self, name: str) -> None:
        gpu = self.state.leases[name].logical_gpu
        assert gpu is not None
        self.do(c.PrepareSucceeded(name, gpu.generation))

    def parked(self, name: str, host_memory_bytes: int = 0) -> None:
        gpu = self.state.leases[name].logical_gpu
        assert gpu is not None
        self.do(c.ParkSucceeded(name, gpu.generation, host_memory_bytes))

    def resumed(self, name: str) -> None:
        gpu = self.state.leases[name].logical_gpu
        assert gpu is not None
        self.do(c.ResumeSucceeded(name, gpu.generation))

    def pass_time(self, step_ms: int) -> None:
        self.now_ms += step_ms
        self.do(c.Tick())

    def lose(self, *names: str) -> None:
        """Let the driver answer without those devices until they are given up."""
        left = tuple(one.spec for one in self.state.devices.values() if one.spec.id not in names)
        for step_ms in (0, presence.GONE_AFTER_MS):
            self.now_ms += step_ms
            self.do(c.SetDevices(left))

    def drained(self, name: str, scrub_result: ScrubResult = GONE) -> None:
        gpu = self.state.leases[name].logical_gpu
        assert gpu is not None
        self.do(c.DrainSucceeded(name, gpu.generation, scrub_result))

    def state_of(self, name: str) -> LeaseState:
        """Return the state of a lease as it is now; a type checker does not know that commands change it."""
        return self.state.leases[name].state

    def health_of(self, name: str) -> Health:
        """Return the health of a device as it is now."""
        return self.state.devices[name].health

    def states(self) -> dict[str, str]:
        return {name: lease.state.value for name, lease in self.state.leases.items()}
