"""Private parts of ``jupyter_server``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

#: The model of a session before (None: it is new) and after a change.
SessionChanged = Callable[[Mapping[str, Any] | None, Mapping[str, Any]], None]


def call_after_session_changes(session_manager: Any, changed: SessionChanged) -> None:
    """Call ``changed`` after each session that ``session_manager`` saves or updates, as when a notebook is renamed.

    There is no event for that, and a subclass of the session manager would exclude one that the user configured: the
    public methods of this object are wrapped. A session manager without them is left as it is.
    """
    save, update = getattr(session_manager, "save_session", None), getattr(session_manager, "update_session", None)
    if save is None or update is None:
        return

    @wraps(save)
    async def save_and_call(*arguments: Any, **named: Any) -> Any:
        model = await save(*arguments, **named)
        if isinstance(model, Mapping):
            changed(None, model)
        return model

    @wraps(update)
    async def update_and_call(session_id: str, **named: Any) -> Any:
        before = await session_manager.get_session(session_id=session_id)
        answer = await update(session_id, **named)
        changed(before, await session_manager.get_session(session_id=session_id))
        return answer

    session_manager.save_session, session_manager.update_session = save_and_call, update_and_call
