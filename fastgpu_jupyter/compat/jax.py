"""Parts of JAX that are private or differ by version. The module is passed in: importing it takes seconds."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

#: The variables from which JAX reads the part of the device's memory that it may take, the newer first. From jaxlib
#: 0.4.34 on both are read, and both together are an error after which JAX goes on with the CPU; before, only the old.
MEMORY_FRACTIONS = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
NEW_NAME_FROM = (0, 4, 34)


def backends_are_initialized(jax: Any) -> bool | None:
    """Return whether ``jax`` has created its backends, which fixes its memory settings; None where it cannot be known.

    Public functions that would tell (``jax.devices``) create the backends.
    """
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    ask = getattr(bridge, "backends_are_initialized", None)
    return None if ask is None else bool(ask())


def set_memory_fraction(environ: MutableMapping[str, str], fraction: str, jaxlib: str | None = None) -> None:
    """Limit JAX to ``fraction`` of the device's memory by exactly one variable, or to less where the user set less.

    ``jaxlib`` is the version that reads it; where that is not known, the name that every version reads is used.
    """
    values = [value for name in MEMORY_FRACTIONS if (value := environ.pop(name, "")) and _is_less(value, fraction)]
    new, old = MEMORY_FRACTIONS
    environ[new if jaxlib is not None and _version(jaxlib) >= NEW_NAME_FROM else old] = (values or [fraction])[0]


def _is_less(value: str, fraction: str) -> bool:
    try:
        return 0 < float(value) < float(fraction)
    except ValueError:
        return False


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:3]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
