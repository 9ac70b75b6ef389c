"""The protocol of a device driver: one interface for every kind of GPU, real or simulated.

``tests/pool/devices/driver_conformance.py`` tests what every driver guarantees. In short:

* device ids are opaque texts, stable over restarts of the host; a ``DeviceSpec`` has the capabilities of a device;
* a call may block, and may hang: the pool gives up on it after a while (:mod:`pool.effects.executor`). One thread makes
  all calls, one after the other, except for these: ``env``, ``hidden_env``, ``device_nodes`` and ``scrub_commands``
  are called from the event loop and must answer from memory; ``park`` and ``resume`` may take long and have threads of
  their own, and so has ``sample``, which is called each second;
* a call fails with :class:`~fastgpu_jupyter.errors.HostFault`, whose text users read, and with no other exception.
  Every call is safe to repeat, because the pool manager may have been killed before it had the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ...core.model.entities import DeviceSpec, Enforcement, Health, LogicalGPU
from ...errors import HostFault, Message


class DeviceGone(HostFault):
    """The host has no such device any more: whatever was on it is gone as well."""


class ProcessUnusable(HostFault):
    """A process can no longer use its device and must be ended."""


class NotNow(HostFault):
    """A call cannot be carried out at present; nothing was changed, and it is to be tried again."""


class DeviceUsage(NamedTuple):
    """The usage of a device or a lease at one instant; ``None`` where it is unknown, never a guess."""

    utilization_percent: int | None
    memory_used_bytes: int | None
    power_milliwatt: int | None = None
    energy_millijoule: int | None = None  #: of a device since its driver's start, of a lease since its first sample
    temperature_celsius: int | None = None
    pcie_sent_bytes_per_s: int | None = None
    pcie_received_bytes_per_s: int | None = None


class ProcessUsage(NamedTuple):
    """The usage of one device by one process."""

    pid: int
    memory_bytes: int | None
    utilization_percent: int | None


@dataclass(slots=True)
class Sample:
    """One reading of all devices and of the leases that the caller named.

    A driver fills in the leases that it can measure by itself; the sampler computes those of the others from
    ``devices`` and ``processes`` (:mod:`pool.monitors.sampler`).
    """

    devices: dict[str, DeviceUsage] = field(default_factory=dict)
    leases: dict[str, DeviceUsage] = field(default_factory=dict)
    #: By device, from the newest list of its processes; a device that is missing could not list them.
    processes: dict[str, list[ProcessUsage]] = field(default_factory=dict)
    unlisted: dict[str, Message] = field(default_factory=dict)  #: by device: why its processes cannot be listed here
    #: By device: memory in use that none of the listed processes has.
    unowned_bytes: dict[str, int] = field(default_factory=dict)
    #: By device, the number of that list: the same number means the same processes. A missing one is new each time.
    lists: dict[str, int] = field(default_factory=dict)


class SampledLease(NamedTuple):
    """A lease to be sampled."""

    lease_id: str
    pid: int
    logical_gpu: LogicalGPU


class DeviceProcess(NamedTuple):
    """A process that has memory on a device, by its pid on this host."""

    pid: int
    memory_bytes: int | None  #: ``None`` where the device does not report it


@dataclass(frozen=True, slots=True)
class ListedProcesses:
    """The processes that have memory on a device, each once: all of them, and no process where it is empty."""

    processes: tuple[DeviceProcess, ...] = ()
    unowned_bytes: int | None = None  #: memory in use there that none of them has; ``None``: not known


@dataclass(frozen=True, slots=True)
class UnlistedProcesses:
    """Which processes have memory on a device cannot be known here; that is not the same as none."""

    reason: Message
    unowned_bytes: int | None = None  #: memory in use there by whichever process; ``None``: not known


#: The reason where processes are listed and cannot be found on this host: they may belong to any lease.
HIDDEN = Message.of("processes.hidden")
#: What a driver says of the processes on a device: some, none, or that it cannot say. An error is for what may pass.
ProcessList = ListedProcesses | UnlistedProcesses


class LimitResult(NamedTuple):
    """How the memory limit of a lease is enforced from now on."""

    enforcement: Enforcement
    driver_handle: str = ""  #: the new ``LogicalGPU.driver_handle``, with which ``release`` removes the limit
    detail: Message | None = None  #: where the enforcement is weaker than offered: the reason


class ScrubCommand(NamedTuple):
    """A program that overwrites the free memory of one device or partition and ends with the pool manager.

    It prints a JSON object with the integers ``overwritten_bytes``, ``left_bytes`` and ``total_bytes`` and exits with
    0, or prints one sentence to standard error and exits with another status.
    """

    target: str  #: identifies the device or partition
    argv: tuple[str, ...]
    env: Mapping[str, str]  #: in addition to the pool manager's own


class PartitionMode(NamedTuple):
    """The mode of a device in which the hardware divides it into partitions."""

    capable: bool
    on: bool
    pending: bool  #: whether the mode is on after the next reset of the device
    needs_reset: bool  #: whether the mode changes only with a reset
    survives_restart: bool  #: whether the mode outlives a restart of the machine
    reset_command: str | None = None  #: the command that resets the device


#: The mode of a device that cannot be partitioned.
NOT_PARTITIONABLE = PartitionMode(capable=False, on=False, pending=False, needs_reset=False, survives_restart=False)


#: Reserves bytes of host memory for a lease that is being parked. Raises ``HostFault`` where there are not enough.
ReserveHostMemory = Callable[[int], None]


class Driver(Protocol):
    """One kind of GPU."""

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """Record what leases hold, by the pool's journal: the pool created what was created for them.

        Called once, before any other call; makes no call to a device.
        """

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Return the devices, and where there are none a sentence with the reason and what to do."""

    def knows(self, device_id: str) -> bool:
        """Return whether the driver serves a device of that id, even one that does not answer.

        Raises ``HostFault`` where that cannot be said. A device that is only unknown is given up after a while.
        """

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Return whether the device may be granted, and why not."""

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Make the logical GPU usable and return its ``LogicalGPU.driver_handle``. Safe to repeat."""

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Limit the process ``pid`` and its children to the memory of the logical GPU. Safe to repeat.

        Called where a mechanism offers a limit that the driver enforces: once the kernel's process is known, and after
        each change of size. A driver that cannot limit this process returns what enforces the limit then, and why.
        """

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Undo what ``prepare`` and ``limit`` did: remove a limit, destroy a partition.

        Called once no process of the lease has memory on the device. Safe to repeat, also for what was never prepared
        or is gone. Called again after a while where it raises.
        """

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        """Return why what was prepared does not exist any more, though its device does; ``None`` where it exists."""

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        """Move what the process tree of ``pid`` has on the device to the host's memory; return how many bytes.

        Safe to repeat. Where it raises, everything is where it was, except with :class:`ProcessUnusable`. Before it
        moves anything it calls ``reserve`` with the bytes of host memory that it needs.
        """

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        """Move ``memory_bytes`` back, from the devices of ``origin`` to those of the logical GPU. Safe to repeat.

        Raises :class:`NotNow` where that is impossible at present, as where these have less free memory, and
        :class:`ProcessUnusable` where the process can use them no more.
        """

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables with which a process uses this logical GPU and no other. Answers from memory."""

    def hidden_env(self) -> Mapping[str, str]:
        """Return the variables with which a process sees no device at all. Answers from memory."""

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """Return the paths of the device files that a process must be able to open to use it. Answers from memory."""

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return the commands that overwrite what a lease left, one for each device or partition of the logical GPU.

        Empty where no memory is left. Answers from memory.
        """

    def processes(self, device_id: str) -> ProcessList:
        """Return the processes that have memory on the device now, by their pids here.

        Raises :class:`DeviceGone` where there is no such device, another fault where that cannot be known now.
        """

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        """Return the memory in use on a partition, by whichever process; ``None`` where the device does not report it.

        Raises ``HostFault`` where it does not answer.
        """

    def may_have_memory(self, pid: int) -> bool:
        """Return whether a process of this host can have memory on a device, by its libraries and open files.

        True where they may not be read: asked only where the device does not list its processes.
        """

    def sample(self, leases: Sequence[SampledLease]) -> Sample:
        """Return utilization and memory now."""

    def partition_mode(self, device_id: str) -> PartitionMode:
        """Return the mode in which the hardware divides the device."""

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Switch that mode of a device without leases, and return the new mode. Raises HostFault where it cannot."""

    def close(self) -> None:
        """Close the library of the hardware."""


def combine_usage(parts: Sequence[DeviceUsage]) -> DeviceUsage:
    """Return the usage of several devices as one: mean utilization, the sum of the rest; unknown where one is."""
    if len(parts) < 2:
        return parts[0] if parts else DeviceUsage(None, None)
    utilization, memory, power, energy, _, sent, received = (_sum(values) for values in zip(*parts, strict=True))
    mean = None if utilization is None else utilization // len(parts)
    return DeviceUsage(mean, memory, power, energy, None, sent, received)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
