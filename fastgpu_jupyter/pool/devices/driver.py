"""What the pool asks of a kind of GPU. A driver is used by one thread at a time and may block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ...core.model import DeviceSpec, Health, LogicalGPU


class Usage(NamedTuple):
    """What is used at one instant; ``None`` where the device cannot say."""

    utilization_percent: int | None
    memory_used_bytes: int | None


@dataclass(slots=True)
class Sample:
    """One reading of all devices and of the leases that were asked about."""

    devices: dict[str, Usage] = field(default_factory=dict)
    leases: dict[str, Usage] = field(default_factory=dict)


class Subject(NamedTuple):
    """A lease to be sampled."""

    lease_id: str
    pid: int
    logical_gpu: LogicalGPU


class Driver(Protocol):
    """One kind of GPU. Device ids are opaque and stable over restarts of the host."""

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """The devices there are, and where there are none a sentence that says why and what to do."""

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Whether the device may be granted, and why not."""

    def prepare(self, logical_gpu: LogicalGPU) -> None:
        """Make the logical GPU usable; safe to repeat. Raises :class:`~fastgpu_jupyter.errors.HostFault`."""

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        """Move what the process tree of ``pid`` has on the device to the host's memory; how many bytes that were.

        Safe to repeat. Raises :class:`~fastgpu_jupyter.errors.HostFault`, and leaves everything where it was.
        """

    def resume(self, logical_gpu: LogicalGPU, pid: int) -> None:
        """Move it back. Safe to repeat. Raises :class:`~fastgpu_jupyter.errors.HostFault`."""

    def environment(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """What a process needs in its environment to use it."""

    def processes(self, device_id: str) -> Sequence[int]:
        """Numbers of the processes that have memory on the device now."""

    def sample(self, subjects: Sequence[Subject]) -> Sample:
        """Utilization and memory now."""

    def close(self) -> None:
        """Let go of the hardware."""


def together(parts: Sequence[Usage]) -> Usage:
    """The use of several devices as one: mean utilization, all memory; unknown where one is."""
    utilizations = [part.utilization_percent for part in parts if part.utilization_percent is not None]
    memories = [part.memory_used_bytes for part in parts if part.memory_used_bytes is not None]
    return Usage(
        sum(utilizations) // len(parts) if parts and len(utilizations) == len(parts) else None,
        sum(memories) if parts and len(memories) == len(parts) else None,
    )
