"""Parking of one lease: find its processes, check that the host has room, and move their device memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from ....errors import HostFault
from ....units import GIB, format_memory
from ...host import memory
from ...host.attribution import lease_of
from .cuda_checkpoint import Parker, mapping

#: Memory that parking leaves to the host.
SPARE_BYTES = GIB


class LeaseParker:
    """Parks and resumes the leases of one driver.

    ``on_device`` returns the memory of each process on a device by pid (``None``: unknown), ``every`` the GPUs that the
    driver knows, and ``moves`` tells whether memory may come back to another GPU than it was on.
    """

    def __init__(
        self,
        parker: Parker,
        on_device: Callable[[str], Mapping[int, int | None]],
        every: Callable[[], Sequence[str]],
        *,
        moves: bool,
    ) -> None:
        self._parker = parker
        self._on_device = on_device
        self._every = every
        self.moves = moves

    def park(self, device_ids: Sequence[str], pid: int, memory_bytes: int) -> int:
        """Move what the process tree of ``pid`` has there, ``memory_bytes`` at most, and return how much that was."""
        tree = set(_tree(pid))
        found: dict[int, int] = {}
        for device_id in device_ids:
            for number, used_bytes in self._on_device(device_id).items():
                if number in tree:
                    found[number] = found.get(number, 0) + (memory_bytes if used_bytes is None else used_bytes)
        needed_bytes = sum(found.values())
        _require_room(found, needed_bytes)
        # What an earlier pool manager parked is on no device any more.
        parked = [number for number in tree - found.keys() if self._is_parked(number)]
        self._parker.park(sorted([*found, *parked]))
        return needed_bytes

    def resume(self, origin: Sequence[str], device_ids: Sequence[str], pid: int) -> None:
        """Move it back, from the devices of ``origin`` to ``device_ids``."""
        onto = mapping(origin, device_ids, self._every()) if len(origin) == len(device_ids) else {}
        if onto and not self.moves:
            raise HostFault("This driver restores memory only to the GPU that it was on.")
        self._parker.resume(sorted(number for number in _tree(pid) if self._is_parked(number)), onto)

    def _is_parked(self, pid: int) -> bool:
        return _uses_cuda(pid) and self._parker.is_parked(pid)


def _require_room(found: Mapping[int, int], needed_bytes: int) -> None:
    """Raise :class:`HostFault` where the host or a control group lacks the memory.

    The memory becomes the processes' own: what their control groups do not leave them would end them.
    """
    free_bytes = memory.available_bytes()
    if free_bytes is not None and needed_bytes + SPARE_BYTES > free_bytes:
        raise HostFault(
            f"{format_memory(needed_bytes)} would move to the host's memory, "
            f"and {format_memory(free_bytes)} are left there."
        )
    for pid in found:
        left_bytes = memory.headroom_bytes(pid)
        if left_bytes is not None and needed_bytes > left_bytes:
            raise HostFault(
                f"The control group of this kernel leaves it {format_memory(left_bytes)} of memory, and "
                f"{format_memory(needed_bytes)} would move there. Raise its memory.max to park it."
            )


def _tree(pid: int) -> list[int]:
    """Return the process and its descendants that belong to its lease. Raises :class:`HostFault` where it has ended.

    Below a server, which holds a lease until its kernel does, there are kernels with leases of their own.
    """
    try:
        below = [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error as error:
        raise HostFault(f"Process {pid} has ended.") from error
    lease_id = lease_of(pid)
    return [pid, *(child for child in below if lease_of(child) == lease_id)]


def _uses_cuda(pid: int) -> bool:
    """Return whether a process has CUDA loaded: CUDA cannot answer for any other."""
    try:
        return b"libcuda.so" in Path(f"/proc/{pid}/maps").read_bytes()
    except OSError:
        return False
