"""The protocol of a device driver: one interface for every kind of GPU, real or simulated.

What a driver must keep is tested by ``tests/pool/devices/driver_conformance.py`` for any driver. In short:

* device ids are opaque texts, stable over restarts of the host; what a device can do is in its ``DeviceSpec``;
* a call may block, and may hang: the pool gives it up after a while and goes on (:mod:`pool.effects.executor`).
  One thread makes all calls, one after the other, but for these: ``env``, ``hidden_env``, ``device_nodes`` and
  ``scrub_commands`` are called from the event loop and must answer from memory; ``park`` and ``resume`` may take long
  and have threads of their own, and so has ``sample``, which is called each second;
* what goes wrong is said by :class:`~fastgpu_jupyter.errors.HostFault`, whose text its user reads, and by no other
  exception. Everything is safe to repeat, because whoever asked may have been killed before the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ...core.model.entities import DeviceSpec, Enforcement, Health, LogicalGPU
from ...errors import HostFault, Message


class DeviceGone(HostFault):
    """The host has no such device any more: whatever was on it went with it."""


class DeviceUsage(NamedTuple):
    """What is used at one instant; ``None`` where the device cannot say, never a number that may be wrong."""

    utilization_percent: int | None
    memory_used_bytes: int | None
    power_milliwatt: int | None = None
    energy_millijoule: int | None = None  #: of a device since its driver's start, of a lease since it was first sampled
    temperature_celsius: int | None = None
    pcie_sent_bytes_per_s: int | None = None
    pcie_received_bytes_per_s: int | None = None


class ProcessUsage(NamedTuple):
    """What one process uses of one device."""

    pid: int
    memory_bytes: int | None
    utilization_percent: int | None


@dataclass(slots=True)
class Sample:
    """One reading of all devices and of the leases that were asked about.

    A driver fills in the leases that it can tell by itself; those of the others are made from ``devices`` and
    ``processes`` (see :mod:`..sampler`).
    """

    devices: dict[str, DeviceUsage] = field(default_factory=dict)
    leases: dict[str, DeviceUsage] = field(default_factory=dict)
    #: By device, as they were listed last; a device that is missing could not say.
    processes: dict[str, list[ProcessUsage]] = field(default_factory=dict)
    #: By device, which list that was: the same number is the same processes. One that is missing is new each time.
    lists: dict[str, int] = field(default_factory=dict)


class SampledLease(NamedTuple):
    """A lease to be sampled."""

    lease_id: str
    pid: int
    logical_gpu: LogicalGPU


class DeviceProcess(NamedTuple):
    """A process that has memory on a device, by its number on this host."""

    pid: int
    memory_bytes: int | None  #: ``None`` where the device does not say


class LimitResult(NamedTuple):
    """Who keeps a lease within its memory from now on."""

    enforcement: Enforcement
    driver_handle: str = ""  #: what ``LogicalGPU.driver_handle`` is to be, so that ``release`` can undo it
    detail: Message | None = None  #: why it is less than the mechanism promised


class ProcessUnusable(HostFault):
    """A process can no longer use its device, and must be ended."""


class ScrubCommand(NamedTuple):
    """A program that overwrites the free memory of one device or partition and ends with the pool manager.

    It prints a JSON object with the integers ``overwritten_bytes``, ``left_bytes`` and ``total_bytes`` and exits with
    0, or prints one sentence to standard error and exits with another status.
    """

    target: str  #: identifies the device or partition
    argv: tuple[str, ...]
    env: Mapping[str, str]  #: in addition to the pool manager's own


class PartitionMode(NamedTuple):
    """The mode of a device in which the hardware divides it."""

    capable: bool
    on: bool
    pending: bool  #: whether it will be on, once the device is reset
    needs_reset: bool  #: whether the mode changes with a reset only
    survives_restart: bool  #: whether the mode outlives a restart of the machine
    reset_command: str | None = None  #: the command that resets the device


#: Of what cannot be divided.
NOT_PARTITIONABLE = PartitionMode(capable=False, on=False, pending=False, needs_reset=False, survives_restart=False)


class Driver(Protocol):
    """One kind of GPU."""

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """Learn what leases hold, by the pool's journal: what was made for them is nobody else's.

        Said once, before anything is asked for; no device is asked.
        """

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """The devices there are, and where there are none a sentence that says why and what to do."""

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Whether the device may be granted, and why not."""

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Make the logical GPU usable; what ``LogicalGPU.driver_handle`` is to be. Safe to repeat."""

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Keep the process ``pid`` and its children within the memory of the logical GPU. Safe to repeat.

        Asked where a mechanism offers a limit that the driver keeps: once the kernel's process is known, and after
        each change of size. A driver that cannot for this process says who keeps it then, and why.
        """

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Undo what ``prepare`` and ``limit`` made: clear a limit, destroy a partition.

        Called once no process of the lease has memory on the device. Safe to repeat, also for what was never
        prepared or is gone. Called again after a while where it raises.
        """

    def lost(self, logical_gpu: LogicalGPU) -> str | None:
        """Why what was prepared is not there any more, though its device is; ``None`` where it is."""

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        """Move what the process tree of ``pid`` has on the device to the host's memory; how many bytes that were.

        Safe to repeat. Where it raises, everything is where it was, but where it raises :class:`ProcessUnusable`.
        """

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str]) -> None:
        """Move it back, from the devices of ``origin`` to those of the logical GPU. Safe to repeat."""

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables with which a process uses this logical GPU and no other."""

    def hidden_env(self) -> Mapping[str, str]:
        """Return the variables with which a process sees no device at all. Answers from memory."""

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """Paths of the device files that a process must be able to open to use it; empty where there are none."""

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return the commands that overwrite what a lease left, one for each device or partition of the logical GPU.

        Empty where no memory is left. Answers from memory.
        """

    def processes(self, device_id: str) -> Sequence[DeviceProcess]:
        """The processes that have memory on the device now, each once.

        Raises :class:`DeviceGone` where there is no such device, another fault where that cannot be known.
        """

    def sample(self, subjects: Sequence[SampledLease]) -> Sample:
        """Utilization and memory now."""

    def partition_mode(self, device_id: str) -> PartitionMode:
        """The mode in which the hardware divides the device."""

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Switch that mode, on which nothing may be; what it is then. Raises HostFault where it cannot be."""

    def close(self) -> None:
        """Let go of the hardware."""


def combine_usage(parts: Sequence[DeviceUsage]) -> DeviceUsage:
    """The use of several devices as one: mean utilization, the sum of the rest; unknown where one is."""
    if len(parts) < 2:
        return parts[0] if parts else DeviceUsage(None, None)
    utilization, memory, power, energy, _, sent, received = (_sum(values) for values in zip(*parts, strict=True))
    mean = None if utilization is None else utilization // len(parts)
    return DeviceUsage(mean, memory, power, energy, None, sent, received)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
