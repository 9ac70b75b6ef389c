"""GPUs that are divided, played: partitions by profile and place, whoever makes them, and what goes wrong with that.

The program's own limiter (:class:`pool.devices.mechanisms.mig.Mig`) works on them through its port. What is played
knows the truth: who made what, and what was promised to be left alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastgpu_jupyter.core.model.entities import PartitionProfile
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.mechanisms.base import PartitionInstance, PlacementOccupied
from tests.core.world import mig_spec

CARDS = (mig_spec("card-0", index=3), mig_spec("card-1", index=4))
PROFILES = {one.name: one for one in CARDS[0].profiles}
Place = tuple[str, str, int]  #: device, profile and start


@dataclass(eq=False)
class Made:
    """A partition that is there."""

    device_id: str
    profile: str
    start: int
    by_pool: bool
    uuid: str = ""  #: once programs see it

    @property
    def place(self) -> Place:
        return self.device_id, self.profile, self.start

    @property
    def slots(self) -> set[int]:
        return set(range(self.start, self.start + PROFILES[self.profile].length))


@dataclass
class Cards:
    """All of them; ``crash`` ends the program where the story wants that."""

    drawn: random.Random
    crash: Callable[[str], None]
    in_use: Callable[[str], bool]  #: whether a process is on the partition of that name
    there: dict[str, list[Made]] = field(default_factory=lambda: {one.id: [] for one in CARDS})
    hidden: set[str] = field(default_factory=set)
    fail_s: float = 0.0  #: how likely a call that makes something fails
    busy_s: float = 0.0  #: how likely one that unmakes something does
    wrongs: list[str] = field(default_factory=list)  #: what the program did and must never do
    #: Of others, those that the program may take for its own: it was killed between the grant of their place and its
    #: making, and they were in that place.
    ambiguous: set[str] = field(default_factory=set)
    _numbers: int = 0

    def name(self) -> str:
        self._numbers += 1
        return f"MIG-{self._numbers}"

    def find(self, place: Place) -> Made | None:
        return next((one for one in self.there[place[0]] if one.place == place), None)

    def has_room(self, device_id: str, profile: PartitionProfile, start: int) -> bool:
        wanted = set(range(start, start + profile.length))
        same = sum(one.profile == profile.name for one in self.there[device_id])
        free = all(not wanted & one.slots for one in self.there[device_id])
        return free and start in profile.starts and (profile.at_most is None or same < profile.at_most)

    # -- as the program asks (Divisible) ----------------------------------------------------------------------------

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
        if self.drawn.random() < self.fail_s:
            raise PlacementOccupied("insufficient resources")
        if not self.has_room(device_id, PROFILES[profile], start):
            raise PlacementOccupied("something is in its place")
        self.there[device_id].append(Made(device_id, profile, start, by_pool=True))
        self.crash("created")

    def complete(self, device_id: str, profile: str, start: int) -> str:
        one = self.find((device_id, profile, start))
        if one is None or self.drawn.random() < self.fail_s:
            raise HostFault("no compute instance")
        one.uuid = self.name()
        self.crash("completed")
        return one.uuid

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        one = self.find((device_id, profile, start))
        if one is None:
            return
        if (one.uuid and self.in_use(one.uuid)) or self.drawn.random() < self.busy_s:
            raise HostFault("in use")
        if not one.by_pool and one.uuid not in self.ambiguous:
            self.wrongs.append(f"the pool destroyed {one}, which somebody else made")
        self.there[device_id].remove(one)
        self.crash("destroyed")

    # -- as others do -----------------------------------------------------------------------------------------------

    def somebody_makes(self, device_id: str, taken: set[Place]) -> Made | None:
        """Somebody makes a partition, but none like one that is promised: the pool could not tell it from its own."""
        places = [
            (device_id, one.name, start)
            for one in PROFILES.values()
            for start in one.starts
            if self.has_room(device_id, one, start) and (device_id, one.name, start) not in taken
        ]
        if not places:
            return None
        made = Made(*self.drawn.choice(places), by_pool=False)
        made.uuid = self.name() if self.drawn.random() < 0.8 else ""  # else nobody can use it
        self.there[device_id].append(made)
        return made

    def somebody_destroys(self, device_id: str) -> Made | None:
        """Whosever it is, if nothing runs there."""
        free = [one for one in self.there[device_id] if not (one.uuid and self.in_use(one.uuid))]
        if not free:
            return None
        gone = self.drawn.choice(free)
        self.there[device_id].remove(gone)
        return gone

    def clear(self, device_id: str | None = None) -> None:
        """The card is gone, or all are started anew: no partition outlives that."""
        for name in self.there if device_id is None else [device_id]:
            self.there[name].clear()
