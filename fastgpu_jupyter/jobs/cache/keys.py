"""The key of each kind of job, or why there is none."""

# ruff: noqa: ARG001
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ...errors import Message
from .ingredients import CacheKey, Declared, Environment, NotCacheable

_NOTHING = Declared()


def key_of_cell(
    code: str,
    namespace: Mapping[str, Any],
    inputs: Collection[str],
    *,
    outputs: Collection[str] = (),
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a cell with ``inputs``, names of variables, that leaves the variables ``outputs``.

    What else of ``namespace`` the cell reaches, such as functions and modules, is in the key, too. ``environment`` is
    that of the job, by default the one of this process.
    """
    return NotCacheable(Message.of_text("Keys are not made yet."))


def key_of_function(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a call of ``function`` with those arguments."""
    return NotCacheable(Message.of_text("Keys are not made yet."))


def key_of_notebook(
    notebook: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    kernel: str | None = None,
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a run of ``notebook``, a document of nbformat 4, with those parameters and that kernel."""
    return NotCacheable(Message.of_text("Keys are not made yet."))


def key_of_command(
    argv: Sequence[str], *, declared: Declared = _NOTHING, environment: Environment | None = None
) -> CacheKey | NotCacheable:
    """Return the key of a command: its arguments, its program, and the files among its arguments by content."""
    return NotCacheable(Message.of_text("Keys are not made yet."))
