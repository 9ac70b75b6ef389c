"""A simulated host: processes whose numbers are used again, clocks that jump, devices and a disk that fail.

The package sees it through its own protocols: the driver, the clock, and the functions of the operating system that its
modules for processes and the journal call. The host knows the truth, which the simulation compares with what the pool
manager shows.
"""

from __future__ import annotations

import errno
import random
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from fastgpu_jupyter.core.lease.presence import GONE_AFTER_MS
from fastgpu_jupyter.core.model.entities import DeviceSpec, Health, Holder, LogicalGPU
from fastgpu_jupyter.errors import HostFault, Message, NotFound
from fastgpu_jupyter.pool.devices.driver import (
    NOT_PARTITIONABLE,
    DeviceProcess,
    DeviceUsage,
    ListedProcesses,
    ProcessList,
    ReserveHostMemory,
    Sample,
    SampledLease,
    UnlistedProcesses,
)
from fastgpu_jupyter.pool.devices.mechanisms.mig import MigMechanism
from fastgpu_jupyter.pool.host.attribution import NotHere
from fastgpu_jupyter.units import GIB
from tests.core.world import spec
from tests.sim.simulated_devices import MIG_SPECS, PartitionedDevices
from tests.sim.simulated_loop import Crash, SimulatedLoop, SimulatedTime

SPECS = (
    spec("gpu-0", index=0, parkable=True),
    spec("gpu-1", index=1),
    spec("gpu-2", index=2, whole_only=True, parkable=True),
)

#: How long an answer of the driver may take to arrive, so that it is of an earlier time.
ANSWER_MS_MAX = 30_000


#: What a process with memory on a device has there.
PROCESS_BYTES = 16 * GIB


@dataclass(eq=False)
class SimulatedProcess:
    """A process that runs or ran on the host."""

    pid: int
    start_time: int
    inode: int
    boot_id: str
    lease_id: str | None = None  #: the lease of whose kernel it is a child
    partition: str = ""  #: the partition on which it has memory, if it has any on one
    device_ids: tuple[str, ...] = ()  #: the devices on which it has memory
    hidden: bool = False  #: it cannot be seen by the pool manager, as one of another PID namespace
    alive: bool = True

    @property
    def holder(self) -> Holder:
        return Holder(self.boot_id, self.pid, self.start_time, self.inode, 1000)


@dataclass
class Faults:
    """The faults of the host at present."""

    disk_full: bool = False
    crash_at: str | None = (
        None  #: "insert", "commit", "committed", or of a partition "created", "completed", "destroyed"
    )
    late: bool = False  #: the next commit is done and reported as failed
    unread: bool = False  #: after that it cannot be read at once whether it was done
    refuse_s: float = 0.0  #: probability that the driver refuses to prepare
    no_answer: bool = False  #: the devices cannot be listed
    blind: bool = False  #: the processes of a device cannot be listed now
    unlisted: bool = False  #: the driver answers that it lists no processes
    slow: bool = False


@dataclass
class SimulatedHost:
    """The host as it is, whatever the pool manager shows."""

    rng: random.Random
    time: SimulatedTime = field(default_factory=SimulatedTime)
    faults: Faults = field(default_factory=Faults)
    boots: int = 1
    suspended_ms: int = 0
    wall_offset_ms: int = 1_700_000_000_000
    loop: SimulatedLoop | None = None
    processes: dict[int, SimulatedProcess] = field(default_factory=dict)
    partitions: PartitionedDevices = field(init=False)
    shown: set[str] = field(default_factory=lambda: {one.id for one in (*SPECS, *MIG_SPECS)})
    hidden_since_ms: dict[str, int] = field(default_factory=dict)  #: by device
    #: Devices that were hidden for long, given up by an administrator, or lost a partition.
    ever_lost: set[str] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)  #: generations that the driver refused to prepare or to resume
    prepared_ms: dict[int, int] = field(default_factory=dict)  #: time of the first call to prepare each
    descriptors: dict[int, SimulatedProcess] = field(default_factory=dict)
    _numbers: int = 100
    _boot_began_ms: int = 0

    def __post_init__(self) -> None:
        self.partitions = PartitionedDevices(self.rng, self._crash_at, self._is_used)

    def _crash_at(self, point: str) -> None:
        if self.faults.crash_at == point:
            self.faults.crash_at = None
            raise Crash

    def _is_used(self, partition: str) -> bool:
        return any(process.partition == partition for process in self.processes.values())

    # -- clocks -----------------------------------------------------------------------------------------------------

    @property
    def true_ms(self) -> int:
        """Return the milliseconds that passed, without suspended ones, in which nothing happens."""
        return int(self.time.now_s * 1000 + 1e-6)

    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def boot_ms(self) -> int:
        return self.true_ms - self._boot_began_ms

    def wall_ms(self) -> int:
        return self.true_ms + self.suspended_ms + self.wall_offset_ms

    def reboot(self) -> None:
        """End every process and set the boot clock back."""
        for process in self.processes.values():
            process.alive = False
        self.processes.clear()
        self.descriptors.clear()
        self.partitions.clear()
        self.boots += 1
        self._boot_began_ms = self.true_ms - self.rng.randrange(100_000)

    # -- processes --------------------------------------------------------------------------------------------------

    def spawn(self, lease_id: str | None = None, pid: int | None = None) -> SimulatedProcess:
        """Start a process, with the number ``pid`` where that is free."""
        self._numbers += 1
        pid = pid if pid is not None and pid not in self.processes else self._numbers
        process = SimulatedProcess(pid, self.boot_ms() // 10, 7_000_000 + self._numbers, self.boot_id(), lease_id)
        self.processes[pid] = process
        return process

    def kill(self, process: SimulatedProcess) -> None:
        """End a process; its pidfds become readable."""
        process.alive = False
        if self.processes.get(process.pid) is process:
            del self.processes[process.pid]
        for fd, known in self.descriptors.items():
            if known is process and self.loop is not None:
                self.loop.call_soon(self.loop.fire, fd)

    def is_alive(self, holder: Holder) -> bool:
        process = self.processes.get(holder.pid)
        return process is not None and process.alive and process.holder == holder

    def lease_of(self, pid: int) -> str | None:
        process = self.processes.get(pid)
        return process.lease_id if process else None

    # In place of ``os`` in the package's module for processes.

    def operating_system(self) -> Any:
        return SimpleNamespace(pidfd_open=self._pidfd_open, close=self._close)

    def _pidfd_open(self, pid: int) -> int:
        process = self.processes.get(pid)
        if process is None:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self._numbers += 1
        self.descriptors[self._numbers] = process
        if not process.alive and self.loop is not None:
            self.loop.call_soon(self.loop.fire, self._numbers)
        return self._numbers

    def _close(self, fd: int) -> None:
        del self.descriptors[fd]

    def identify(self, pid: int, pidfd: int, boot_id: str) -> Holder:
        process = self.descriptors[pidfd]
        if not process.alive:
            raise NotFound(f"SimulatedProcess {pid} has ended.")
        return Holder(boot_id, pid, process.start_time, process.inode, 1000)

    # -- devices ----------------------------------------------------------------------------------------------------

    def inventory(self, mig: MigMechanism) -> tuple[list[DeviceSpec], str | None]:
        if self.faults.no_answer:
            raise HostFault("the driver does not answer")
        partitioned = [
            replace(one, existing_partitions=mig.existing_partitions(one.id, self.partitions.instances(one.id))[0])
            for one in MIG_SPECS
            if one.id in self.shown
        ]
        return [*(one for one in SPECS if one.id in self.shown), *partitioned], None

    def hide(self, device_id: str) -> None:
        self.shown.discard(device_id)
        self.hidden_since_ms.setdefault(device_id, self.true_ms)
        if device_id in self.partitions.there:
            for process in self.processes.values():
                if any(process.partition == one.uuid for one in self.partitions.there[device_id] if one.uuid):
                    process.partition, process.device_ids = "", ()
            self.partitions.clear(device_id)
            self.partitions.hidden.add(device_id)
            self.ever_lost.add(device_id)  # with its partitions

    def may_be_lost(self, device_id: str) -> bool:
        """Return whether leases may have ended because of the device."""
        hidden_ms = self.true_ms - self.hidden_since_ms.get(device_id, self.true_ms)
        return device_id in self.ever_lost or hidden_ms >= GONE_AFTER_MS - ANSWER_MS_MAX

    def show(self, device_id: str) -> None:
        if self.may_be_lost(device_id):
            self.ever_lost.add(device_id)
        self.hidden_since_ms.pop(device_id, None)
        self.shown.add(device_id)
        self.partitions.hidden.discard(device_id)

    def health(self, device_id: str) -> tuple[Health, str | None]:
        return Health.HEALTHY, None

    def prepare(self, mig: MigMechanism, logical_gpu: LogicalGPU) -> str:
        self.prepared_ms.setdefault(logical_gpu.generation, self.true_ms)
        try:
            if self.rng.random() < self.faults.refuse_s:
                raise HostFault("the device does not answer")
            return "" if logical_gpu.partition is None else mig.prepare(logical_gpu)
        except HostFault:
            self.refused.add(logical_gpu.generation)
            raise

    def release(self, mig: MigMechanism, logical_gpu: LogicalGPU) -> None:
        if self.faults.blind:
            raise HostFault("cannot see")
        if logical_gpu.partition is not None:
            mig.release(logical_gpu)

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        if self.rng.random() < self.faults.refuse_s:
            raise HostFault("its memory cannot be moved")
        return 1000

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        if self.rng.random() < self.faults.refuse_s:
            self.refused.add(logical_gpu.generation)
            raise HostFault("its memory cannot be moved back")

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        return {}

    def processes_on(self, device_id: str) -> ProcessList:
        if self.faults.blind:
            raise HostFault("cannot see")
        if self.faults.unlisted:
            return UnlistedProcesses(Message.of_text("not listed"), self.in_use_bytes(device_id))
        listed = tuple(DeviceProcess(one.pid, self._bytes_on(one, device_id)) for one in self.processes.values())
        return ListedProcesses(listed, 0)

    @staticmethod
    def _bytes_on(process: SimulatedProcess, device_id: str) -> int:
        return PROCESS_BYTES if device_id in process.device_ids else 0

    def in_use_bytes(self, device_id: str) -> int:
        """Return the memory of a device that processes have."""
        return sum(self._bytes_on(process, device_id) for process in self.processes.values())

    def used_bytes(self, logical_gpu: LogicalGPU) -> int:
        """Return the memory in use on a partition."""
        on_it = (one for one in self.processes.values() if one.partition == logical_gpu.driver_handle)
        return sum(PROCESS_BYTES for _ in on_it)

    # In place of the functions of the package's module for the processes of leases.

    def leases_of(self, pid: int, holders: Mapping[str, Holder]) -> frozenset[str]:
        process = self.processes.get(pid)
        if process is None or process.hidden:
            raise NotHere(str(pid))
        return frozenset({process.lease_id}) & holders.keys() if process.lease_id else frozenset()

    def processes_of(self, lease_id: str, holder: Holder) -> list[int]:
        return [one.pid for one in self.processes.values() if one.lease_id == lease_id and not one.hidden]

    def driver(self) -> Any:
        """Return a driver for one process of the pool manager; what its mechanism remembers ends with it."""
        mig = MigMechanism(self.partitions)
        return SimpleNamespace(
            adopt=mig.adopt,
            loss_reason=lambda gpu: None if gpu.partition is None else mig.loss_reason(gpu),
            partition_mode=lambda device_id: NOT_PARTITIONABLE,
            inventory=partial(self.inventory, mig),
            knows=lambda device_id: device_id in self.shown,
            health=self.health,
            prepare=partial(self.prepare, mig),
            release=partial(self.release, mig),
            park=self.park,
            resume=self.resume,
            env=self.env,
            hidden_env=dict,
            scrub_commands=lambda _: (),
            device_nodes=lambda _: (),
            processes=self.processes_on,
            used_bytes=self.used_bytes,
            may_have_memory=lambda pid: pid in self.processes,
            sample=self._sample,
            close=lambda: None,
        )

    def _sample(self, subjects: Sequence[SampledLease]) -> Sample:
        """Return that no lease uses its device: the idle policy acts where no cell runs."""
        return Sample(leases={one.lease_id: DeviceUsage(0, 0) for one in subjects})

    # -- disk -------------------------------------------------------------------------------------------------------

    def database(self) -> Any:
        """Return what takes the place of ``sqlite3`` in the journal."""
        host = self

        class Connection(sqlite3.Connection):
            """A connection whose disk has the faults of the host."""

            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if sql == "PRAGMA synchronous=FULL":
                    sql = "PRAGMA synchronous=OFF"  # a killed process loses nothing that it wrote
                if sql.startswith("SELECT seq, seal") and host.faults.unread and not host.faults.late:
                    host.faults.unread = False
                    raise sqlite3.OperationalError("disk I/O error")
                if sql == "COMMIT":
                    host.at("commit")
                done = super().execute(sql, *args)
                if sql.startswith(("COMMIT", "INSERT INTO record", "INSERT INTO answer")):
                    host.at("committed" if sql == "COMMIT" else "insert")
                return done

        def connect(path: Any, **how: Any) -> sqlite3.Connection:
            return sqlite3.connect(path, factory=Connection, **how)

        return SimpleNamespace(connect=connect, Error=sqlite3.Error)

    def at(self, point: str) -> None:
        """Raise the fault that is due at a point of a write."""
        if self.faults.crash_at == point:
            self.faults.crash_at = None
            raise Crash
        if point == "committed" and self.faults.late:
            self.faults.late = False
            raise sqlite3.OperationalError("disk I/O error")
        if point != "committed" and self.faults.disk_full:
            raise sqlite3.OperationalError("database or disk is full")
