"""Keys of results: what a computation depends on, by content, and never by the name or the place of its code.

A key exists before a job runs. What only the run can show, such as a file that was opened and not declared, is the
business of :mod:`fastgpu_jupyter.jobs.work.audit`; then the result is kept, but not cached.
"""

from __future__ import annotations

from .explanation import closest, collision, difference, not_cached, same, why_hit, why_miss
from .ingredients import CacheKey, Declared, Ingredient, NotCacheable, declared_paths
from .keys import key_of_cell, key_of_command, key_of_function, key_of_notebook

__all__ = [
    "CacheKey",
    "Declared",
    "Ingredient",
    "NotCacheable",
    "closest",
    "collision",
    "declared_paths",
    "difference",
    "key_of_cell",
    "key_of_command",
    "key_of_function",
    "key_of_notebook",
    "not_cached",
    "same",
    "why_hit",
    "why_miss",
]
