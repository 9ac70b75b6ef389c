"""``lease_progress()``: what happens to the lease while code runs, on one line of the cell's output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from IPython import display

from ...core.model.lifecycle import OVER
from ...messages import joined, say, sentence_of
from ...text import printable
from ...wire.lease_view import position_of
from ..gate import Gate
from ..wait_display import headline, is_parked
from .kernel_widgets import KernelWidgets, current_widgets

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

#: States in which nothing is in progress.
SETTLED = frozenset(("active", "parked")) | OVER
#: Seconds after which the line is compared with the lease even if no change was reported.
CHECK_S = 1.0


class LeaseStep(NamedTuple):
    """What the lease does: its state, its position in the queue, and a sentence.

    ``state`` is None where this kernel has no lease or the pool manager has not answered yet.
    """

    state: str | None
    position: int | None
    text: str


class LeaseProgress:
    """The progress of this kernel's lease; see :func:`lease_progress`."""

    def __init__(self, kernel_widgets: KernelWidgets) -> None:
        self._kernel_widgets = kernel_widgets
        self._gate = kernel_widgets.gate
        self._display_id = uuid4().hex
        self._shown: LeaseStep | None = None

    def __iter__(self) -> Iterator[LeaseStep]:
        """Yield each step until nothing is in progress."""
        gate, changed = self._gate, threading.Event()
        if gate.view is None and gate.lease_id is not None:
            gate.refresh()
        remove = gate.add_listener(changed.set)
        last = None
        try:
            while True:
                step = step_of(gate)
                if step != last:
                    self._show()
                    yield step
                    last = step
                if gate.lease_id is None or step.state in SETTLED:
                    return
                changed.wait(CHECK_S)
                changed.clear()
        finally:
            remove()

    def __enter__(self) -> Self:
        """Show the line, and update it with each change of the lease until the block ends."""
        self._show()
        self._kernel_widgets.add_line(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the line as it is at the end of the block."""
        self._kernel_widgets.remove_line(self)
        self._show()

    @property
    def step(self) -> LeaseStep:
        """What the lease does now."""
        return step_of(self._gate)

    def content(self) -> dict[str, Any] | None:
        """Return the content of the message that shows the line; None where it is shown already."""
        step = step_of(self._gate)
        if step == self._shown:
            return None
        self._shown = step
        html = f'<div class="fastgpu-progress" role="status">{escape(step.text)}</div>'
        data = {"text/plain": step.text, "text/html": html}
        return {"data": data, "metadata": {}, "transient": {"display_id": self._display_id}}

    def _show(self) -> None:
        """Display the line, or update it, in the cell that runs; called in the thread of that cell."""
        publish: Any = display.publish_display_data  # it carries no types
        is_new = self._shown is None
        content = self.content()
        if content is not None:
            publish(content["data"], {}, transient=content["transient"], update=not is_new)


def lease_progress() -> LeaseProgress:
    """Return the progress of this kernel's lease: through the queue, into host memory and back.

    As a context manager it shows one line that follows the lease while the block runs, as when others need the GPU and
    the lease is parked meanwhile::

        with lease_progress():
            train()

    As an iterator it shows the same line, yields a :class:`LeaseStep` for each change, and ends as soon as nothing is
    in progress: when the lease is active, parked or over. It waits for a change and makes none::

        widget.resume()
        for step in lease_progress():
            print(step.state, step.position)

    Raises :class:`~fastgpu_jupyter.errors.Conflict` where it is not called in the kernel of a notebook.
    """
    return LeaseProgress(current_widgets())


def step_of(gate: Gate) -> LeaseStep:
    """Return what the lease of ``gate`` does now."""
    view = gate.view
    if view is None:
        asking = say("widget.asking")
        return LeaseStep(None, None, say("magic.no_lease") if gate.lease_id is None else gate.pool_error or asking)
    text = printable(joined((_sentence(gate, view), gate.pool_error)))
    return LeaseStep(view["state"], position_of(view), text)


def _sentence(gate: Gate, view: LeaseView) -> str:
    state = view["state"]
    if state == "active":
        model = (view["gpu"] and view["gpu"]["model"]) or ""
        return say("progress.active", size=view["request"]["size"], model=model)
    if state == "parking":
        return say("progress.parking")
    if state == "parked":
        return say("progress.parked", reason=sentence_of(view["parking"]["reason"]) or "")
    if state == "resuming" and is_parked(view):
        parked_bytes = view["parking"]["parked_bytes"]
        return say("progress.resuming_memory", parked_bytes=parked_bytes) if parked_bytes else say("progress.resuming")
    if state in OVER:
        return say("progress.over", reason=sentence_of(view["end_reason"]) or "")
    return headline(view, None, had_gpu=gate.had_gpu)
