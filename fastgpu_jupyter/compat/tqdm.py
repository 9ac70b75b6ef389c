"""How far the progress bars of tqdm are, whichever of its front ends draws them. The module is passed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def after_each_refresh(tqdm_std: Any, report: Callable[[int, int | None, str | None, str], None]) -> None:
    """Call ``report`` with done, total, unit and description whenever the outermost bar is drawn again, or ends."""
    cls = tqdm_std.tqdm
    refresh, close = cls.refresh, cls.close

    def tell(bar: Any) -> None:
        if getattr(bar, "pos", 0) == 0 and not getattr(bar, "disable", False):
            total = getattr(bar, "total", None)
            unit, text = getattr(bar, "unit", None), getattr(bar, "desc", "")
            report(int(bar.n), None if total is None else int(total), unit or None, text or "")

    def refresh_and_tell(self: Any, *args: Any, **kwargs: Any) -> Any:
        drawn = refresh(self, *args, **kwargs)
        tell(self)
        return drawn

    def close_and_tell(self: Any) -> Any:
        tell(self)
        return close(self)

    cls.refresh, cls.close = refresh_and_tell, close_and_tell
