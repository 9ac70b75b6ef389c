"""A copy of the list of jobs, made from the messages about them, for browsers that come later."""

from __future__ import annotations

from typing import Any

StreamMessage = dict[str, Any]


class JobsMirror:
    """The jobs after all messages so far."""

    def __init__(self) -> None:
        self._jobs: dict[int, StreamMessage] = {}
        self._queue: list[int] = []
        self._known = False
        self._unreachable: StreamMessage | None = None

    def apply(self, message: StreamMessage) -> None:
        """Apply one message about jobs."""
        if message["type"] == "jobs_unreachable":
            self._unreachable = message
            return
        self._unreachable = None
        if message["reset"]:
            self._known = True
            self._jobs.clear()
        self._jobs.update((view["id"], view) for view in message["jobs"])
        for job_id in message["gone"]:
            self._jobs.pop(job_id, None)
        if message["queue"] is not None:
            self._queue = message["queue"]

    def messages(self) -> list[StreamMessage]:
        """Return what a new subscriber gets: the list, and that the dispatcher does not answer, as far as known."""
        found: list[StreamMessage] = []
        if self._known:
            jobs = list(self._jobs.values())
            found.append({"type": "jobs", "jobs": jobs, "gone": [], "queue": self._queue, "reset": True})
        if self._unreachable is not None:
            found.append(self._unreachable)
        return found
