"""Partitions of a GPU that MIG divides: made for a lease where the pool's placement says, unmade when it is over.

Whose a partition is. MIG has no place for a name, so the pool's own journal tells: what a lease holds (profile and
start) was journalled before it is made, and until it is known to be unmade. What that does not explain is somebody
else's:

* one that programs can use is *standing*: it is leased as it is, and stays when the lease is over;
* one without a compute instance, or with several, is only in the way;
* both are told of, and removed where ``FastGPUPool.mig_remove_unknown`` says so, once nothing runs there.

Everything is safe to repeat. A partition that was made before a crash, and not journalled as made, is taken up again.
Only where somebody else makes one of the same profile at the same place between a grant and its making, and the pool is
killed at that moment, is it taken for the pool's own.

Size and place of a partition do not change while it is in use, and its memory cannot be parked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from ....core.model.entities import (
    Enforcement,
    ExistingPartition,
    LogicalGPU,
    Mechanism,
    MechanismCapability,
    Partition,
)
from ....errors import HostFault, InternalError
from ..driver import LimitResult
from .base import PartitionControl, PartitionInstance, PlacementOccupied

log = logging.getLogger("fastgpu.pool")
_Place = tuple[str, str, int]  #: device, profile and start


class Mig:
    """One partition a lease."""

    def __init__(self, hardware: PartitionControl, *, remove_unknown: bool = False) -> None:
        self._hardware = hardware
        self._remove_unknown = remove_unknown
        self._own: dict[_Place, str] = {}  #: what was made for leases: its UUID, empty while that is not known
        self._was_told = False  #: what leases hold: before that, nothing is known to be somebody else's

    def adopt(self, held: Iterable[LogicalGPU]) -> None:
        """Learn what leases have, by the journal."""
        for gpu in held:
            if gpu.partition is not None and not gpu.partition.preexisting:
                self._own[_place(gpu)] = gpu.driver_handle
        self._was_told = True

    def existing_partitions(
        self, device_id: str, there: Iterable[PartitionInstance]
    ) -> tuple[tuple[ExistingPartition, ...], str | None]:
        """Which of the partitions that are there somebody else made, and what is to be said of them."""
        others = [one for one in there if not self._is_own(device_id, one)]
        left = [one for one in others if not self._removed(device_id, one)]
        found = sorted(ExistingPartition(one.profile, one.start, one.complete) for one in left)
        if not found:
            return (), None
        names = [
            f"{one.profile} at slot {one.start} ({'leased as it is' if one.usable else 'not to be used'})"
            for one in found
        ]
        return tuple(found), f"It has MIG instances that this pool did not make: {', '.join(names)}."

    def _removed(self, device_id: str, one: PartitionInstance) -> bool:
        if not (self._remove_unknown and self._was_told):
            return False
        try:
            self._hardware.destroy(device_id, one.profile, one.start)
        except HostFault as error:
            log.info("The MIG instance %s at slot %s of %s stays: %s", one.profile, one.start, device_id, error)
            return False
        log.warning("Removed the MIG instance %s at slot %s of %s: no lease's.", one.profile, one.start, device_id)
        return True

    def _is_own(self, device_id: str, one: PartitionInstance) -> bool:
        made = self._own.get((device_id, one.profile, one.start))
        return made is not None and (not made or not one.devices or made in one.devices)

    def lost(self, gpu: LogicalGPU) -> str | None:
        """Why a lease that is active has its partition no more; ``None`` where it has. Raises where nobody knows."""
        if any(gpu.driver_handle in one.devices for one in self._hardware.instances(gpu.device_id)):
            return None
        return "Somebody destroyed its MIG instance, and what ran there has ended. Ask for a new lease."

    # -- LeaseMechanism -----------------------------------------------------------------------------------------------

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Memory, caches and processors of its own; neither its size nor its place can change."""
        return MechanismCapability(Mechanism.MIG, Enforcement.HARDWARE)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Make the partition, or take up the one that is there if it is the lease's; its UUID."""
        part = _part(gpu)
        there = _find(gpu, self._hardware.require_partitioned(gpu.device_id))
        if part.preexisting:
            if there is None or not there.complete or (gpu.driver_handle and gpu.driver_handle not in there.devices):
                raise HostFault(f"The MIG instance {part.profile} that was to be leased as it was is gone.")
            return there.devices[0]
        if there is not None and not self._is_own(gpu.device_id, there):
            raise HostFault(f"Somebody else made the MIG instance {part.profile} that is where this was to be.")
        self._own.setdefault(_place(gpu), "")
        try:
            made = self._make(gpu, there)
        except HostFault:
            with suppress(HostFault):  # else that is done when the lease has drained
                self._unmake(gpu)
            raise
        self._own[_place(gpu)] = made
        return made

    def _make(self, gpu: LogicalGPU, there: PartitionInstance | None) -> str:
        part = _part(gpu)
        if there is not None and there.complete:
            return there.devices[0]
        if there is None:
            try:
                self._hardware.create(gpu.device_id, part.profile, part.start)
            except PlacementOccupied as error:
                now = [f"{one.profile} at slot {one.start}" for one in self._hardware.instances(gpu.device_id)]
                raise HostFault(f"{error} There are now: {', '.join(now) or 'none'}.") from error
        return self._hardware.complete(gpu.device_id, part.profile, part.start)

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """The hardware is the limit."""
        return LimitResult(Enforcement.HARDWARE, gpu.driver_handle)

    def release(self, gpu: LogicalGPU) -> None:
        """Unmake the partition unless somebody else made it. Raises while something runs there."""
        if not _part(gpu).preexisting:
            self._unmake(gpu)

    def _unmake(self, gpu: LogicalGPU) -> None:
        there = _find(gpu, self._hardware.instances(gpu.device_id))
        if there is not None:
            known = bool(gpu.driver_handle) or _place(gpu) in self._own
            if there.devices:
                mine = gpu.driver_handle in there.devices if gpu.driver_handle else _place(gpu) in self._own
            else:
                mine = known
            if mine:
                self._hardware.destroy(gpu.device_id, there.profile, there.start)
        self._own.pop(_place(gpu), None)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return nothing: the partition itself is the limit."""
        return {}


def _part(gpu: LogicalGPU) -> Partition:
    if gpu.partition is None:
        raise InternalError(f"A lease of {gpu.device_id} by MIG has no partition.")
    return gpu.partition


def _find(gpu: LogicalGPU, there: Iterable[PartitionInstance]) -> PartitionInstance | None:
    """What is where its partition is to be."""
    part = _part(gpu)
    return next((one for one in there if (one.profile, one.start) == (part.profile, part.start)), None)


def _place(gpu: LogicalGPU) -> _Place:
    part = _part(gpu)
    return gpu.device_id, part.profile, part.start
