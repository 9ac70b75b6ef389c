"""The event broadcaster, against a pool whose stream the test feeds."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from fastgpu_jupyter.errors import LimitReached, PoolUnreachable
from fastgpu_jupyter.server import pool_mirror, stream_reader
from fastgpu_jupyter.server.broadcaster import BrowserSubscriber, EventBroadcaster
from fastgpu_jupyter.server.pool_mirror import PoolMirror, StreamMessage
from tests.waiting import DEADLINE_S


class Stream:
    """Messages that the test puts in; an exception is raised, ``None`` ends it."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()

    def __iter__(self) -> Iterator[StreamMessage]:
        while (message := self.messages.get(timeout=DEADLINE_S)) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    def close(self) -> None:
        self.messages.put(None)


class FakeConnector:
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


def lease(lease_id: str, state: str, cost_micro: int = 0, ended_at: int | None = None) -> StreamMessage:
    return {"id": lease_id, "state": state, "money": {"cost_micro": cost_micro}, "times": {"ended_at": ended_at}}


def snapshot(*leases: StreamMessage) -> StreamMessage:
    return {
        "type": "snapshot",
        "seq": 1,
        "pool": {"version": "1"},
        "devices": [{"id": "d"}],
        "leases": list(leases),
        "queue": [],
    }


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> FakeConnector:
    monkeypatch.setattr(stream_reader, "PAUSE_FIRST_S", 0.001)
    return FakeConnector()


def make_broadcaster(connector: FakeConnector, **more: Any) -> EventBroadcaster:
    return EventBroadcaster(connector, **{"subscribers_max": 8, "queue_limit": 8, **more})  # type: ignore[arg-type]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, DEADLINE_S))
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgpu-events" and wait_dead(thread)]


def wait_dead(thread: threading.Thread) -> bool:
    thread.join(DEADLINE_S)
    return thread.is_alive()


async def until(kind: str, subscriber: BrowserSubscriber) -> StreamMessage:
    while True:
        message = await subscriber.next(DEADLINE_S)
        assert message is not None
        if message["type"] == kind:
            return message


def test_broadcaster_opens_one_stream_for_all_subscribers_and_none_without(connector: FakeConnector) -> None:
    async def scenario() -> None:
        broadcaster = make_broadcaster(connector)
        assert broadcaster.readers == 0
        first = broadcaster.subscribe()
        connector.stream.messages.put(snapshot(lease("a", "waiting")))
        await until("snapshot", first)
        connector.stream.messages.put(
            {"type": "changed", "seq": 2, "devices": [], "leases": [lease("a", "active")], "queue": []}
        )
        await until("changed", first)
        connector.stream.messages.put(
            {"type": "usage", "devices": [], "leases": [{"id": "a", "money": {"cost_micro": 5}}, {"id": "?"}]}
        )
        await until("usage", first)
        others = [broadcaster.subscribe() for _ in range(5)]
        for other in others:
            message = await other.next(DEADLINE_S)
            assert message is not None
            assert message["seq"] == 2
            assert message["leases"] == [lease("a", "active", cost_micro=5)]
        assert connector.opened == 1
        for subscriber in (first, *others):
            broadcaster.unsubscribe(subscriber)
        assert broadcaster.readers == 0

    run(scenario())


def test_broadcaster_reports_an_unreachable_pool_until_the_next_snapshot(connector: FakeConnector) -> None:
    async def scenario() -> None:
        broadcaster = make_broadcaster(connector)
        subscriber = broadcaster.subscribe()
        connector.stream.messages.put(snapshot())
        await until("snapshot", subscriber)
        connector.stream.messages.put(PoolUnreachable("It went away."))
        assert (await until("unreachable", subscriber))["message"] == "It went away."
        late = broadcaster.subscribe()
        assert (await until("unreachable", late))["message"] == "It went away."
        connector.stream.messages.put(snapshot())
        await until("snapshot", subscriber)
        await until("snapshot", late)
        broadcaster.close()
        assert await subscriber.next(DEADLINE_S) is None

    run(scenario())


def test_broadcaster_after_a_broken_stream_requests_missed_changes_and_sends_a_snapshot(
    connector: FakeConnector,
) -> None:
    async def scenario() -> None:
        seen: list[tuple[str, str]] = []
        broadcaster = make_broadcaster(connector, on_lease=lambda view: seen.append((view["id"], view["state"])))
        subscriber = broadcaster.subscribe()
        connector.stream.messages.put(snapshot(lease("a", "waiting"), lease("b", "active")))
        change = {"type": "changed", "devices": [], "leases": [lease("a", "active")], "queue": []}
        connector.stream.messages.put({**change, "seq": 7})
        connector.stream.messages.put({"type": "usage", "devices": [], "leases": []})
        await until("usage", subscriber)
        connector.stream.messages.put(PoolUnreachable("It went away."))
        await until("unreachable", subscriber)
        late = broadcaster.subscribe()
        await until("unreachable", late)
        connector.stream.messages.put({**change, "seq": 9, "leases": [lease("b", "parked")], "pool": {"version": "2"}})
        for one in (subscriber, late):
            known = await until("snapshot", one)
            assert known["leases"] == [lease("a", "active"), lease("b", "parked")]
            assert (known["seq"], known["pool"]) == (9, {"version": "2"})
        assert connector.since == [None, 7]
        assert seen == [("a", "active"), ("b", "parked")]  # missed, and yet reported
        broadcaster.close()

    run(scenario())


def test_broadcaster_without_subscribers_drops_its_state(connector: FakeConnector) -> None:
    async def scenario() -> None:
        broadcaster = make_broadcaster(connector)
        for _ in range(2):
            subscriber = broadcaster.subscribe()
            connector.stream.messages.put(snapshot())
            await until("snapshot", subscriber)
            broadcaster.unsubscribe(subscriber)
            connector.stream = Stream()
        assert connector.since == [None, None]

    run(scenario())


def test_broadcaster_disconnects_a_slow_subscriber_only(connector: FakeConnector) -> None:
    async def scenario() -> None:
        broadcaster = make_broadcaster(connector, queue_limit=3)
        slow, quick = broadcaster.subscribe(), broadcaster.subscribe()
        for number in range(10):
            connector.stream.messages.put({"type": "usage", "number": number})
            assert (await until("usage", quick))["number"] == number
        assert slow.ended
        assert await slow.next(DEADLINE_S) is None
        broadcaster.close()

    run(scenario())


def test_broadcaster_at_its_limit_refuses_subscribers(connector: FakeConnector) -> None:
    async def scenario() -> None:
        broadcaster = make_broadcaster(connector, subscribers_max=2)
        first = broadcaster.subscribe()
        broadcaster.subscribe()
        with pytest.raises(LimitReached, match=r"server\.too_many_streams \(count=2\)"):
            broadcaster.subscribe()
        broadcaster.unsubscribe(first)
        broadcaster.subscribe()
        broadcaster.close()

    run(scenario())


def test_broadcaster_reports_each_change_of_state_once(connector: FakeConnector) -> None:
    async def scenario() -> None:
        seen: list[tuple[str, str]] = []
        broadcaster = make_broadcaster(connector, on_lease=lambda view: seen.append((view["id"], view["state"])))
        subscriber = broadcaster.subscribe()
        connector.stream.messages.put(snapshot(lease("a", "waiting")))
        for state in ("waiting", "active", "active", "ended"):
            connector.stream.messages.put({"type": "changed", "seq": 2, "leases": [lease("a", state)], "queue": []})
        connector.stream.messages.put({"type": "usage", "leases": []})
        await until("usage", subscriber)
        assert seen == [("a", "active"), ("a", "ended")]
        broadcaster.close()

    run(scenario())


def test_mirror_takes_positions_from_the_queue() -> None:
    mirror = PoolMirror()
    place = {"position": 4, "reason": "later", "estimate_ms": None, "estimate_basis": "none"}
    mirror.apply(snapshot({**lease("w", "waiting"), "queue": place}, {**lease("a", "active"), "queue": None}))
    entry = {"lease_id": "w", "position": 1, "reason": "next", "estimate_ms": 5, "estimate_basis": "some"}
    others = [{**entry, "lease_id": name} for name in ("a", None, "unknown")]
    mirror.apply(
        {"type": "changed", "seq": 2, "devices": [], "leases": [], "queue": [*others, {**entry, "mine": True}]}
    )
    known = mirror.snapshot()
    assert known is not None
    moved = {name: entry[name] for name in place}
    assert {view["id"]: view["queue"] for view in known["leases"]} == {"w": moved, "a": None}


def test_mirror_drops_the_oldest_ended_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_mirror, "ENDED_MAX", 2)
    mirror = PoolMirror()
    assert mirror.snapshot() is None
    mirror.apply(snapshot(*(lease(str(n), "ended", ended_at=n) for n in range(5)), lease("x", "active")))
    known = mirror.snapshot()
    assert known is not None
    assert [view["id"] for view in known["leases"]] == ["3", "4", "x"]
    mirror.apply(snapshot())
    assert mirror.lease_state("x") is None


@pytest.mark.parametrize("steps", range(5))
def test_stream_that_is_cancelled_as_a_message_comes_is_cancelled(steps: int) -> None:
    """A handler of a closed connection would go on for ever."""

    async def scenario() -> bool:
        subscriber = BrowserSubscriber(8)
        reading = asyncio.create_task(subscriber.next(DEADLINE_S))
        for _ in range(3):
            await asyncio.sleep(0)
        subscriber.put({"type": "keepalive"})
        for _ in range(steps):
            await asyncio.sleep(0)
        accepted = reading.cancel()
        await asyncio.wait({reading})
        return reading.cancelled() is accepted

    assert asyncio.run(scenario())
