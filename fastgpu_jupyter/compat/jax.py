"""Private parts of JAX. The module is passed in: importing JAX takes seconds."""

from __future__ import annotations

from typing import Any


def backends_are_initialized(jax: Any) -> bool | None:
    """Return whether ``jax`` has created its backends, which fixes its memory settings; None where it cannot be known.

    Public functions that would tell (``jax.devices``) create the backends.
    """
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    ask = getattr(bridge, "backends_are_initialized", None)
    return None if ask is None else bool(ask())
