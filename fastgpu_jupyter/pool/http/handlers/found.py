"""Find a view in a list after a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ....errors import Message, NotFound

T = TypeVar("T")


def found(views: Sequence[T], is_wanted: Callable[[T], bool], name: str) -> T:
    """Return the wanted view. Raises :class:`NotFound` if it is gone by now."""
    for view in views:
        if is_wanted(view):
            return view
    raise NotFound(Message.of("request.gone", name=repr(name[:80])))
