"""What followers get: the jobs that have changed, each once, however often it has changed meanwhile.

A change of a state is sent at once; progress, log and cost are sent after a pause, together. A follower that does not
read is closed, and gets everything again when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ...errors import LimitReached, Message
from ..frames import framed
from .record import JobRecord
from .table import JobTable

PAUSE_S = 0.25
FOLLOWERS_MAX = 64
#: Bytes of the jobs in one event.
EVENT_BYTES_MAX = 512 * 1024
#: Bytes that a follower may have unread.
UNREAD_BYTES_MAX = 8 * 2**20
#: Jobs that are over and belong to the first event.
OVER_AT_FIRST = 200
KEEPALIVE_S = 10.0


class Sink(Protocol):
    """The sending side of a connection."""

    def write(self, data: bytes) -> None: ...  # noqa: D102
    def unread_bytes(self) -> int: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(eq=False)
class Follower:
    """A connection that follows the jobs, or those of one executor."""

    sink: Sink
    executor: str | None = None
    changed: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    queue: bool = False
    reset: bool = True


class Publisher:
    """The followers and what each has yet to get. ``encode`` returns the view of a job as JSON."""

    def __init__(self, table: JobTable, encode: Callable[[JobRecord], bytes]) -> None:
        self._table = table
        self._encode = encode
        self._followers: dict[Sink, Follower] = {}
        self._at_once: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._followers)

    def add(self, sink: Sink, executor: str | None) -> None:
        """Send everything to a new follower, and all changes from then on."""
        if len(self._followers) >= FOLLOWERS_MAX:
            raise LimitReached(Message.of("jobs.too_many_followers", followers_max=FOLLOWERS_MAX), 10)
        self._followers[sink] = Follower(sink, executor, changed=self._at_first(executor), queue=True)
        self._soon()
        if self._keepalive is None:
            self._keepalive = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._keep_alive)

    def _at_first(self, executor: str | None) -> set[int]:
        over = [job.id for job in self._table.all() if job.over and _concerns(job, executor)]
        unfinished = [job.id for job in self._table.all() if not job.over and _concerns(job, executor)]
        return {*over[-OVER_AT_FIRST:], *unfinished}

    def remove(self, sink: Sink) -> None:
        """Forget a follower whose connection has ended."""
        self._followers.pop(sink, None)

    def changed(self, jobs: Iterable[JobRecord], *, at_once: bool) -> None:
        """Note that jobs have changed."""
        jobs = list(jobs)
        for follower in self._followers.values():
            follower.changed.update(job.id for job in jobs if _concerns(job, follower.executor))
            follower.queue |= at_once
        if self._followers:
            self._soon() if at_once else self._after_pause()

    def removed(self, job_ids: Iterable[int]) -> None:
        """Note that jobs are not kept any more."""
        ids = set(job_ids)
        for follower in self._followers.values():
            follower.gone |= ids
            follower.changed -= ids
        if self._followers:
            self._after_pause()

    def _soon(self) -> None:
        if self._at_once is None:
            self._at_once = asyncio.get_running_loop().call_soon(self.flush)

    def _after_pause(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(PAUSE_S, self.flush)

    def _keep_alive(self) -> None:
        self._keepalive = None
        if self._followers:
            for sink in list(self._followers):
                sink.write(framed(b'{"event":"keepalive"}'))
            self._keepalive = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._keep_alive)

    def flush(self) -> None:
        """Send what there is."""
        for handle in (self._at_once, self._later):
            if handle is not None:
                handle.cancel()
        self._at_once = self._later = None
        encoded: dict[int, bytes] = {}
        for follower in list(self._followers.values()):
            if follower.sink.unread_bytes() > UNREAD_BYTES_MAX:
                self.remove(follower.sink)
                follower.sink.close()
            elif follower.changed or follower.gone or follower.reset:
                self._send(follower, encoded)

    def _send(self, follower: Follower, encoded: dict[int, bytes]) -> None:
        views = []
        for job_id in sorted(follower.changed):
            job = self._table.get(job_id)
            if job is not None:
                if job_id not in encoded:
                    encoded[job_id] = self._encode(job)
                views.append(encoded[job_id])
        queue = self._table.queue() if follower.queue and follower.executor is None else None
        for number, part in enumerate(_parts(views)):
            first = number == 0
            head = {
                "event": "jobs",
                "reset": follower.reset and first,
                "gone": sorted(follower.gone) if first else [],
                "queue": queue if first else None,
            }
            follower.sink.write(framed(msgspec.json.encode(head)[:-1] + b',"jobs":[' + b",".join(part) + b"]}"))
        follower.changed, follower.gone, follower.queue, follower.reset = set(), set(), False, False

    def close(self) -> None:
        """Stop the timers; connections are closed by the server."""
        for handle in (self._at_once, self._later, self._keepalive):
            if handle is not None:
                handle.cancel()


def _concerns(job: JobRecord, executor: str | None) -> bool:
    return executor is None or job.executor == executor


def _parts(views: list[bytes]) -> Iterable[list[bytes]]:
    """Yield the views in parts of a limited size; one part without any if there are none."""
    part: list[bytes] = []
    size = 0
    for view in views:
        if part and size + len(view) > EVENT_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(view)
        size += len(view)
    yield part
