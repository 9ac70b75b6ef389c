"""The event hub, against a pool whose stream the test feeds."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from fastgpu_jupyter.errors import LimitReached, PoolUnreachable
from fastgpu_jupyter.server import hub as hub_module
from fastgpu_jupyter.server.hub import EventHub, Message, Picture, Subscriber


class Stream:
    """Messages that the test puts in; an exception is raised, ``None`` ends it."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()

    def __iter__(self) -> Iterator[Message]:
        while (message := self.messages.get(timeout=5)) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    def close(self) -> None:
        self.messages.put(None)


class Access:
    """Hands out one stream after the other."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.since: list[int | None] = []

    @property
    def opened(self) -> int:
        return len(self.since)

    def connect(self) -> Any:
        return self

    def events(self, lease_id: str | None = None, since: int | None = None) -> Stream:
        self.since.append(since)
        return self.stream


def lease(lease_id: str, state: str, **more: Any) -> Message:
    return {"id": lease_id, "state": state, **more}


def snapshot(*leases: Message) -> Message:
    return {
        "type": "snapshot",
        "seq": 1,
        "pool": {"version": "1"},
        "devices": [{"id": "d"}],
        "leases": list(leases),
        "queue": [],
    }


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setattr(hub_module, "PAUSE_FIRST_S", 0.001)
    return Access()


def make_hub(access: Access, **more: Any) -> EventHub:
    return EventHub(access, **{"subscribers_max": 8, "queue_limit": 8, **more})  # type: ignore[arg-type]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 10))
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgpu-events" and wait_dead(thread)]


def wait_dead(thread: threading.Thread) -> bool:
    thread.join(5)
    return thread.is_alive()


async def until(kind: str, subscriber: Subscriber) -> Message:
    while True:
        message = await subscriber.next(5)
        assert message is not None
        if message["type"] == kind:
            return message


def test_one_reader_for_many_and_none_for_nobody(access: Access) -> None:
    async def scenario() -> None:
        hub = make_hub(access)
        assert hub.readers == 0
        first = hub.subscribe()
        access.stream.messages.put(snapshot(lease("a", "waiting")))
        await until("snapshot", first)
        access.stream.messages.put(
            {"type": "changed", "seq": 2, "devices": [], "leases": [lease("a", "active")], "queue": []}
        )
        await until("changed", first)
        access.stream.messages.put(
            {"type": "usage", "devices": [], "leases": [{"id": "a", "cost_micro": 5}, {"id": "?"}]}
        )
        await until("usage", first)
        others = [hub.subscribe() for _ in range(5)]
        for other in others:
            message = await other.next(1)
            assert message is not None
            assert message["seq"] == 2
            assert message["leases"] == [{"id": "a", "state": "active", "cost_micro": 5}]
        assert access.opened == 1
        for subscriber in (first, *others):
            hub.unsubscribe(subscriber)
        assert hub.readers == 0

    run(scenario())


def test_pool_goes_away_and_comes_back(access: Access) -> None:
    async def scenario() -> None:
        hub = make_hub(access)
        subscriber = hub.subscribe()
        access.stream.messages.put(snapshot())
        await until("snapshot", subscriber)
        access.stream.messages.put(PoolUnreachable("It went away."))
        assert (await until("unreachable", subscriber))["message"] == "It went away."
        late = hub.subscribe()
        assert (await until("unreachable", late))["message"] == "It went away."
        access.stream.messages.put(snapshot())
        await until("snapshot", subscriber)
        await until("snapshot", late)
        hub.close()
        assert await subscriber.next(1) is None

    run(scenario())


def test_after_a_break_only_what_was_missed_is_asked_for_and_subscribers_have_it_all(access: Access) -> None:
    async def scenario() -> None:
        seen: list[tuple[str, str]] = []
        hub = make_hub(access, on_lease=lambda view: seen.append((view["id"], view["state"])))
        subscriber = hub.subscribe()
        access.stream.messages.put(snapshot(lease("a", "waiting"), lease("b", "active")))
        change = {"type": "changed", "devices": [], "leases": [lease("a", "active")], "queue": []}
        access.stream.messages.put({**change, "seq": 7})
        access.stream.messages.put({"type": "usage", "devices": [], "leases": []})
        await until("usage", subscriber)
        access.stream.messages.put(PoolUnreachable("It went away."))
        await until("unreachable", subscriber)
        late = hub.subscribe()
        await until("unreachable", late)
        access.stream.messages.put({**change, "seq": 9, "leases": [lease("b", "parked")], "pool": {"version": "2"}})
        for one in (subscriber, late):
            known = await until("snapshot", one)
            assert known["leases"] == [lease("a", "active"), lease("b", "parked")]
            assert (known["seq"], known["pool"]) == (9, {"version": "2"})
        assert access.since == [None, 7]
        assert seen == [("a", "active"), ("b", "parked")]  # missed, and yet reported
        hub.close()

    run(scenario())


def test_a_hub_that_nobody_watched_begins_anew(access: Access) -> None:
    async def scenario() -> None:
        hub = make_hub(access)
        for _ in range(2):
            subscriber = hub.subscribe()
            access.stream.messages.put(snapshot())
            await until("snapshot", subscriber)
            hub.unsubscribe(subscriber)
            access.stream = Stream()
        assert access.since == [None, None]

    run(scenario())


def test_slow_subscriber_is_cut_and_others_go_on(access: Access) -> None:
    async def scenario() -> None:
        hub = make_hub(access, queue_limit=3)
        slow, quick = hub.subscribe(), hub.subscribe()
        for number in range(10):
            access.stream.messages.put({"type": "usage", "number": number})
            assert (await until("usage", quick))["number"] == number
        assert slow.cut
        assert await slow.next(1) is None
        hub.close()

    run(scenario())


def test_limit_of_subscribers(access: Access) -> None:
    async def scenario() -> None:
        hub = make_hub(access, subscribers_max=2)
        first = hub.subscribe()
        hub.subscribe()
        with pytest.raises(LimitReached, match="already has 2 open"):
            hub.subscribe()
        hub.unsubscribe(first)
        hub.subscribe()
        hub.close()

    run(scenario())


def test_changes_of_state_are_reported_once(access: Access) -> None:
    async def scenario() -> None:
        seen: list[tuple[str, str]] = []
        hub = make_hub(access, on_lease=lambda view: seen.append((view["id"], view["state"])))
        subscriber = hub.subscribe()
        access.stream.messages.put(snapshot(lease("a", "waiting")))
        for state in ("waiting", "active", "active", "ended"):
            access.stream.messages.put({"type": "changed", "seq": 2, "leases": [lease("a", state)], "queue": []})
        access.stream.messages.put({"type": "usage", "leases": []})
        await until("usage", subscriber)
        assert seen == [("a", "active"), ("a", "ended")]
        hub.close()

    run(scenario())


def test_picture_forgets_old_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "ENDED_MAX", 2)
    picture = Picture()
    assert picture.snapshot() is None
    picture.take(snapshot(*(lease(str(n), "ended", ended_at=n) for n in range(5)), lease("x", "active")))
    known = picture.snapshot()
    assert known is not None
    assert [view["id"] for view in known["leases"]] == ["3", "4", "x"]
    picture.take(snapshot())
    assert picture.lease_state("x") is None
