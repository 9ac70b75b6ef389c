"""Where a partition starts on a device in MIG mode.

A device has memory slots. A profile takes some of them in a row, and may start only where the driver says.
:meth:`MigGeometry.choose` returns the start that leaves the most room for other partitions. The geometry comes from the
driver at run time, because it differs from model to model and from what is documented.

A start is returned whenever one is free, it is the same for the same device, and it never overlaps a partition. No
partition is moved, because none can be while it is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class ProfileShape:
    """The slots that a profile takes, and where it may start."""

    length: int  #: memory slots in a row
    starts: tuple[int, ...]  #: slots where it may start
    at_most: int | None = None  #: number that a device may have at once; ``None``: as many as fit

    def __post_init__(self) -> None:
        if (
            self.length < 1
            or any(start < 0 for start in self.starts)
            or (self.at_most is not None and self.at_most < 0)
        ):
            raise ValueError(f"no partition can have the shape {self}")

    def mask(self, start: int) -> int:
        """Return the slots that it takes from ``start`` on, as bits."""
        return ((1 << self.length) - 1) << start


class PlacedProfile(NamedTuple):
    """A partition that is present on a device."""

    profile: str
    start: int


@dataclass(frozen=True)
class MigGeometry:
    """The shapes of the profiles of one device."""

    shapes: Mapping[str, ProfileShape]

    def occupied(self, parts: Iterable[PlacedProfile]) -> int:
        """Return the slots that partitions take, as bits. Raise :class:`ValueError` where two of them overlap."""
        taken = 0
        for part in parts:
            mask = self.shapes[part.profile].mask(part.start)
            if taken & mask:
                raise ValueError(f"{part} overlaps another partition")
            taken |= mask
        return taken

    def free_starts(self, profile: str, parts: Iterable[PlacedProfile]) -> list[int]:
        """Return every start where the profile would fit, ascending."""
        parts = list(parts)
        return self._starts(profile, self.occupied(parts), sum(part.profile == profile for part in parts))

    def choose(self, profile: str, parts: Iterable[PlacedProfile]) -> int | None:
        """Return the start that leaves the most room; ``None`` where the profile does not fit.

        From the longest profile to the shortest, it is compared how many partitions of it would still fit together, and
        then at how many starts one would fit. Of equal starts the highest wins, because long profiles start low.
        """
        parts = list(parts)
        return self.choose_beside(profile, self.occupied(parts), sum(part.profile == profile for part in parts))

    def choose_beside(self, profile: str, taken: int, count: int) -> int | None:
        """Return what :meth:`choose` does, where slots are taken (as bits) by partitions, ``count`` of them of this
        profile.
        """
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
                _count_together(-length, tuple(sorted(set(starts))), taken),
                sum(not taken & (((1 << -length) - 1) << start) for start in starts),
            )
            for length, starts in by_length
        )


@lru_cache(maxsize=4096)
def _count_together(length: int, starts: tuple[int, ...], taken: int) -> int:
    """Return how many partitions of a length fit beside what is taken.

    To take the free starts in ascending order is optimal, as in interval scheduling by earliest end.
    """
    count = 0
    for start in starts:
        mask = ((1 << length) - 1) << start
        if not taken & mask:
            taken |= mask
            count += 1
    return count
