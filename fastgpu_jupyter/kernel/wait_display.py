"""The display that a cell shows while its lease waits, and the text of a stopped wait.

The display is one output that is updated in place: as plain text, as HTML, and as data for JupyterLab and Notebook 7,
which add buttons to the same sentences. A screen reader reads the queue position and the reason when they change, not
the seconds that pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..core.model.lifecycle import PARKED_OR_PARKING, RETURNING
from ..messages import joined, say, sentence_of
from ..text import printable
from ..wire.lease_view import position_of

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

#: After this time the display is updated less often: every update is a message to each browser.
FREQUENT_UPDATES_S = 60.0


#: The type of the data; labextension/src/views/waitingoutput.tsx draws it.
MIME = "application/vnd.fastgpu.waiting+json"


class WaitDisplay:
    """One updatable output of the running cell; ``publish`` sends its messages.

    ``had_gpu``: this process had a GPU before, so that a parked lease is one whose memory is restored.
    """

    def __init__(self, publish: Callable[[str, dict[str, Any]], None], *, had_gpu: bool = False) -> None:
        self._publish = publish
        self._had_gpu = had_gpu
        self._display_id = uuid4().hex
        self._started = time.monotonic()
        self._last: str | None = None
        self.shown = False

    def show(self, view: LeaseView | None, pool_error: str | None, note: str | None = None) -> None:
        """Show or update the display, with ``note`` after its state; do nothing where the text would be the same."""
        parked = self._had_gpu and view is not None and is_parked(view)
        requested_ms = time.time() * 1000 - view["times"]["requested_at"] if view is not None and not parked else 0
        waited_ms = max(int((time.monotonic() - self._started) * 1000), int(requested_ms))
        head, hint = headline(view, pool_error, had_gpu=self._had_gpu), hint_of(parked=parked)
        head = printable(joined((head, note)))
        passing = joined((countdown(view), say("wait.waited", waited_ms=waited_ms)))
        text = joined((head, passing, hint))
        if text == self._last:
            return
        self._last = text
        content: dict[str, Any] = {
            "data": {
                "text/plain": text,
                "text/html": as_html(head, passing, hint),
                MIME: {"lease_id": view["id"] if view else None, "head": head, "passing": passing, "hint": hint},
            },
            "metadata": {},
            "transient": {"display_id": self._display_id},
        }
        kind = "update_display_data" if self.shown else "display_data"
        self._publish(kind, content)
        self.shown = True

    def clear(self) -> None:
        """Remove the display; the cell has no other output yet."""
        if self.shown:
            self._publish("clear_output", {"wait": False})
            self.shown = False

    def pause_s(self) -> float:
        """Return the seconds until the next update."""
        return 1.0 if time.monotonic() - self._started < FREQUENT_UPDATES_S else 5.0


def headline(view: LeaseView | None, pool_error: str | None, *, had_gpu: bool = False) -> str:
    """Return one or two sentences about the state of a lease that waits."""
    from ..jobs.wait_sentences import estimate, reason_of, waiting  # late: a start does not need them

    if pool_error is not None:
        return say("wait.no_answer", error=pool_error)
    if view is None:
        return say("wait.asking")
    if had_gpu and view["state"] == "resuming":
        return say("wait.restoring")
    if view["state"] == "preparing" or not (had_gpu and is_parked(view)):
        return waiting(view)
    position, expected, reason = position_of(view), estimate(view), reason_of(view)
    why = say("wait.was_parked", reason=sentence_of(view["parking"]["reason"]) or "", kept=say("note.kept"))
    if position is None:
        return say("wait.to_return", reason=reason, expected=expected, why=why)
    return say("wait.to_return_at_position", position=position, reason=reason, expected=expected, why=why)


def hint_of(*, parked: bool) -> str:
    """Return what the user can do while the cell waits."""
    return say("wait.hint_parked") if parked else say("wait.hint")


def is_parked(view: LeaseView) -> bool:
    """Return whether the lease was parked and has not resumed; a lease that waits for the first grant was not."""
    resumes = view["state"] in RETURNING and view["parking"]["reason"] is not None
    return resumes or view["state"] in PARKED_OR_PARKING


def countdown(view: LeaseView | None) -> str:
    """Return when the notebook that has the GPU is parked, counted down; empty where that is not known, or past."""
    holder = view["queue"]["holder"] if view is not None and view["queue"] is not None else None
    if holder is None or holder["yields_at"] is None:
        return ""
    left_ms = holder["yields_at"] - int(time.time() * 1000)
    return "" if left_ms <= 0 else say("holder.yields_in", wait_ms=-(-left_ms // 1000) * 1000)


def as_html(head: str, passing: str, hint: str) -> str:
    """Return the display as HTML; all text from outside is escaped. ``passing`` is what changes each second."""
    return (
        '<div class="fastgpu-waiting" style="border-left: 3px solid var(--jp-warn-color1, #b36b00); padding: 2px 8px">'
        f'<span role="status">{escape(head)}</span> '
        f'<span aria-live="off">{escape(passing)}</span><br>'
        f"<small>{escape(hint)}</small></div>"
    )


def stopped_wait_text(view: LeaseView | None, *, had_gpu: bool = False) -> str:
    """Return the error text of a cell whose wait was stopped."""
    position = position_of(view) if view is not None else None
    if had_gpu and view is not None and is_parked(view):
        kept = say("note.kept")
        if position is None:
            return say("wait.stopped_parked", kept=kept)
        return say("wait.stopped_parked_at_position", position=position, kept=kept)
    return say("wait.stopped") if position is None else say("wait.stopped_at_position", position=position)
