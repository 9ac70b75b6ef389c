"""The live line that a cell shows while its lease waits, and what a stopped wait says.

The line is one display that is updated in place, as plain text and as HTML. A screen reader is told the place and the
reason when they change, not the seconds that pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..units import format_duration
from .sentences import KEPT, because

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

#: After this time the line is updated less often: every update is a message to each browser.
FRESH_S = 60.0
HINT = "Stop ends the wait and keeps your place; %fastgpu cpu runs without a GPU."
HINT_AWAY = "Stop ends the wait and keeps your place."


class WaitingLine:
    """One updatable display in the cell that runs; ``publish`` sends its messages.

    ``kept``: this process had a GPU before, so that a lease that was parked is one that comes back to it.
    """

    def __init__(self, publish: Callable[[str, dict[str, Any]], None], *, kept: bool = False) -> None:
        self._publish = publish
        self._kept = kept
        self._display_id = uuid4().hex
        self._started = time.monotonic()
        self._last: str | None = None
        self.shown = False

    def show(self, view: LeaseView | None, trouble: str | None) -> None:
        """Show or update the line; does nothing where it would say the same."""
        away = self._kept and view is not None and is_away(view)
        asked_ms = time.time() * 1000 - view["requested_at"] if view is not None and not away else 0
        waited_ms = max(int((time.monotonic() - self._started) * 1000), int(asked_ms))
        said, hint = headline(view, trouble, kept=self._kept), HINT_AWAY if away else HINT
        text = f"{said} Waited {format_duration(waited_ms)}. {hint}"
        if text == self._last:
            return
        self._last = text
        content: dict[str, Any] = {
            "data": {"text/plain": text, "text/html": as_html(said, waited_ms, hint)},
            "metadata": {},
            "transient": {"display_id": self._display_id},
        }
        kind = "update_display_data" if self.shown else "display_data"
        self._publish(kind, content)
        self.shown = True

    def clear(self) -> None:
        """Take the line away; the cell has shown nothing else yet."""
        if self.shown:
            self._publish("clear_output", {"wait": False})
            self.shown = False

    def pause_s(self) -> float:
        """How long the line may stay as it is."""
        return 1.0 if time.monotonic() - self._started < FRESH_S else 5.0


def headline(view: LeaseView | None, trouble: str | None, *, kept: bool = False) -> str:
    """Where the lease stands, in a sentence or two."""
    if trouble is not None:
        return f"Waiting for a GPU: the pool manager does not answer. {trouble}"
    if view is None:
        return "Waiting for a GPU: asking the pool manager."
    if kept and view["state"] == "resuming":
        return "A GPU is there; what this notebook had on its GPU is being brought back."
    place = f": place {view['place']} in the queue" if view["place"] else ""
    detail = (view["pending_detail"] or "").strip()
    said = f"{detail[:1].upper()}{detail[1:]} " if detail else ""
    if view["state"] == "preparing":
        return f"Your GPU is granted and being prepared. {said}".rstrip()
    if kept and is_away(view):
        why = f"It was parked because {because(view['park_reason'])}. {KEPT}"
        return f"Waiting for the GPU to come back to this notebook{place}. {said}{why}"
    return f"Waiting for a GPU{place}. {said}".rstrip()


def is_away(view: LeaseView) -> bool:
    """Whether the lease was parked and is not back yet; one that waits for the first time never was."""
    waits = view["state"] in ("waiting", "resuming") and view["park_reason"] is not None
    return waits or view["state"] in ("parking", "parked")


def as_html(said: str, waited_ms: int, hint: str = HINT) -> str:
    """The line for a browser; all text from outside is escaped."""
    return (
        '<div class="fastgpu-waiting" style="border-left: 3px solid var(--jp-warn-color1, #b36b00); padding: 2px 8px">'
        f'<span role="status">{escape(said)}</span> '
        f'<span aria-live="off">Waited {escape(format_duration(waited_ms))}.</span><br>'
        f"<small>{escape(hint)}</small></div>"
    )


def stopped_sentence(view: LeaseView | None, *, kept: bool = False) -> str:
    """What a cell says whose wait was stopped."""
    place = f" (place {view['place']})" if view is not None and view["place"] else ""
    if kept and view is not None and is_away(view):
        return (
            f"Stopped waiting for the GPU to come back; this notebook keeps its place in the queue{place}. {KEPT} "
            "Run the cell again to go on waiting."
        )
    return (
        f"Stopped waiting for a GPU; this notebook keeps its place in the queue{place}. "
        "Run the cell again to go on waiting, `%fastgpu cpu` to work without a GPU, "
        "or `%fastgpu release` to leave the queue."
    )
