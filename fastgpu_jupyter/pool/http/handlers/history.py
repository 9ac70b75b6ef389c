"""The window of a history: its resolution and its start."""

from __future__ import annotations

from ....errors import InvalidRequest, Message
from ...monitors.history import RESOLUTIONS
from ..call import HttpCall


def window_of(call: HttpCall) -> tuple[str, int | None]:
    """Return the resolution and the start of the history that a caller requests. Raises :class:`InvalidRequest`."""
    resolution = call.query.get("resolution", "1s")
    if resolution not in RESOLUTIONS:
        raise InvalidRequest(Message.of("request.resolution", choices=", ".join(RESOLUTIONS)))
    return resolution, call.number("since")
