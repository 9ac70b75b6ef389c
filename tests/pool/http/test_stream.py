"""The event stream: no change is missed, and a reader that does not read is disconnected."""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.pool.http import publisher as publisher_module
from fastgpu_jupyter.pool.http import server as server_module
from fastgpu_jupyter.pool.http.subscriber import BACKLOG_BYTES_MAX, BACKLOG_MAX, StreamSubscriber
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import PoolProcess
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool
from tests.views import device_of
from tests.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).resolve().parents[3]
log = logging.getLogger(__name__)
#: For a test that makes requests as quickly as they are answered.
MANY_REQUESTS = {"requests_per_s_per_tenant": 1e6}
STREAM = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def following(pool: ServedPool, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
    with contextlib.closing(pool.client.events(**query)) as stream:
        yield (message for message in stream if message["type"] != "usage")


def seen_until(stream: Iterator[dict[str, Any]], lease_id: str, state: str) -> dict[str, Any]:
    """The first message in which the lease is in that state."""
    return next(
        message
        for message in stream
        if any(lease["id"] == lease_id and lease["state"] == state for lease in message.get("leases", []))
    )


def ended_as(subscriber: StreamSubscriber) -> str | None:
    """Return why a subscriber was ended, as it is now; a type checker does not know that messages change it."""
    return subscriber.ended


def hung_up(sock: socket.socket) -> bool:
    """Whether the other end closed the connection, unread data or not."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


# -- coming back ------------------------------------------------------------------------------------------------------


def test_stream_with_since_begins_with_the_missed_changes(serve: Serve) -> None:
    pool = serve(simulate="4xT4-16GB")
    old = pool.client.request("full", token=new_token())
    with following(pool) as stream:
        since = seen_until(stream, old["id"], "active")["seq"]
    new = pool.client.request("full", token=new_token())
    with following(pool, since=since) as stream:
        missed = next(stream)
        assert missed["type"] == "changed"
        assert [(lease["id"], lease["state"]) for lease in missed["leases"]] == [(new["id"], "active")]
        assert [device["id"] for device in missed["devices"]] == [device_of(new)]
        assert missed["seq"] > since
        # It goes on from there like any other stream.
        pool.client.release(old["id"])
        assert seen_until(stream, old["id"], "ended")["seq"] > missed["seq"]


def test_stream_reports_the_device_of_a_parked_lease(serve: Serve) -> None:
    pool = serve(simulate="2xT4-16GB")
    lease = pool.client.request("full", token=new_token())
    with following(pool) as stream:
        seen_until(stream, lease["id"], "active")
        pool.client.park(lease["id"])
        seen: dict[str, Any] = {}
        for message in stream:
            seen.update({device["id"]: device for device in message["devices"]})
            if any(view["state"] == "parked" for view in message["leases"]):
                break
    assert list(seen) == [device_of(lease)]
    (device,) = seen.values()
    assert (device["allocations"], device["memory"]["free_bytes"]) == ([], device["memory"]["total_bytes"])


def test_stream_with_since_and_no_changes_begins_with_an_empty_change(serve: Serve) -> None:
    pool = serve()
    lease = pool.client.request("full", token=new_token())
    with following(pool) as stream:
        since = next(stream)["seq"]
    for query in ({"since": since}, {"since": since, "lease_id": lease["id"]}):
        with following(pool, **query) as stream:
            first = next(stream)
            assert (first["type"], first["seq"], first["leases"], first["devices"]) == ("changed", since, [], [])


def test_stream_of_one_lease_with_since_has_its_changes_only(serve: Serve) -> None:
    pool = serve(simulate="2xT4-16GB")
    mine, other = (pool.client.request("full", token=new_token()) for _ in range(2))
    with following(pool) as stream:
        since = next(stream)["seq"]
    pool.client.release(other["id"])
    with following(pool, lease_id=mine["id"], since=since) as stream:
        assert next(stream)["leases"] == []
    pool.client.release(mine["id"])
    with following(pool, lease_id=mine["id"], since=since) as stream:
        assert [lease["id"] for lease in next(stream)["leases"]] == [mine["id"]]


def test_stream_with_a_forgotten_since_begins_with_a_snapshot(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "CHANGES_KEPT", 4)
    pool = serve()
    with following(pool) as stream:
        since = next(stream)["seq"]
    for _ in range(3):
        pool.client.release(pool.client.request("eighth", token=new_token())["id"])
    wait_until(lambda: all(lease["state"] == "ended" for lease in pool.client.leases()), "all ended")
    for number in (since, -1, 0, 2**53, pool.service.publisher.seq + 1):
        with following(pool, since=number) as stream:
            assert next(stream)["type"] == "snapshot"
    with following(pool, since=pool.service.publisher.seq) as stream:
        assert next(stream)["type"] == "changed"


def test_stream_with_since_of_an_earlier_pool_manager_begins_with_a_snapshot(tmp_path: Path) -> None:
    first = ServedPool(tmp_path)
    with following(first) as stream:
        since = next(stream)["seq"]
    first.stop()
    second = ServedPool(tmp_path)
    with following(second, since=since) as stream:
        again = next(stream)
        assert again["type"] == "snapshot"
        assert again["seq"] > since
    second.stop()


def test_stream_with_an_invalid_since_is_refused(serve: Serve) -> None:
    refused = serve().raw("GET", "/v1/events?since=yesterday")
    assert (refused.status, refused.json["detail"]) == (400, "since must be a whole number.")


@pytest.mark.slow
def test_interrupted_reader_ends_with_the_same_state(serve: Serve) -> None:
    """A reader that leaves at any message and comes back with its number misses no change, and sees none twice."""
    pool = serve(simulate="2xT4-16GB", **MANY_REQUESTS)
    done = threading.Event()

    def work() -> None:
        drawn, held = random.Random(7), []
        for _ in range(150):
            held.append(pool.client.request("quarter", token=new_token())["id"])
            if drawn.random() < 0.9:
                pool.client.release(held.pop(drawn.randrange(len(held))))
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    drawn, leases, seq, kinds = random.Random(8), {}, -1, []
    while not done.is_set() or seq < pool.service.publisher.seq:
        with following(pool, since=seq) as stream:
            for message in stream:
                kinds.append(message["type"])
                assert message["seq"] >= seq
                seq = message["seq"]
                leases.update({lease["id"]: (lease["version"], lease["state"]) for lease in message["leases"]})
                if drawn.random() < 0.3 or (done.is_set() and seq == pool.service.publisher.seq):
                    break
    worker.join()
    now = {lease["id"]: (lease["version"], lease["state"]) for lease in pool.client.leases()}
    assert {lease_id: leases[lease_id] for lease_id in now} == now
    assert kinds.count("snapshot") < kinds.count("changed")


def test_quick_changes_are_merged_into_few_messages(serve: Serve) -> None:
    pool = serve()
    with following(pool) as stream:
        numbers = [next(stream)["seq"]]
        for _ in range(10):
            last = pool.client.request("eighth", token=new_token())["id"]
            pool.client.release(last)
        wait_until(lambda: pool.client.lease(last)["state"] == "ended", "the last one ends")
        while numbers[-1] < pool.service.publisher.seq:
            numbers.append(next(stream)["seq"])
    assert numbers == sorted(set(numbers))
    assert len(numbers) - 1 < pool.service.publisher.seq - numbers[0]


# -- who does not read ------------------------------------------------------------------------------------------------


def test_subscriber_behind_its_limit_is_ended_and_emptied() -> None:
    ended: list[str] = []
    for message, most in ((b"x", BACKLOG_MAX), (b"x" * 2**20, BACKLOG_BYTES_MAX // 2**20)):
        subscriber = StreamSubscriber(AccessScope("ann", 1001), None, lambda: ended.append("closed"))
        for _ in range(most):
            subscriber.put(message)
        assert ended_as(subscriber) is None
        subscriber.put(message)
        subscriber.put(message)
        assert ended_as(subscriber) == "behind"
        assert not subscriber._messages
    assert ended == ["closed", "closed"]


def test_subscriber_accepts_one_message_larger_than_the_backlog() -> None:
    subscriber = StreamSubscriber(AccessScope("ann", 1001), None, lambda: None)
    subscriber.put(b"x" * (BACKLOG_BYTES_MAX + 1))
    assert subscriber.ended is None


@pytest.mark.slow
def test_reader_that_stops_reading_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.05)
    pool = serve(slow_reader_timeout_s=0.5, **MANY_REQUESTS)
    with contextlib.closing(pool.connect()) as stuck, following(pool) as stream:
        stuck.sendall(STREAM)
        wait_until(lambda: len(pool.service.publisher) == 2, "both follow")
        token, ended = new_token(), set[str]()

        def read() -> None:
            for message in stream:
                ended.update(lease["id"] for lease in message["leases"] if lease["state"] == "ended")

        threading.Thread(target=read, daemon=True).start()
        while not hung_up(stuck):
            last = pool.client.request("eighth", notebook="x" * 1000, token=token)["id"]
            pool.client.release(last)
            wait_until(partial(ended.__contains__, last), "the other reader gets the message")
        assert len(pool.service.publisher) == 1
        cut = pool.service.metrics.cut_subscribers
        assert cut["stuck"] + cut["behind"] == 1
        # What it would have read first is still there for it to read, and then the end.
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := stuck.recv(2**16):
                received += len(data)
        assert received > 2**16
    wait_until(lambda: len(pool.service.publisher) == 0, "the other one left")
    assert sum(cut.values()) == 1


@pytest.mark.slow
def test_reader_that_reads_slowly_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.05)
    pool = serve(slow_reader_timeout_s=0.5, **MANY_REQUESTS)
    for _ in range(400):
        pool.client.request("full", notebook="x" * 1000, token=new_token())
    with contextlib.closing(pool.connect()) as slow:
        slow.sendall(STREAM)

        def cut() -> bool:
            slow.recv(1)  # at the pace of the waiting
            return hung_up(slow)

        wait_until(cut, "the server closes it")
        assert pool.service.metrics.cut_subscribers["stuck"] == 1


@pytest.mark.slow
def test_connection_with_an_unread_answer_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.05)
    pool = serve(slow_reader_timeout_s=0.5, **MANY_REQUESTS)
    for _ in range(400):
        pool.client.request("full", notebook="x" * 1000, token=new_token())
    with contextlib.closing(pool.connect()) as stuck:
        stuck.sendall(b"GET /v1/leases HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: hung_up(stuck), "the server closes it")
    assert pool.call(pool.server.__len__) == 0


def test_wait_for_a_lease_ends_with_the_connection(serve: Serve) -> None:
    pool = serve()
    lease = pool.client.request("full", token=new_token())
    with contextlib.closing(pool.connect()) as sock:
        path = f"/v1/leases/{lease['id']}?wait_ms=30000&after=99"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: pool.call(lambda: len(pool.service.publisher._waiting)) == 1, "it waits")
    wait_until(lambda: pool.call(lambda: len(pool.service.publisher._waiting)) == 0, "it waits no longer")


# -- as a process -----------------------------------------------------------------------------------------------------


def load(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.pool.http.load", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@pytest.mark.slow
def test_health_answers_at_once_under_load(isolated: Path) -> None:
    """Eight clients hammer, 50 follow of whom 10 stop reading: health within 100 ms, the 10 closed within 30 s."""
    config = isolated / "config" / "jupyter_fastgpu_config.py"
    config.write_text("c.Limits.slow_reader_timeout_s = 4\n")
    pool = PoolProcess(isolated, "8xA100-80GB")
    pool.start()
    path, seconds = user_socket(), 12
    try:
        with contextlib.ExitStack() as stack:
            stuck = [stack.enter_context(contextlib.closing(unixsocket.connect(path, DEADLINE_S))) for _ in range(10)]
            for sock in stuck:
                sock.sendall(STREAM)
            workers = [load("read", path, seconds + 2, 40), *(load("hammer", path, seconds) for _ in range(2))]
            answers_s, late_s = [], []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.perf_counter()
                time.sleep(0.01)
                late_s.append(time.perf_counter() - began - 0.01)
                began = time.perf_counter()
                pool.client.health()
                answers_s.append(time.perf_counter() - began)
            reader, *hammers = (int(worker.communicate(timeout=60)[0]) for worker in workers)
            closed = sum(map(hung_up, stuck))
        p50, p99, late = percentile(answers_s, 50), percentile(answers_s, 99), percentile(late_s, 99)
        log.info(
            "health p50 %.1f ms, p99 %.1f ms of %d; the machine is late by %.1f ms (p99); %d calls in %d s; %d closed",
            *(p50 * 1e3, p99 * 1e3, len(answers_s), late * 1e3, sum(hammers), seconds, closed),
        )
        assert sum(hammers) > 100
        assert reader > 10_000  # and none of the 40 was cut
        assert closed == 10
        # What the machine itself is late by, for a process that only sleeps, is not the pool's.
        assert p99 < 0.1 + 3 * late
    finally:
        pool.end()
