"""Partitions of a GPU that MIG divides: created for a lease where placement decides, destroyed when the lease is over.

Ownership of partitions. MIG has no place for a name, so the pool's journal decides: what a lease holds (profile and
start) is journalled before it is created, and until it is known to be destroyed. A partition that the journal does not
explain is not the pool's:

* one that programs can use *exists*: it is leased as it is, and stays when the lease is over;
* one without a compute instance, or with several, only occupies its place;
* both are reported, and destroyed where ``Devices.remove_unknown_partitions`` says so, once no process uses them.

Every call is safe to repeat. A partition that was created before a crash, and not journalled as created, is adopted.
Only where another program creates one of the same profile at the same place between a grant and its preparation, and
the pool is killed at that moment, is it taken for the pool's own.

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


class MigMechanism:
    """One partition for each lease."""

    def __init__(self, devices: PartitionControl, *, remove_unknown: bool = False) -> None:
        self._devices = devices
        self._remove_unknown = remove_unknown
        self._own: dict[_Place, str] = {}  #: what was created for leases: its UUID, empty while that is unknown
        self._has_adopted = False  #: before that, no partition is known not to be the pool's

    def adopt(self, held: Iterable[LogicalGPU]) -> None:
        """Record which partitions leases hold, by the journal."""
        for gpu in held:
            if gpu.partition is not None and not gpu.partition.preexisting:
                self._own[_place(gpu)] = gpu.driver_handle
        self._has_adopted = True

    def existing_partitions(
        self, device_id: str, there: Iterable[PartitionInstance]
    ) -> tuple[tuple[ExistingPartition, ...], str | None]:
        """Return the partitions that the pool did not create, and a note on them for the administrator."""
        others = [one for one in there if not self._is_own(device_id, one)]
        left = [one for one in others if not self._removed(device_id, one)]
        found = sorted(ExistingPartition(one.profile, one.start, one.complete) for one in left)
        if not found:
            return (), None
        names = [
            f"{one.profile} at slot {one.start} ({'leased as it is' if one.usable else 'not usable'})" for one in found
        ]
        return tuple(found), f"It has MIG instances that this pool did not create: {', '.join(names)}."

    def _removed(self, device_id: str, one: PartitionInstance) -> bool:
        if not (self._remove_unknown and self._has_adopted):
            return False
        try:
            self._devices.destroy(device_id, one.profile, one.start)
        except HostFault as error:
            log.info("The MIG instance %s at slot %s of %s stays: %s", one.profile, one.start, device_id, error)
            return False
        log.warning("Removed the MIG instance %s at slot %s of %s: no lease's.", one.profile, one.start, device_id)
        return True

    def _is_own(self, device_id: str, one: PartitionInstance) -> bool:
        uuid = self._own.get((device_id, one.profile, one.start))
        return uuid is not None and (not uuid or not one.devices or uuid in one.devices)

    def loss_reason(self, gpu: LogicalGPU) -> str | None:
        """Return why an active lease has lost its partition, or ``None``. Raises where that is unknown."""
        if any(gpu.driver_handle in one.devices for one in self._devices.instances(gpu.device_id)):
            return None
        return "Its MIG instance was destroyed, not by the pool, and what ran there has ended. Request a new lease."

    # -- LeaseMechanism -----------------------------------------------------------------------------------------------

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Return memory, caches and processors of its own; neither its size nor its place can change."""
        return MechanismCapability(Mechanism.MIG, Enforcement.HARDWARE)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Create the partition, or adopt the one that exists if it is the lease's; return its UUID."""
        part = _part(gpu)
        there = _find(gpu, self._devices.require_partitioned(gpu.device_id))
        if part.preexisting:
            if there is None or not there.complete or (gpu.driver_handle and gpu.driver_handle not in there.devices):
                raise HostFault(f"The MIG instance {part.profile} that was to be leased as it was is gone.")
            return there.devices[0]
        if there is not None and not self._is_own(gpu.device_id, there):
            raise HostFault(f"A MIG instance {part.profile} that the pool did not create is in the place of this one.")
        self._own.setdefault(_place(gpu), "")
        try:
            uuid = self._create(gpu, there)
        except HostFault:
            with suppress(HostFault):  # else the release destroys it
                self._destroy(gpu)
            raise
        self._own[_place(gpu)] = uuid
        return uuid

    def _create(self, gpu: LogicalGPU, there: PartitionInstance | None) -> str:
        part = _part(gpu)
        if there is not None and there.complete:
            return there.devices[0]
        if there is None:
            try:
                self._devices.create(gpu.device_id, part.profile, part.start)
            except PlacementOccupied as error:
                now = [f"{one.profile} at slot {one.start}" for one in self._devices.instances(gpu.device_id)]
                raise HostFault(f"{error} There are now: {', '.join(now) or 'none'}.") from error
        return self._devices.complete(gpu.device_id, part.profile, part.start)

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Return that the hardware enforces the limit."""
        return LimitResult(Enforcement.HARDWARE, gpu.driver_handle)

    def release(self, gpu: LogicalGPU) -> None:
        """Destroy the partition unless the pool did not create it. Raises while a process uses it."""
        if not _part(gpu).preexisting:
            self._destroy(gpu)

    def _destroy(self, gpu: LogicalGPU) -> None:
        there = _find(gpu, self._devices.instances(gpu.device_id))
        if there is not None:
            known = bool(gpu.driver_handle) or _place(gpu) in self._own
            if there.devices:
                mine = gpu.driver_handle in there.devices if gpu.driver_handle else _place(gpu) in self._own
            else:
                mine = known
            if mine:
                self._devices.destroy(gpu.device_id, there.profile, there.start)
        self._own.pop(_place(gpu), None)

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return no variables: the partition itself is the limit."""
        return {}


def _part(gpu: LogicalGPU) -> Partition:
    if gpu.partition is None:
        raise InternalError(f"A lease of {gpu.device_id} by MIG has no partition.")
    return gpu.partition


def _find(gpu: LogicalGPU, there: Iterable[PartitionInstance]) -> PartitionInstance | None:
    """Return what is in the place of the lease's partition."""
    part = _part(gpu)
    return next((one for one in there if (one.profile, one.start) == (part.profile, part.start)), None)


def _place(gpu: LogicalGPU) -> _Place:
    part = _part(gpu)
    return gpu.device_id, part.profile, part.start
