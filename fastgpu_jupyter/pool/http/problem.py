"""The body of an error of the interface."""

from __future__ import annotations

from ...errors import Message
from ...messages import view_of
from ...wire.schemas import ProblemView


def problem(status: int, code: str, message: Message) -> ProblemView:
    """Return the body of an error; ``code`` is that of its class."""
    view = view_of(message)
    return {
        "type": "about:blank",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": view["text"],
        "message": view,
    }
