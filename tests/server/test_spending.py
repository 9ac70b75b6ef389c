"""What the server says of the user's money: from the pool's accounts and statements, without waiting for either."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest, PoolSilent
from fastgpu_jupyter.server import spending
from fastgpu_jupyter.server.pool_connector import PoolConnector
from fastgpu_jupyter.server.spending import SpendingReader, month_text
from fastgpu_jupyter.units import MS_PER_HOUR
from fastgpu_jupyter.wire.client import new_token
from tests.server.conftest import Running
from tests.waiting import wait_until

HOUR = MS_PER_HOUR


class FakeClient:
    """A pool manager with one tenant beside the caller's, which the caller may see, and one statement of each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lines: list[dict[str, Any]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.failure: Exception | None = None

    def pool(self) -> dict[str, Any]:
        return {"currency": "USD"}

    def tenants(self) -> list[dict[str, Any]]:
        self.asked.append("tenants")
        other = {"tenant": {"key": "uid:2"}, "mine": False, "spent_micro": 99, "budget_micro_per_month": 1}
        own = {"tenant": {"key": "uid:1"}, "mine": True, "spent_micro": 700, "budget_micro_per_month": 1000}
        return [{**one, "budget_policy": "stop"} for one in (other, own)]

    def leases(self) -> list[dict[str, Any]]:
        return [
            {"tenant": {"key": key}, "money": {"billed_micro_per_hour": rate}}
            for key, rate in (("uid:1", 40), ("uid:1", 2), ("uid:2", 1000))
        ]

    def reservations(self) -> list[dict[str, Any]]:
        return [
            {"tenant": {"key": "uid:1"}, "state": state, "rate_micro_per_hour": 300} for state in ("running", "ended")
        ]

    def statements(self, month: str) -> list[dict[str, Any]]:
        self.asked.append(month)
        assert self.answers.wait(30)
        if self.failure is not None:
            raise self.failure
        shared = {"busy_micro": 100, "idle_micro": 400, "lines": self.lines}
        return [{**shared, "mine": False, "total_micro": 5}, {**shared, "mine": True, "total_micro": 600}]


class FakeConnector(PoolConnector):
    """Calls go to one fake client."""

    def __init__(self) -> None:
        super().__init__()
        self.client = FakeClient()

    def _call(self, function: Callable[[Any], Any], key: str | None) -> Any:
        return function(self.client)


def now() -> int:
    return int(time.time() * 1000)


def line(started_at: int, active_ms: int, rate: int) -> dict[str, Any]:
    return {"started_at": started_at, "active_ms": active_ms, "rate_micro_per_hour": rate}


def test_spending_has_only_the_users_own_amounts() -> None:
    connector = FakeConnector()
    start = now() - HOUR
    connector.client.lines = [line(start - HOUR, 2 * HOUR, 8), line(start - 5 * HOUR, HOUR, 100)]

    view = asyncio.run(SpendingReader(connector).spending(start))
    amounts = {name: value for name, value in view.items() if name not in ("observed_at", "today_micro")}
    assert amounts == {
        "month": month_text(now()),
        "currency": "USD",
        "month_micro": 700,
        "budget_micro": 1000,
        "budget_policy": "stop",
        "warn_milli": 800,
        "rate_micro_per_hour": 342,
        "busy_micro": 100,
        "idle_micro": 400,
    }
    # What the lines of this month cost before the day began; where it began in another month, the fake's lines are in
    # the statements of both, and what they cost since then is added.
    assert view["today_micro"] == 700 - 8 - 100 + (0 if month_text(start) == month_text(now()) else 8)


def test_statement_is_requested_once_for_many_pages_and_a_slow_one_delays_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spending, "STATEMENT_WAIT_S", 0.01)
    connector = FakeConnector()
    client = connector.client
    client.answers.clear()

    async def ask() -> None:
        reader = SpendingReader(connector)
        first = await asyncio.gather(*(reader.spending(now()) for _ in range(5)))
        assert {(view["month_micro"], view["today_micro"], view["idle_micro"]) for view in first} == {(700, None, None)}
        client.answers.set()
        assert len(await reader.statements(month_text(now()))) == 1
        view = await reader.spending(now())
        assert (view["today_micro"], view["idle_micro"]) == (700, 400)

    asyncio.run(ask())
    assert sorted(client.asked) == sorted(["tenants", month_text(now())])


def test_amounts_without_a_statement_are_unknown_and_not_zero() -> None:
    connector = FakeConnector()
    connector.client.failure = PoolSilent("The pool manager does not answer.")
    view = asyncio.run(SpendingReader(connector).spending(now()))
    assert view["month_micro"] == 700
    assert [view[name] for name in ("today_micro", "busy_micro", "idle_micro", "observed_at")] == [None] * 4


@pytest.mark.parametrize(("other", "spent"), [({"mine": False}, 0), ({}, None)])
def test_user_without_a_tenant_has_spent_nothing_unless_the_own_tenant_is_not_known(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], spent: int | None
) -> None:
    connector = FakeConnector()
    monkeypatch.setattr(connector.client, "tenants", lambda: [{"tenant": {"key": "uid:2"}, **other}])
    view = asyncio.run(SpendingReader(connector).spending(now()))
    assert (view["month_micro"], view["today_micro"], view["budget_micro"]) == (spent, spent, None)


def test_day_that_does_not_go_on_is_refused() -> None:
    for since in (0, now() - 72 * HOUR, now() + 2 * HOUR):
        with pytest.raises(InvalidRequest):
            asyncio.run(SpendingReader(FakeConnector()).spending(since))


def test_number_of_statements_kept_is_bounded() -> None:
    connector = FakeConnector()

    async def ask() -> None:
        reader = SpendingReader(connector)
        for number in range(1, 13):
            await reader.statements(f"2025-{number:02}")
        for number in (12, 11):
            await reader.statements(f"2025-{number:02}")
        await reader.statements("2025-01")

    asyncio.run(ask())
    assert connector.client.asked == [*(f"2025-{number:02}" for number in range(1, 13)), "2025-01"]


@pytest.mark.slow
def test_spending_and_csv_of_a_real_pool_agree(running: Running) -> None:
    pool, jupyter = running
    token = new_token()
    lease = pool.client.request("half", notebook="=1+1.ipynb", token=token)
    pool.client.set_budget(lease["tenant"]["key"], 10**9, "stop")
    wait_until(lambda: pool.lease(lease["id"])["money"]["cost_micro"] > 0, "the lease costs something")
    pool.client.release(lease["id"], token)
    wait_until(lambda: pool.lease(lease["id"])["state"] == "ended", "the lease has ended")

    status, view = jupyter.call("GET", "fastgpu/api/spending")
    assert status == 200
    assert (view["budget_micro"], view["budget_policy"], view["warn_milli"]) == (10**9, "stop", 800)
    assert view["month_micro"] > 0
    status, refused = jupyter.call("GET", "fastgpu/api/spending?since=1")
    assert (status, refused["code"]) == (400, "invalid_request")

    request = urllib.request.Request(
        f"{jupyter.url}fastgpu/api/statements/{view['month']}.csv", headers={"Authorization": f"token {jupyter.token}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="fastgpu-{view["month"]}.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.read().decode("utf-8-sig"))))
    assert [row["notebook"] for row in rows if row["lease_id"] == lease["id"]] == ["'=1+1.ipynb"]
    assert sum(int(row["amount_micro"]) for row in rows) == view["month_micro"]
