"""Simulated GPUs in MIG mode: partitions of the pool and of others, and calls that fail.

The mechanism of the pool (:class:`fastgpu_jupyter.pool.devices.mechanisms.mig.MigMechanism`) works on them through its
protocol. The simulation knows who created each partition and which ones the pool must leave alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastgpu_jupyter.core.model.entities import PartitionProfile
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.mechanisms.base import PartitionInstance, PlacementOccupied
from tests.core.world import mig_spec

MIG_SPECS = (mig_spec("device-mig-0", index=3), mig_spec("device-mig-1", index=4))
PROFILES = {one.name: one for one in MIG_SPECS[0].profiles}
PartitionPlace = tuple[str, str, int]  #: device, profile and start


@dataclass(eq=False)
class SimulatedPartition:
    """A partition that exists on a device."""

    device_id: str
    profile: str
    start: int
    by_pool: bool
    uuid: str = ""  #: empty until a compute instance is in it

    @property
    def place(self) -> PartitionPlace:
        return self.device_id, self.profile, self.start

    @property
    def slots(self) -> set[int]:
        return set(range(self.start, self.start + PROFILES[self.profile].length))


@dataclass
class PartitionedDevices:
    """The partitions of all devices; ``crash`` ends the pool manager at the point that a fault names."""

    rng: random.Random
    crash: Callable[[str], None]
    in_use: Callable[[str], bool]  #: whether a process has memory on the partition of that name
    there: dict[str, list[SimulatedPartition]] = field(default_factory=lambda: {one.id: [] for one in MIG_SPECS})
    hidden: set[str] = field(default_factory=set)
    fail_s: float = 0.0  #: probability that a call that creates something fails
    busy_s: float = 0.0  #: probability that a call that destroys something fails
    foreign_destroyed: list[str] = field(default_factory=list)  #: partitions of others that the pool destroyed
    #: Partitions of others that the pool may take for its own: it was killed between a grant and the creation of the
    #: partition, and they were in its place.
    ambiguous: set[str] = field(default_factory=set)
    _numbers: int = 0

    def name(self) -> str:
        """Return a name that no partition had before."""
        self._numbers += 1
        return f"MIG-{self._numbers}"

    def find(self, place: PartitionPlace) -> SimulatedPartition | None:
        """Return the partition in ``place``, if there is one."""
        return next((one for one in self.there[place[0]] if one.place == place), None)

    def has(self, uuid: str) -> bool:
        """Return whether there is a partition of that name."""
        return any(one.uuid == uuid for there in self.there.values() for one in there)

    def has_room(self, device_id: str, profile: PartitionProfile, start: int) -> bool:
        """Return whether a partition of that profile fits at ``start``."""
        wanted = set(range(start, start + profile.length))
        same = sum(one.profile == profile.name for one in self.there[device_id])
        free = all(not wanted & one.slots for one in self.there[device_id])
        return free and start in profile.starts and (profile.at_most is None or same < profile.at_most)

    # -- the calls of the pool (PartitionControl) -------------------------------------------------------------------

    def require_partitioned(self, device_id: str) -> list[PartitionInstance]:
        if device_id in self.hidden:
            raise HostFault("it is not there")
        return self.instances(device_id)

    def instances(self, device_id: str) -> list[PartitionInstance]:
        return [
            PartitionInstance(one.profile, one.start, (one.uuid,) if one.uuid else (), bool(one.uuid))
            for one in sorted(self.there[device_id], key=lambda one: one.start)
        ]

    def create(self, device_id: str, profile: str, start: int) -> None:
        self.require_partitioned(device_id)
        if self.rng.random() < self.fail_s:
            raise PlacementOccupied("insufficient resources")
        if not self.has_room(device_id, PROFILES[profile], start):
            raise PlacementOccupied("something is in its place")
        self.there[device_id].append(SimulatedPartition(device_id, profile, start, by_pool=True))
        self.crash("created")

    def complete(self, device_id: str, profile: str, start: int) -> str:
        one = self.find((device_id, profile, start))
        if one is None or self.rng.random() < self.fail_s:
            raise HostFault("no compute instance")
        one.uuid = self.name()
        self.crash("completed")
        return one.uuid

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        one = self.find((device_id, profile, start))
        if one is None:
            return
        if (one.uuid and self.in_use(one.uuid)) or self.rng.random() < self.busy_s:
            raise HostFault("in use")
        if not one.by_pool and one.uuid not in self.ambiguous:
            self.foreign_destroyed.append(f"{one}, which the pool did not create")
        self.there[device_id].remove(one)
        self.crash("destroyed")

    # -- what others do -----------------------------------------------------------------------------------------------

    def create_foreign(self, device_id: str, taken: set[PartitionPlace]) -> SimulatedPartition | None:
        """Create a partition that is not one of ``taken``, which the pool could not tell from its own."""
        places = [
            (device_id, one.name, start)
            for one in PROFILES.values()
            for start in one.starts
            if self.has_room(device_id, one, start) and (device_id, one.name, start) not in taken
        ]
        if not places:
            return None
        made = SimulatedPartition(*self.rng.choice(places), by_pool=False)
        made.uuid = self.name() if self.rng.random() < 0.8 else ""  # without a name it cannot be used
        self.there[device_id].append(made)
        return made

    def destroy_any(self, device_id: str) -> SimulatedPartition | None:
        """Destroy a partition of anyone on which no process runs."""
        free = [one for one in self.there[device_id] if not (one.uuid and self.in_use(one.uuid))]
        if not free:
            return None
        gone = self.rng.choice(free)
        self.there[device_id].remove(gone)
        return gone

    def clear(self, device_id: str | None = None) -> None:
        """Remove the partitions of a device that is gone, or of all when the host is booted."""
        for name in self.there if device_id is None else [device_id]:
            self.there[name].clear()
