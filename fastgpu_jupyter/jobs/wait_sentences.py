"""Sentences about a lease that waits: its position, the reason and the expected wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.model.lifecycle import LeaseState
from ..messages import say, sentence_of, sentences_of
from ..wire.lease_view import explanation_of, position_of

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView


def waiting(view: LeaseView) -> str:
    """Return one or two sentences about a lease that waits for its first grant, or is being prepared."""
    position, expected = position_of(view), estimate(view)
    if view["state"] == LeaseState.PREPARING:
        return say("wait.preparing", reason=reason_of(view))
    if position is None:
        return say("wait.for_gpu", reason=reason_of(view), expected=expected)
    return say("wait.at_position", position=position, reason=reason_of(view), expected=expected)


def reason_of(view: LeaseView) -> str:
    """Return why the lease waits, and its notes, beginning with a capital; empty where there is nothing to explain."""
    detail = sentences_of(explanation_of(view)) or ""
    return f"{detail[:1].upper()}{detail[1:]}"


def estimate(view: LeaseView) -> str:
    """Return the expected wait with its basis as a sentence; empty where it is not known."""
    queue = view["queue"]
    if queue is None or queue["estimate_ms"] is None:
        return ""
    basis = sentence_of(queue["estimate_basis"]) or ""
    return say("wait.expected", estimate_ms=queue["estimate_ms"], basis=basis)
