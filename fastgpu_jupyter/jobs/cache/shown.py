"""Short texts by which a user recognizes a value, for explanations; code of the user's does not run for them."""

from __future__ import annotations

from typing import Any

CHARS_MAX = 60
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def shown(value: Any) -> str:
    """Return a plain value as Python writes it, and of others the type with the size or the shape."""
    kind = type(value)
    if kind in _PLAIN:
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**CHARS_MAX else ""
        return text if len(text) <= CHARS_MAX else f"{text[: CHARS_MAX - 1]}…"
    if kind in (list, tuple, set, dict, frozenset):
        parts = [*value.keys(), *value.values()] if kind is dict else list(value)
        text = repr(value) if len(parts) <= 10 and all(type(one) in _PLAIN for one in parts) else ""
        return text if 0 < len(text) <= CHARS_MAX else f"{kind.__name__} ({len(value)})"
    shape = getattr(value, "shape", None) if kind.__module__.partition(".")[0] in _ARRAYS else None
    if isinstance(shape, tuple):
        return f"{kind.__name__} {getattr(value, 'dtype', '')} {tuple(shape)}".replace("  ", " ")[:CHARS_MAX]
    return ""


_ARRAYS = frozenset({"numpy", "pandas", "torch"})
