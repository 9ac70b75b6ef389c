"""What followers of jobs get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastgpu_jupyter.errors import LimitReached
from fastgpu_jupyter.jobs.dispatcher import publisher
from fastgpu_jupyter.jobs.dispatcher.publisher import EVENT_BYTES_MAX, FOLLOWERS_MAX, UNREAD_BYTES_MAX, Publisher
from fastgpu_jupyter.jobs.dispatcher.record import JobRecord
from fastgpu_jupyter.jobs.dispatcher.table import JobTable
from fastgpu_jupyter.jobs.model import JobState
from tests.jobs.dispatcher.records import record, table


class Received:
    """A connection that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.unread = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.events.append(json.loads(data[4:]))

    def unread_bytes(self) -> int:
        return self.unread

    def close(self) -> None:
        self.closed = True


class Published:
    """A publisher of some jobs that counts how often it encodes one."""

    def __init__(self, jobs: JobTable, bytes_of_a_job: int = 10) -> None:
        self.encoded: list[int] = []
        self._padding = "x" * bytes_of_a_job
        self.publisher = Publisher(jobs, self._encode)

    def _encode(self, job: JobRecord) -> bytes:
        self.encoded.append(job.id)
        return json.dumps({"id": job.id, "padding": self._padding}).encode()


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def ids(event: dict[str, Any]) -> list[int]:
    return [view["id"] for view in event["jobs"]]


def test_many_changes_of_a_job_are_one_event_encoded_once_for_all_followers() -> None:
    async def test() -> None:
        jobs = table(record(1), record(2))
        published, followers = Published(jobs), [Received(), Received()]
        for follower in followers:
            published.publisher.add(follower, None)
        published.publisher.flush()
        published.encoded.clear()
        for _ in range(50):
            published.publisher.changed([jobs[2]], at_once=False)
        published.publisher.flush()
        published.publisher.flush()
        for follower in followers:
            first, second = follower.events
            assert (first["reset"], ids(first), first["queue"]) == (True, [1, 2], [1, 2])
            assert (second["reset"], ids(second), second["queue"]) == (False, [2], None)
        assert published.encoded == [2]
        published.publisher.close()

    in_loop(test)


def test_change_of_a_state_is_sent_at_once_and_progress_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PAUSE_S", 3600)

    async def test() -> None:
        jobs = table(record(1))
        published, follower = Published(jobs), Received()
        published.publisher.add(follower, None)
        await asyncio.sleep(0)
        published.publisher.changed([jobs[1]], at_once=False)
        await asyncio.sleep(0)
        assert len(follower.events) == 1
        published.publisher.changed([jobs[1]], at_once=True)
        await asyncio.sleep(0)
        assert len(follower.events) == 2
        published.publisher.close()

    in_loop(test)


def test_follower_of_an_executor_gets_its_jobs_only() -> None:
    async def test() -> None:
        jobs = table(record(1), record(2, executor="x"))
        published, follower = Published(jobs), Received()
        published.publisher.add(follower, "x")
        published.publisher.changed(jobs.all(), at_once=True)
        published.publisher.flush()
        published.publisher.changed([jobs[1]], at_once=True)
        published.publisher.flush()
        assert [ids(event) for event in follower.events] == [[2]]
        published.publisher.close()

    in_loop(test)


def test_many_jobs_are_several_events_and_a_removed_one_is_gone() -> None:
    async def test() -> None:
        jobs = table(*(record(job_id, state=JobState.DONE) for job_id in range(1, 6)))
        published, follower = Published(jobs, EVENT_BYTES_MAX // 2), Received()
        published.publisher.add(follower, None)
        published.publisher.flush()
        assert [ids(event) for event in follower.events] == [[1], [2], [3], [4], [5]]
        assert [event["reset"] for event in follower.events] == [True, False, False, False, False]
        published.publisher.changed([jobs[3]], at_once=False)
        jobs.remove(3)
        published.publisher.removed([3])
        published.publisher.flush()
        assert (follower.events[-1]["gone"], ids(follower.events[-1])) == ([3], [])
        published.publisher.close()

    in_loop(test)


def test_follower_that_does_not_read_is_closed_and_others_go_on() -> None:
    async def test() -> None:
        jobs = table(record(1))
        published, slow, quick = Published(jobs), Received(), Received()
        for follower in (slow, quick):
            published.publisher.add(follower, None)
        slow.unread = UNREAD_BYTES_MAX + 1
        published.publisher.flush()
        assert (slow.closed, slow.events, len(quick.events), len(published.publisher)) == (True, [], 1, 1)
        published.publisher.close()

    in_loop(test)


def test_number_of_followers_is_limited() -> None:
    async def test() -> None:
        published = Published(table())
        for _ in range(FOLLOWERS_MAX):
            published.publisher.add(Received(), None)
        with pytest.raises(LimitReached):
            published.publisher.add(Received(), None)
        published.publisher.close()

    in_loop(test)
