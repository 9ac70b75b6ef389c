"""Messages and errors of the interface: a code, parameters, and the sentence in English."""

from __future__ import annotations

from typing import overload

from ...wire.schemas import MessageView, ProblemView


@overload
def coded(code: str, text: str) -> MessageView: ...
@overload
def coded(code: str, text: str | None) -> MessageView | None: ...
def coded(code: str, text: str | None) -> MessageView | None:
    """Return the message with that code and text; ``None`` if there is no text."""
    return {"code": code, "params": {}, "text": text} if text else None


def problem(status: int, code: str, detail: str) -> ProblemView:
    """Return the body of an error."""
    return {
        "type": "about:blank",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "message": coded(f"error.{code}", detail),
    }
