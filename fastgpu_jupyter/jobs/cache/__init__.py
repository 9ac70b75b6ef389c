"""Keys of results: what a computation depends on, by content, and never by the name or the place of its code."""

from __future__ import annotations

from .explanation import difference, same
from .ingredients import CacheKey, Declared, Ingredient, NotCacheable
from .keys import key_of_cell, key_of_command, key_of_function, key_of_notebook

__all__ = [
    "CacheKey",
    "Declared",
    "Ingredient",
    "NotCacheable",
    "difference",
    "key_of_cell",
    "key_of_command",
    "key_of_function",
    "key_of_notebook",
    "same",
]
