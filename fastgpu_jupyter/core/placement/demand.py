"""The input and the output of placement: a demand, a placement, and what a placement must leave alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Demand:
    """The resources of one lease: a fraction of one device, or whole devices of one model on one host.

    Where ``units`` and ``divisor`` are both ``None``, whole devices are meant; with 0 devices only host resources.
    """

    devices: int = 1
    units: int | None = None  #: of one device's capacity
    divisor: int | None = None  #: n-th parts of one device's capacity, rounded down
    models: frozenset[str] | None = None  #: acceptable models; ``None``: all
    cpu_milli: int = 0
    host_memory_bytes: int = 0
    numerator: int = 1  #: how many of the n-th parts
    _hash: int = field(init=False, repr=False, compare=False)  #: cached, because every placement looks its demand up

    def __post_init__(self) -> None:
        if min(self.devices, self.cpu_milli, self.host_memory_bytes) < 0:
            raise ValueError("a demand is not negative")
        if not self.whole and (self.devices != 1 or (self.units is None) == (self.divisor is None)):
            raise ValueError("a fraction is of one device, by units or by divisor")
        if (self.units is not None and self.units < 1) or (self.divisor is not None and self.divisor < 1):
            raise ValueError("a fraction is at least one unit")
        if self.numerator < 1 or (self.numerator > 1 and (self.divisor is None or self.numerator > self.divisor)):
            raise ValueError("a fraction is at most all of its device")
        object.__setattr__(self, "_hash", hash(self._values()))

    def _values(self) -> tuple[int, int | None, int | None, frozenset[str] | None, int, int, int]:
        return (
            self.devices, self.units, self.divisor, self.models, self.cpu_milli, self.host_memory_bytes, self.numerator,
        )  # fmt: skip

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Demand], tuple[object, ...]]:
        return Demand, self._values()  # the hash of a string differs from process to process

    @property
    def whole(self) -> bool:
        """Whether the demand takes its devices entirely."""
        return self.units is None and self.divisor is None

    def units_on(self, capacity: int) -> int:
        """Return the units that the demand takes of each of its devices where a device has ``capacity`` units."""
        if self.units is not None:
            return self.units
        return capacity * self.numerator // self.divisor if self.divisor else capacity

    def allows(self, model: str) -> bool:
        """Return whether a device of ``model`` is acceptable."""
        return self.models is None or model in self.models


class Placement(NamedTuple):
    """The devices that serve a demand, and the units taken of each."""

    host_id: str
    device_ids: tuple[str, ...]
    units: int  #: of each device


class Exclusion(NamedTuple):
    """What a placement must leave alone on one host, because it is reserved for another request."""

    device_ids: frozenset[str]
    cpu_milli: int = 0
    memory_bytes: int = 0

    def combined_with(self, other: Exclusion) -> Exclusion:
        """Return the exclusion of everything that either of the two excludes."""
        return Exclusion(
            self.device_ids | other.device_ids,
            self.cpu_milli + other.cpu_milli,
            self.memory_bytes + other.memory_bytes,
        )


#: Nothing is excluded.
NO_EXCLUSION = Exclusion(frozenset())
