"""Find a view in a list after a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ....errors import NotFound

T = TypeVar("T")


def found(views: Sequence[T], is_wanted: Callable[[T], bool], name: str) -> T:
    """Return the wanted view. Raises :class:`NotFound` if it is gone by now."""
    for view in views:
        if is_wanted(view):
            return view
    raise NotFound(f"There is no {name[:80]!r} any more.")
