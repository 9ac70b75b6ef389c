"""Errors in each background task: they are reported, counted and shown, and the task continues."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import InternalError
from fastgpu_jupyter.pool import shutdown
from fastgpu_jupyter.pool import supervisor as supervisor_module
from fastgpu_jupyter.pool.composition import PoolServices
from fastgpu_jupyter.pool.devices.health import HealthEvent
from fastgpu_jupyter.pool.http import publisher, server
from fastgpu_jupyter.pool.loop import command_queue, degraded_mode, ticker
from fastgpu_jupyter.pool.monitors import health, inventory, processes, telemetry
from fastgpu_jupyter.pool.supervisor import TASKS, Supervisor, wait_for_event
from fastgpu_jupyter.wire.client import new_token
from tests.core.faults import WRONG_ADDRESS
from tests.pool.conftest import Serve
from tests.pool.monitors.test_health import FrailDriver
from tests.pool.running_pool import Pool, run
from tests.waiting import DEADLINE_S, async_wait_until, wait_until

pytestmark = pytest.mark.slow

FAILURES = 2


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "RETRY_S", 0.01)
    monkeypatch.setattr(ticker, "FORGET_TICKS", 1)
    monkeypatch.setattr(publisher, "RETRY_S", 0.01)
    for module, names in (
        (ticker, ("TICK_S",)),
        (telemetry, ("SAMPLE_INTERVAL_S",)),
        (inventory, ("REFRESH_INTERVAL_S",)),
        (processes, ("CHECK_INTERVAL_S",)),
        (degraded_mode, ("PROBE_S",)),
        (command_queue, ("RETRY_S",)),
        (health, ("CHECK_INTERVAL_S", "RETRY_S")),
        (server, ("SWEEP_S",)),
        (shutdown, ("IDLE_CHECK_S",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 0.01)


def reraise(error: Exception) -> None:
    raise error


class Bug:
    """Stands for a method that has a bug the first times that it is called."""

    def __init__(self, owner: Any, name: str) -> None:
        self._method, self.calls = getattr(owner, name), 0
        setattr(owner, name, self)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls <= FAILURES:
            raise ZeroDivisionError(f"call {self.calls}")
        return self._method(*args, **options)


def logged(caplog: pytest.LogCaptureFixture, part: str) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.levelno == logging.ERROR and TASKS[part] in one.getMessage()]


async def goes_on(services: PoolServices, part: str, bug: Bug, caplog: pytest.LogCaptureFixture) -> None:
    """Require that the task failed, was reported as failing, and works now."""
    await async_wait_until(lambda: bug.calls > FAILURES + 1, f"{part} goes on")
    assert services.supervisor.failures[part] == FAILURES
    await async_wait_until(lambda: services.supervisor.failure_message is None, "it is well again")
    first, *_ = logged(caplog, part)
    assert first.exc_info, "with the place of the bug"
    assert services.faults.message is None, "grants go on"


OWNERS: dict[str, tuple[str, Callable[[PoolServices, FrailDriver], Any], str]] = {
    "clock": ("clock", lambda services, _: services.writer.journal.answers, "forget"),
    "counters": ("counters", lambda services, _: services.telemetry._sampler, "sample"),
    "history": ("counters", lambda services, _: services.telemetry.history, "add"),
    "devices": ("devices", lambda _, driver: driver, "inventory"),
    "processes": ("processes", lambda services, _: services.processes, "check_once"),
    "health": ("health", lambda _, driver: driver.played, "check"),
    "health, thread": ("errors", lambda _, driver: driver.played, "next_event"),
}


@pytest.mark.parametrize("which", OWNERS)
def test_task_that_fails_is_reported_and_continues(
    tmp_path: Path, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    part, owner, name = OWNERS[which]
    driver = FrailDriver()

    async def story(pool: Pool) -> None:
        services = pool.services
        published: list[str | None] = []
        services.notifier.subscribe(
            lambda changes: published.append(services.supervisor.failure_message) if changes.pool else None, reraise
        )
        bug = Bug(owner(services, driver), name)
        if which == "health, thread":
            await async_wait_until(lambda: bug.calls > FAILURES, "the thread goes on")
            services.supervisor.report_recovery(part)  # as by the next fault that is submitted
        await goes_on(services, part, bug, caplog)
        assert any(sentence and TASKS[part] in sentence for sentence in published)
        assert published[-1] is None
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)

    run(tmp_path, story, driver)


def test_fault_that_cannot_be_submitted_does_not_block_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver = FrailDriver()

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        bug = Bug(driver.played, "processes")
        for _ in range(FAILURES + 2):
            driver.played.events.put(HealthEvent("gpu-0", WRONG_ADDRESS))
        await goes_on(pool.services, "errors", bug, caplog)
        await async_wait_until(lambda: pool.services.metrics.faults["Xid 31"] == FAILURES + 2, "all were counted")
        assert (await pool.lease("a")).fault is not None

    run(tmp_path, story, driver)


def test_internal_error_in_a_decision_stops_grants_and_answers_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        services = pool.services
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        with monkeypatch.context() as broken:
            broken.setattr(services.loop, "_commit", lambda *_: 1 / 0)
            broken.setattr(services.degraded_mode, "reload", lambda *_: 1 / 0)
            with pytest.raises(InternalError):
                await services.commands.submit(c.ReleaseLease("a"))
            await async_wait_until(lambda: services.supervisor.failures["requests"], "it is counted")
        assert logged(caplog, "requests")
        assert services.faults.message is not None
        await services.commands.submit(c.ReleaseLease("a"))
        await pool.until("a", LeaseState.ENDED)

    run(tmp_path, story, FrailDriver())


def test_error_while_retrying_the_disk_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(pool: Pool) -> None:
        services = pool.services
        services.faults.begin_unwritable("The disk is full.")
        bug = Bug(services.degraded_mode, "_write_pending")
        services.supervisor.run_once(services.degraded_mode._retry_until_writable())
        await async_wait_until(lambda: services.faults.message is None, "the journal is written again")
        assert bug.calls == FAILURES + 1
        assert services.supervisor.failures["journal"] == FAILURES
        assert logged(caplog, "journal")

    run(tmp_path, story, FrailDriver())


def test_error_in_delivery_keeps_the_commit_and_sends_a_snapshot(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    pool = serve()
    with contextlib.closing(pool.client.events()) as published:
        snapshots = (message for message in published if message["type"] == "snapshot")
        first = next(snapshots)
        bug = Bug(pool.service.publisher, "_deliver")
        lease = pool.client.request("half", token=new_token())
        again = next(snapshots)
    assert bug.calls > FAILURES
    assert (first["leases"], [one["id"] for one in again["leases"]]) == ([], [lease["id"]])
    assert pool.services.supervisor.failures["events"] == FAILURES
    assert logged(caplog, "events")
    wait_until(lambda: pool.client.pool()["message"] is None, "the message is gone")
    failures = 'fastgpu_failures_total{task="events"} 2.0'
    assert failures in pool.raw("GET", "/v1/metrics").body.decode()


def test_listener_that_fails_does_not_prevent_a_grant(serve: Serve) -> None:
    pool = serve()
    supervisor, notifier = pool.services.supervisor, pool.services.notifier
    report = partial(supervisor.report_failure, "events")
    pool.call(lambda: notifier.subscribe(lambda _: 1 // 0, report))  # type: ignore[arg-type]  # it raises
    assert pool.client.request("half", token=new_token())["state"] in {"preparing", "active"}
    assert pool.services.faults.message is None
    assert TASKS["events"] in str(pool.client.pool()["message"])


def test_connection_sweep_continues_after_an_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    pool = serve()
    with pool.connect() as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100)
        (one,) = pool.server._streams
        bug = Bug(one, "waits_s")
        wait_until(lambda: bug.calls > FAILURES + 1, "it goes on")
    assert pool.services.supervisor.failures["connections"] == FAILURES
    assert logged(caplog, "connections")


def test_idle_check_continues_after_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def idle() -> bool:
        return True

    async def story() -> None:
        service, end_of_pool = SimpleNamespace(is_idle=idle), shutdown.Shutdown()
        bug = Bug(service, "is_idle")
        supervisor = Supervisor(lambda: None, lambda _: None)
        end: Any = shutdown.ShutdownMonitor(
            service,  # type: ignore[arg-type]
            tmp_path / "sock",
            None,
            0.05,
            end_of_pool,
            for_leases=False,
        )
        supervisor.run_forever("idle", end.check)
        assert await wait_for_event(end_of_pool.begun, 20), "it ends once the pool is idle"
        assert bug.calls > FAILURES
        assert supervisor.failures["idle"] == FAILURES
        assert logged(caplog, "idle")
        await supervisor.stop()

    asyncio.run(story())


def test_task_that_keeps_failing_pauses_longer_and_logs_less(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "RETRY_S_MAX", 0.04)
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 100:
            raise asyncio.CancelledError

    async def fail() -> None:
        raise KeyError("x")

    async def story() -> None:
        supervisor = Supervisor(lambda: None, lambda _: None)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor._run_forever("clock", fail)

    asyncio.run(story())
    assert rests == [0.01, 0.02, *[0.04] * 98]
    assert len(logged(caplog, "clock")) == 7


def test_job_that_fails_is_reported() -> None:
    async def fail() -> None:
        raise KeyError("x")

    async def story() -> None:
        lost: list[BaseException] = []
        supervisor = Supervisor(lambda: None, lost.append)
        supervisor.run_once(fail())
        supervisor.run_once(asyncio.sleep(0))
        await async_wait_until(lambda: lost, "it is reported")
        assert [repr(bug) for bug in lost] == ["KeyError('x')"]
        await supervisor.stop()

    asyncio.run(story())


@pytest.mark.parametrize("waits", ["wait_for_event", "service"])
def test_wait_for_event_keeps_a_cancellation_at_its_end(serve: Serve, waits: str) -> None:
    """``asyncio.wait_for`` of Python 3.11 loses it, and the caller waits for ever."""

    async def story() -> None:
        changed = asyncio.Event()
        if waits == "wait_for_event":
            waiting: asyncio.Future[Any] = asyncio.ensure_future(wait_for_event(changed, 60))
        else:
            service, lease = pool.service, await asyncio.to_thread(pool.client.request, "half", token=new_token())
            caller: Any = SimpleNamespace(access=SimpleNamespace(includes=lambda _: True))
            waiting = asyncio.ensure_future(service.leases.wait(caller, lease["id"], 60, lambda _: False))
            await async_wait_until(lambda: service.publisher._waiting.get(lease["id"]), "it waits")
            await async_wait_until(lambda: not pool.services.store.commit_lock.locked(), "all is settled")
            for _ in range(10):
                await asyncio.sleep(0)
            (changed,) = service.publisher._waiting[lease["id"]]
        await asyncio.sleep(0)
        changed.set()
        await asyncio.sleep(0)  # the inner task has ended, the outer one has not resumed yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, DEADLINE_S)

    if waits == "wait_for_event":
        asyncio.run(story())
    else:
        pool = serve()
        pool.run(story())
