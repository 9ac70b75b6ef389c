"""The modules that standby kernels of this server must not import ahead, because one of them has tried it.

They are imported by the notebooks, as without a preload. The next server tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..wire.preload import Refusal, RefusalReason


class PreloadRefused(Exception):
    """A standby kernel has ended because of a module that it was to import."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class PreloadRefusals:
    """The refusals of this process, by kernelspec and module; only the event loop changes them."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str], Refusal] = {}

    def add(self, kernelspec: str, refusal: Refusal) -> None:
        """Do not let standby kernels of ``kernelspec`` import that module again."""
        self._refused[kernelspec, refusal.module] = refusal

    def allowed(self, kernelspec: str, modules: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``modules`` that were not refused."""
        return tuple(name for name in modules if (kernelspec, name) not in self._refused)

    def all(self) -> dict[tuple[str, str], Refusal]:
        """Return the refusals, by kernelspec and module."""
        return dict(self._refused)


#: Those of this process.
refusals = PreloadRefusals()


def read_refusal(message: Any) -> Refusal | None:
    """Return the refusal that a standby kernel has sent; None if it is not one of this version."""
    try:
        module, reason, detail = message
        return Refusal(str(module), RefusalReason(reason), str(detail))
    except (TypeError, ValueError):
        return None
