"""What making a key may cost, and the error for what cannot be a part of a key."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...errors import Message

#: A key that takes longer than computing the result would is worth nothing: beyond these there is none.
BYTES_MAX = 64 << 30
OBJECTS_MAX = 5_000_000
SECONDS_MAX = 120
MODULES_MAX = 2_000
#: The ingredients of a key are sent to the dispatcher in one frame of 1 MiB.
INGREDIENTS_MAX = 3_000
#: Steps to what has no form that an error names.
_STEPS_MAX = 20
_NAME_CHARS_MAX = 200


class Unhashable(Exception):
    """A value has no canonical form, or too large a one. ``steps`` lead to it, the innermost first."""

    def __init__(self, describe: Callable[[str], Message]) -> None:
        super().__init__(describe)
        self._describe = describe
        self.steps: list[str] = []

    def within(self, step: str) -> Unhashable:
        """Return this error with one more step, of what holds what the others lead to."""
        if len(self.steps) < _STEPS_MAX:
            self.steps.append(step)
        return self

    @property
    def message(self) -> Message:
        """Return what cannot be a part of a key, by name, and why."""
        return self._describe("".join(reversed(self.steps))[:_NAME_CHARS_MAX])


def not_hashable(type_name: str) -> Unhashable:
    """Return the error for an object without a canonical form."""
    return Unhashable(lambda name: Message.of("cache.not_hashable", name=name, type=type_name))


def too_deep() -> Unhashable:
    """Return the error for values or expressions inside one another, more deeply than the interpreter can follow."""
    return Unhashable(lambda name: Message.of("cache.too_deep", name=name))


def too_many(count: int) -> Unhashable:
    """Return the error for more objects, modules or files than a key can have."""
    return Unhashable(lambda name: Message.of("cache.too_many", name=name, count=count))


def unreadable(reason: str) -> Unhashable:
    """Return the error for a file, a program or an interpreter that cannot be read or does not answer."""
    return Unhashable(lambda name: Message.of("cache.unreadable", name=name, reason=reason))


@dataclass
class Budget:
    """What is left of the limits while one key is made."""

    bytes_left: int = field(default_factory=lambda: BYTES_MAX)
    objects_left: int = field(default_factory=lambda: OBJECTS_MAX)
    ends_s: float = field(default_factory=lambda: time.monotonic() + SECONDS_MAX)

    def spend_bytes(self, count: int) -> None:
        """Count bytes that are hashed. Raises :class:`Unhashable` beyond the limits of size and time."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise Unhashable(lambda name: Message.of("cache.too_large", name=name, limit_bytes=BYTES_MAX))
        self._look_at_clock()

    def spend_objects(self, count: int) -> None:
        """Count objects that are hashed. Raises :class:`Unhashable` beyond the limits of number and time."""
        before, self.objects_left = self.objects_left, self.objects_left - count
        if self.objects_left < 0:
            raise too_many(OBJECTS_MAX)
        if before >> 12 != self.objects_left >> 12:
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        if time.monotonic() > self.ends_s:
            raise Unhashable(lambda name: Message.of("cache.too_slow", name=name, seconds=SECONDS_MAX))
