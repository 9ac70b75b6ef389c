"""Everything that a caller can make grow has a limit, and at the limit the pool says when to come back."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from fastgpu_jupyter.core.accounting import changes
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, LeaseRequest, Retention
from fastgpu_jupyter.errors import LimitReached
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool import logging as logs
from fastgpu_jupyter.pool.http import server as server_module
from fastgpu_jupyter.pool.http.limits import BUCKETS_MAX, RateLimiter, ServiceLimits
from fastgpu_jupyter.pool.settings import Limits
from fastgpu_jupyter.wire.client import new_token
from tests.core.world import World, holder, spec
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool, messages
from tests.waiting import DEADLINE_S, wait_until

STREAM = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
AT = Instant(1000, 1_764_500_000_000)  # 2025-11-30T10:53:20Z
JSON = {"Content_Type": "application/json"}


def another(tenant: str) -> c.RequestLease:
    return c.RequestLease("new", tenant, LeaseRequest("full", None, None, None), holder(1), "0" * 64)


# -- leases and the queue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "who", "says"),
    [
        ("leases_max_per_tenant", "ann", "You have 3 leases"),
        ("leases_max", "bob", "This pool has 3 leases"),
        ("waiting_max_per_tenant", "ann", "You wait for 2 leases"),
        ("waiting_max", "bob", "2 requests wait in this pool"),
    ],
)
def test_request_over_a_limit_is_refused(limit: str, who: str, says: str) -> None:
    world = World(spec("gpu"))
    for name in ("a", "b", "c"):
        world.ask(name, tenant="ann")
    most = 3 if limit.startswith("leases") else 2
    ServiceLimits(**{limit: most + 1}).admit(world.state, another(who), AT)
    with pytest.raises(LimitReached) as caught:
        ServiceLimits(**{limit: most}).admit(world.state, another(who), AT)
    assert text_of(caught.value).startswith(says)
    assert "release one, or try again in 30 seconds." in text_of(caught.value)
    assert caught.value.retry_after_s == 30


def test_limits_count_neither_other_tenants_nor_ended_leases() -> None:
    world = World(spec("gpu"))
    world.ask("a", tenant="ann")
    world.ask("b", tenant="ann")
    limits = ServiceLimits(leases_max_per_tenant=2, waiting_max_per_tenant=1)
    limits.admit(world.state, another("bob"), AT)
    with pytest.raises(LimitReached):
        limits.admit(world.state, another("ann"), AT)
    world.do(c.ReleaseLease("b"))
    limits.admit(world.state, another("ann"), AT)


def test_refusal_at_a_limit_has_retry_after(serve: Serve) -> None:
    pool = serve(leases_max_per_tenant=1)
    token = new_token()
    lease = pool.client.request("full", token=token, key="once")
    with pytest.raises(LimitReached, match="You have 1 leases") as caught:
        pool.client.request("full", token=token)
    assert caught.value.retry_after_s == 30
    # The answer to a request that was carried out is still had: repeating makes nothing grow.
    assert pool.client.request("full", token=token, key="once")["id"] == lease["id"]
    pool.client.release(lease["id"])
    wait_until(lambda: pool.client.leases()[0]["state"] == "ended", "the lease ends")
    pool.client.request("full", token=token)


# -- changes in a day -------------------------------------------------------------------------------------------------


def test_changes_over_the_limit_of_a_day_are_refused_until_midnight() -> None:
    world = World(spec("gpu"))
    world.active("a", tenant="ann")
    limits = ServiceLimits(changes_per_day_per_tenant=2)
    pin = c.SetRetention("a", Retention.HOLD)
    world.do(c.CountChange("ann"))
    limits.admit(world.state, pin, world.at)
    world.do(c.CountChange("ann"))
    left_s = changes.reset_wall_ms(world.at) // 1000 - world.at.wall_ms // 1000
    for command in (pin, another("ann"), c.ResumeLease("a"), c.ResizeLease("a", "half")):
        with pytest.raises(LimitReached, match=r"resets_at=2001-09-10T00:00:00Z") as caught:
            limits.admit(world.state, command, world.at)
        assert caught.value.retry_after_s == left_s
        assert caught.value.status == 429
    limits.admit(world.state, c.ReleaseLease("a"), world.at)
    limits.admit(world.state, c.ParkLease("a"), world.at)
    limits.admit(world.state, c.BindHolder("a", holder(2)), world.at)
    limits.admit(world.state, c.ReportActivity("a", busy=True), world.at)
    limits.admit(world.state, another("bob"), world.at)
    limits.admit(world.state, c.SetTenant("ann", 1, None), world.at)
    limits.admit(world.state, pin, world.at._replace(wall_ms=world.at.wall_ms + 1000 * left_s))


def test_toggling_is_refused_at_the_limit_and_what_ends_a_lease_is_not(serve: Serve, tmp_path: Path) -> None:
    pool = serve(changes_per_day_per_tenant=5)
    token = new_token()
    lease_id = pool.client.request("half", token=token)["id"]
    for number in range(4):
        pool.client.pin(lease_id, pinned=number % 2 == 0)
    for _ in range(2):
        written = pool.journal.seq
        with pytest.raises(LimitReached, match="You have made 5 changes today") as caught:
            pool.client.pin(lease_id, pinned=True)
        assert 0 < caught.value.retry_after_s <= 86_400
        assert pool.journal.seq == written
    with pytest.raises(LimitReached):
        pool.client.request("half", token=token)
    # A pool manager that is started again has counted the same.
    pool.stop()
    pool = serve(changes_per_day_per_tenant=5)
    with pytest.raises(LimitReached):
        pool.client.pin(lease_id, pinned=True)
    pool.client.activity(lease_id, token, busy=True)
    pool.client.activity(lease_id, token, busy=False)
    pool.client.park(lease_id)
    pool.client.bind(lease_id, token)
    assert pool.client.release(lease_id)["state"] in {"draining", "ended", "parking"}


def test_change_that_changes_nothing_is_counted_if_its_key_is_written(serve: Serve) -> None:
    pool = serve(changes_per_day_per_tenant=3)
    lease_id = pool.client.request("half", token=new_token())["id"]
    for _ in range(2):
        pool.client.pin(lease_id, pinned=False)
    with pytest.raises(LimitReached):
        pool.client.pin(lease_id, pinned=False)


# -- requests per second ----------------------------------------------------------------------------------------------


def test_rate_limiter_allows_a_burst_then_a_steady_rate() -> None:
    rate = RateLimiter(10)
    for _ in range(10):
        rate.take(1, 0.0)
    with pytest.raises(LimitReached) as caught:
        rate.take(1, 0.0)
    assert text_of(caught.value).endswith("more than 10 requests a second; make fewer, or try again in 1 second.")
    rate.take(2, 0.0)
    rate.take(1, 0.1)
    with pytest.raises(LimitReached):
        rate.take(1, 0.1)


def test_rate_limiter_with_a_slow_rate_has_the_time_to_wait() -> None:
    rate = RateLimiter(0.1)
    rate.take(1, 0.0)
    with pytest.raises(LimitReached) as caught:
        rate.take(1, 0.0)
    assert caught.value.retry_after_s == 10


def test_rate_limiter_drops_idle_tenants() -> None:
    rate = RateLimiter(10)
    for uid in range(BUCKETS_MAX):
        rate.take(uid, 0.0)
    rate.take(BUCKETS_MAX, 100.0)
    assert len(rate) == 1
    for uid in range(BUCKETS_MAX + 10):
        rate.take(uid, 100.0)
    assert len(rate) == BUCKETS_MAX


def test_requests_over_the_rate_are_refused_except_health(serve: Serve) -> None:
    pool = serve(requests_per_s_per_tenant=0.1)
    assert pool.raw("GET", "/v1/pool").status == 200
    refused = pool.raw("GET", "/v1/pool")
    assert (refused.status, refused.headers["Retry-After"], refused.json["code"]) == (429, "10", "limit_reached")
    with pytest.raises(LimitReached) as caught:
        pool.client.pool()
    assert caught.value.retry_after_s == 10
    assert {pool.raw("GET", "/v1/health").status for _ in range(20)} == {200}
    assert pool.raw("GET", "/nowhere").status == 429


# -- connections ------------------------------------------------------------------------------------------------------


def taken_up(pool: ServedPool, count: int) -> bool:
    """Return whether the pool has that many connections."""
    return pool.call(pool.server.__len__) == count


def answers(pool: ServedPool) -> bool:
    """Return whether the pool answers a request."""
    return pool.raw("GET", "/v1/pool").status == 200


def test_connection_over_the_limit_gets_only_health(serve: Serve) -> None:
    for limit, says in (
        ({"connections_max_per_tenant": 2}, "You have as many connections"),
        ({"connections_max": 2}, "This pool has as many connections"),
    ):
        pool = serve(**limit)
        held = [pool.connect() for _ in range(2)]
        wait_until(partial(taken_up, pool, 2), "both are taken up")
        assert pool.raw("GET", "/v1/health").status == 200
        refused = pool.raw("GET", "/v1/pool")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
        assert says in refused.json["detail"]
        for sock in held:
            sock.close()
        wait_until(partial(answers, pool), "there is room again")
        pool.stop()


def test_connection_far_over_the_limit_is_closed_with_the_reason(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SERVED_OVER_LIMIT", 1)
    pool = serve(connections_max=1)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(contextlib.closing(pool.connect()))
        wait_until(lambda: pool.call(pool.server.__len__) == 2, "both are taken up")
        # No request is sent: the answer comes at once, and a request may find the connection closed.
        refused = stack.enter_context(contextlib.closing(pool.connect()))
        refused.settimeout(DEADLINE_S)
        answer = b"".join(iter(lambda: refused.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert b'"code":"limit_reached"' in answer
        assert pool.call(pool.server.__len__) == 2


@pytest.mark.slow
def test_connection_that_stays_over_the_limit_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "OVER_LIMIT_S", 0.2)
    monkeypatch.setattr(server_module, "SWEEP_S", 0.05)
    pool = serve(connections_max=1)
    with contextlib.closing(pool.connect()) as first, contextlib.closing(pool.connect()) as second:
        assert second.recv(1) == b""
        first.settimeout(0)
        with pytest.raises(BlockingIOError):
            first.recv(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/po", b"POST /v1/leases HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"]
)
def test_connection_with_a_slow_request_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(server_module, "RECEIVE_S", 0.3)
    pool = serve()
    with contextlib.closing(pool.connect()) as sock:
        sock.sendall(begun)
        assert sock.recv(1) == b""
    wait_until(lambda: pool.call(pool.server.__len__) == 0, "nothing is left of it")


# -- readers of events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["subscribers_max", "subscribers_max_per_tenant"])
def test_event_stream_over_the_limit_of_subscribers_is_refused(serve: Serve, limit: str) -> None:
    pool = serve(**{limit: 1})
    with contextlib.closing(pool.connect()) as sock:
        sock.sendall(STREAM)
        assert next(messages(sock))["type"] == "snapshot"
        with pytest.raises(LimitReached, match="readers") as caught:
            pool.client.events()
        assert caught.value.retry_after_s == 5
        # Who asks for a lease waits for its preparation, and is no reader of events.
        lease = pool.client.request("full", token=new_token())
        assert pool.client.lease(lease["id"], wait_ms=1)["state"] == "active"
    wait_until(lambda: len(pool.service.publisher) == 0, "its place is free as soon as it has gone")


# -- bodies and heads -------------------------------------------------------------------------------------------------


def test_too_large_body_is_refused_with_the_reason(serve: Serve) -> None:
    pool = serve(body_bytes_max=1024)
    refused = pool.raw("POST", "/v1/leases", b" " * 2000, **JSON)
    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    assert "1024 bytes" in refused.json["detail"]
    with contextlib.suppress(OSError):  # it may be closed before everything is sent
        assert pool.raw("POST", "/v1/leases", b" " * 2 * 2**20, **JSON).status == 400
    assert pool.client.health() == {"status": "ok"}


def test_connection_with_too_large_headers_is_closed(serve: Serve) -> None:
    pool = serve(header_bytes_max=2048)
    with contextlib.closing(pool.connect()) as sock:
        sock.sendall(b"GET /v1/pool HTTP/1.1\r\nX: " + b"x" * 4096)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    assert pool.raw("GET", "/v1/pool", X="x" * 1000).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"notebook": "\\ud800", "size": "full", "token_sha256": "%s"}' % (b"0" * 64),
        b'{"size": "full", "token_sha256": "%s"}' % ("é" * 64).encode(),
        b'{"memory_bytes": %s, "token_sha256": "%s"}' % (b"9" * 400, b"0" * 64),
        b'{"size": "full", "wait_ms_max": %s, "token_sha256": "%s"}' % (b"9" * 30, b"0" * 64),
        b'{"notebook": "%s", "size": "full", "token_sha256": "%s"}' % (b"n" * 2000, b"0" * 64),
        b'{"size": NaN}',
        b"\xff\xfe",
    ],
)
def test_hostile_body_is_refused(serve: Serve, body: bytes) -> None:
    pool = serve()
    assert pool.raw("POST", "/v1/leases", body, **JSON).status == 400
    assert pool.client.request("full", token=new_token())["state"] == "active"


# -- settings ---------------------------------------------------------------------------------------------------------


def test_each_limit_is_a_setting_with_the_same_default() -> None:
    assert Limits().service_limits() == ServiceLimits()
    assert set(ServiceLimits._fields) == set(Limits.class_trait_names(config=True))


# -- the log ----------------------------------------------------------------------------------------------------------

HOSTILE = [
    "a" * 2**20,
    "<script>alert(1)</script>",
    "line\n2026-01-01 INFO forged",
    "\x1b[2J\x00\r\x9b",
    "\u202egnp.exe",
    "\u2028\u2029\ud800",
]


def record(text: str, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError(text)
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("fastgpu.pool", logging.WARNING, "x.py", 1, "name: %s", (text,), info)


@pytest.mark.parametrize("text", HOSTILE)
def test_logged_string_is_short_and_printable(text: str) -> None:
    line = logs.HumanFormatter().format(record(text))
    assert line.isprintable()
    assert len(line) < logs.TEXT_CHARS_MAX + 100
    written = logs.JsonFormatter().format(record(text))
    assert "\n" not in written
    assert json.loads(written)["message"].isprintable()
    assert {"time", "level", "logger", "message"} == set(json.loads(written))


@pytest.mark.parametrize("text", HOSTILE)
def test_logged_traceback_is_not_mistaken_for_a_record(text: str) -> None:
    first, *rest = logs.HumanFormatter().format(record(text, error=True)).split("\n")
    assert first.endswith(logs.one_line(f"name: {text}"))
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    written = logs.JsonFormatter().format(record(text, error=True))
    assert all(line.isprintable() for line in json.loads(written)["traceback"])


def test_log_record_with_wrong_arguments_is_written() -> None:
    wrong = logging.LogRecord("fastgpu", logging.INFO, "x.py", 1, "%d leases", ("many",), None)
    assert "%d leases" in logs.HumanFormatter().format(wrong)


def test_served_pool_ends_without_tasks_and_connections(tmp_path: Path) -> None:
    pool = ServedPool(tmp_path)
    with contextlib.closing(pool.connect()) as sock:
        sock.sendall(STREAM)
        assert next(messages(sock))["type"] == "snapshot"
        pool.stop()
        sock.settimeout(DEADLINE_S)
        while sock.recv(2**16):
            pass
    with pytest.raises(OSError, match=r"refused|No such"), socket.socket(socket.AF_UNIX) as late:
        late.connect(str(tmp_path / "pool.sock"))
