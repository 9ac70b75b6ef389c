"""Parking of one lease: find its processes, check that the host has room, and move their device memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from ....core.placement.parkability import host_bytes_needed
from ....errors import HostFault, Message
from ....units import GIB
from ....wire import host_memory
from ...host.attribution import lease_of
from ..driver import ListedProcesses, NotNow, ProcessList, ReserveHostMemory, UnlistedProcesses
from .cuda_checkpoint import Parker, mapping

#: Memory that parking leaves to the host.
SPARE_BYTES = GIB


class LeaseParker:
    """Parks and resumes the leases of one driver.

    ``on_device`` returns what the driver says of the processes on a device, ``free_on`` the memory of a device that is
    not in use (``None``: unknown), ``every`` the GPUs that the driver knows, and ``moves`` tells whether
    memory may come back to another GPU than it was on.
    """

    def __init__(
        self,
        parker: Parker,
        on_device: Callable[[str], ProcessList],
        free_on: Callable[[str], int | None],
        every: Callable[[], Sequence[str]],
        *,
        moves: bool,
    ) -> None:
        self._parker = parker
        self._on_device = on_device
        self._free_on = free_on
        self._every = every
        self.moves = moves

    def park(
        self, device_ids: Sequence[str], pid: int, memory_bytes: int, reserve: ReserveHostMemory, *, whole: bool = True
    ) -> int:
        """Move what the process tree of ``pid`` has there, ``memory_bytes`` at most, and return how much that was.

        Where the driver does not list processes, those of the tree are found by CUDA's library. Whether all memory left
        can be seen afterwards only by what is in use on the whole device, so a part of one is not parked.

        Raises :class:`HostFault`, with nothing changed, where ``reserve`` does or the host has no room for it.
        """
        tree = set(_tree(pid))
        found: dict[int, int] = {}
        for device_id in device_ids:
            listed = self._on_device(device_id)
            if isinstance(listed, UnlistedProcesses) and not whole:
                raise HostFault(Message.of("parking.processes_unlisted", reason=listed.reason))
            for number, process_bytes in _processes_of(listed, tree).items():
                found[number] = found.get(number, 0) + (memory_bytes if process_bytes is None else process_bytes)
        used_bytes = sum(found.values())
        if found:
            needed_bytes = host_bytes_needed(used_bytes)
            reserve(needed_bytes)
            _require_room(found, needed_bytes)
        # What an earlier pool manager parked is on no device any more.
        parked = self._parker.may_be_parked(number for number in tree - found.keys() if _uses_cuda(number))
        self._parker.park(sorted([*found, *parked]), used_bytes)
        return used_bytes

    def resume(self, origin: Sequence[str], device_ids: Sequence[str], pid: int, memory_bytes: int) -> None:
        """Move ``memory_bytes`` back, from the devices of ``origin`` to ``device_ids``.

        Raises :class:`NotNow` where less is free on these: after a restore that failed for lack of memory no other one
        succeeds (NVIDIA/cuda-checkpoint#44).
        """
        try:
            every = self._every()
        except HostFault as fault:
            raise NotNow(fault.message) from fault
        onto = mapping(origin, device_ids, every) if len(origin) == len(device_ids) else {}
        if onto and not self.moves:
            raise HostFault("This driver restores memory only to the GPU that it was on.")
        parked = self._parker.may_be_parked(number for number in _tree(pid) if _uses_cuda(number))
        if parked:
            self._require_free(device_ids, memory_bytes)
        self._parker.resume(sorted(parked), onto, memory_bytes)

    def _require_free(self, device_ids: Sequence[str], memory_bytes: int) -> None:
        """Raise :class:`NotNow` where the devices are known to have less free memory in all."""
        free = [self._free_on(device_id) for device_id in device_ids]
        free_bytes = sum(one for one in free if one is not None)
        if None not in free and free_bytes < memory_bytes:
            raise NotNow(Message.of("resume.memory_in_use", needed_bytes=memory_bytes, free_bytes=free_bytes))


def _processes_of(listed: ProcessList, tree: set[int]) -> dict[int, int | None]:
    """Return those of the tree that have memory on a device, with what they have."""
    if isinstance(listed, ListedProcesses):
        return {one.pid: one.memory_bytes for one in listed.processes if one.pid in tree}
    found = [number for number in sorted(tree) if _uses_cuda(number)]
    return {**dict.fromkeys(found, 0), **dict.fromkeys(found[:1], listed.unowned_bytes)}


def _require_room(found: Mapping[int, int], needed_bytes: int) -> None:
    """Raise :class:`HostFault` where the host or a control group lacks the memory.

    The memory becomes the processes' own: what their control groups do not leave them would end them.
    """
    free_bytes = host_memory.available_bytes()
    if free_bytes is not None and needed_bytes + SPARE_BYTES > free_bytes:
        raise HostFault(Message.of("parking.host_memory_available", needed_bytes=needed_bytes, left_bytes=free_bytes))
    for pid in found:
        left_bytes = host_memory.headroom_bytes(pid)
        if left_bytes is not None and needed_bytes > left_bytes:
            raise HostFault(Message.of("parking.host_memory_cgroup", needed_bytes=needed_bytes, left_bytes=left_bytes))


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
