"""Where a partition goes on a device that the hardware divides (MIG).

What it is: a device has memory slots; a profile takes some of them in a row and may start only where the driver says.
:func:`choose` names the start that leaves the most room for everything else. Tables come from the driver at run time:
those of one model differ from those of the next, and from what is written about them.

What it promises: a start is named whenever one is free, the same one for the same device, and it never overlaps what is
there. What it must not do: know a model, or move a partition (none can be moved while it is in use).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class ProfileShape:
    """How a profile lies on a device."""

    length: int  #: memory slots in a row
    starts: tuple[int, ...]  #: where it may begin
    at_most: int | None = None  #: how many a device may have at once; ``None``: as many as fit

    def __post_init__(self) -> None:
        if (
            self.length < 1
            or any(start < 0 for start in self.starts)
            or (self.at_most is not None and self.at_most < 0)
        ):
            raise ValueError(f"no partition can lie like {self}")

    def mask(self, start: int) -> int:
        """The slots that it takes from ``start`` on, as bits."""
        return ((1 << self.length) - 1) << start


class PlacedProfile(NamedTuple):
    """A partition that is there."""

    profile: str
    start: int


@dataclass(frozen=True)
class MigGeometry:
    """What the driver says about the partitions of one device."""

    shapes: Mapping[str, ProfileShape]

    def occupied(self, parts: Iterable[PlacedProfile]) -> int:
        """The slots that are taken, as bits. Raises :class:`ValueError` where two partitions overlap."""
        taken = 0
        for part in parts:
            mask = self.shapes[part.profile].mask(part.start)
            if taken & mask:
                raise ValueError(f"{part} lies on another partition")
            taken |= mask
        return taken

    def free_starts(self, profile: str, parts: Iterable[PlacedProfile]) -> list[int]:
        """Every start where the profile would fit, ascending."""
        parts = list(parts)
        return self._starts(profile, self.occupied(parts), sum(part.profile == profile for part in parts))

    def choose(self, profile: str, parts: Iterable[PlacedProfile]) -> int | None:
        """The start that leaves the most open, ``None`` where the profile does not fit.

        Compared is, from the longest shape to the shortest, how many of it would still fit side by side, and then in
        how many places one would; of equals the highest start wins, because the long ones begin at the bottom.
        """
        parts = list(parts)
        return self.choose_beside(profile, self.occupied(parts), sum(part.profile == profile for part in parts))

    def choose_beside(self, profile: str, taken: int, count: int) -> int | None:
        """The same, where slots are taken (as bits) and there are so many of that profile already."""
        shape, starts = self.shapes[profile], self._starts(profile, taken, count)
        return max(starts, key=lambda start: (self._room(taken | shape.mask(start)), start), default=None)

    def _starts(self, profile: str, taken: int, count: int) -> list[int]:
        shape = self.shapes[profile]
        if shape.at_most is not None and count >= shape.at_most:
            return []
        return [start for start in sorted(set(shape.starts)) if not taken & shape.mask(start)]

    def _room(self, taken: int) -> tuple[tuple[int, int], ...]:
        by_length = sorted({(-shape.length, shape.starts) for shape in self.shapes.values()})
        return tuple(
            (
                _side_by_side(-length, tuple(sorted(set(starts))), taken),
                sum(not taken & (((1 << -length) - 1) << start) for start in starts),
            )
            for length, starts in by_length
        )


@lru_cache(maxsize=4096)
def _side_by_side(length: int, starts: tuple[int, ...], taken: int) -> int:
    """How many partitions of that length fit beside what is taken: by ends, first come first served is best."""
    count = 0
    for start in starts:  # ascending, so in the order of their ends
        mask = ((1 << length) - 1) << start
        if not taken & mask:
            taken |= mask
            count += 1
    return count
