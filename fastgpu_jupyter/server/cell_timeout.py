"""Notes on the errors of programs that run notebooks: whether a cell's time ran out while it waited for a GPU."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..core.model.lifecycle import BLOCKING_CELLS
from ..errors import Message
from ..messages import render, sentences_of
from ..wire.lease_view import explanation_of, position_of
from .threads import in_thread

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView
    from .kernel_lease import KernelLease


def timeout_in_progress() -> TimeoutError | None:
    """Return the error for which the caller ends the kernel, if a time-out is one.

    nbclient, on which nbconvert and papermill are built, raises it and shuts the kernel down while it propagates.
    """
    error = sys.exception()
    return error if isinstance(error, TimeoutError) else None


def explain_timeout(error: TimeoutError, view: LeaseView) -> None:
    """Add a note to ``error``, which tracebacks show, if the lease ``view`` has no GPU yet."""
    if view["state"] not in BLOCKING_CELLS:
        return
    position = position_of(view)
    note = (
        Message.of("timeout.in_queue", position=position, explanation=sentences_of(explanation_of(view)) or "")
        if position
        else Message.of("timeout.in_preparation")
    )
    error.add_note(render(note))


async def explain_timeout_in_progress(lease: KernelLease) -> None:
    """Let the error of a cell whose time has run out say that it waited for its GPU."""
    error = timeout_in_progress()
    view = None if error is None else await in_thread(lease.view)
    if error is not None and view is not None:
        explain_timeout(error, view)
