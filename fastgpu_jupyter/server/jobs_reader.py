"""The thread that follows the jobs of the user for the broadcaster.

It starts a dispatcher only where there may be something to hear of: at first if the user ever had a job, because only a
dispatcher reads the store, and later while there are jobs that are not over. A dispatcher that ends because nothing is
left to do is no failure: what it said last stays true until the next one serves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..errors import DispatcherUnreachable, FastGPUError, Message
from ..messages import render
from ..wire.job_states import UNFINISHED, JobState
from ..wire.stream_follower import StreamFollower
from . import language
from .jobs_connector import has_jobs

StreamMessage = dict[str, Any]
PAUSE_FIRST_S = 0.2
#: How often the reader looks for a dispatcher that another process has started.
LOOK_S = 1.0


class JobsReader(StreamFollower):
    """A reader that hands each message to ``receive``, in the thread of the event loop, until :meth:`stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[JobsReader, StreamMessage], None]) -> None:
        super().__init__("fastgpu-jobs", loop, PAUSE_FIRST_S)
        self._receive = receive
        #: Whether the list of jobs has come once, and those in it that are not over.
        self._listed = False
        self._unfinished: set[int] = set()
        self._received_at: int | None = None

    def follow(self) -> float:
        """Follow one dispatcher, which is started if one is needed; return when to look for the next."""
        needed = self._is_needed()
        if not needed and not self._listed:
            self._hand_over({"type": "jobs", "jobs": [], "gone": [], "queue": [], "reset": True})
        heard = self._read(start=needed)
        return 0.0 if heard and self._is_needed() else LOOK_S

    def _is_needed(self) -> bool:
        return bool(self._unfinished) if self._listed else has_jobs()

    def _read(self, *, start: bool) -> bool:
        """Read until the dispatcher ends; return whether it has said anything. Starts one if ``start``."""
        if not (start or has_jobs()):
            return False
        from ..jobs.client import JobsClient, ensure_dispatcher

        if start:
            ensure_dispatcher().close()
        heard = False
        stream = self.opened(JobsClient(starts=False).follow())
        try:
            for event in stream:
                heard = True
                self._note(event)
                self._hand_over({"type": "jobs", **event})
        except DispatcherUnreachable:
            # It has ended, or none serves. One that was to serve and says nothing is a failure.
            if start and not heard:
                raise
        return heard

    def _note(self, event: Any) -> None:
        if event["reset"]:
            self._unfinished.clear()
        for job in event["jobs"]:
            if JobState(job["state"]) in UNFINISHED:
                self._unfinished.add(job["id"])
            else:
                self._unfinished.discard(job["id"])
        self._unfinished.difference_update(event["gone"])
        self._received_at = round(1000 * time.time())

    def lost(self, error: Exception | None) -> None:
        """Hand over that the jobs cannot be followed, and why."""
        reason = Message.of("jobs.not_followed", reason=str(error))
        if isinstance(error, FastGPUError):
            reason = error.message
        text = render(reason, language.of_user())
        self._hand_over({"type": "jobs_unreachable", "message": text, "since": self._received_at})

    def _hand_over(self, message: StreamMessage) -> None:
        if message["type"] == "jobs":
            self._listed = True
        if not self.is_stopped():
            self.hand_over(self._receive, self, message)
