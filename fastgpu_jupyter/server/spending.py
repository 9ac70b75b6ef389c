"""What the user has spent: the budget and the amount of the month, and what the statements say of today and idle time.

The pool manager knows the amount of the month at any instant. All else is in its statements, for which it reads its
whole history, so that they are kept for :data:`STATEMENT_TTL_S`, whatever they are requested for.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import FastGPUError, InvalidRequest, Message
from ..units import MS_PER_HOUR
from ..wire.client import PoolClient
from ..wire.client.accounting import STATEMENT_TIMEOUT_S

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView, ReservationView, SpendingView, StatementLineView, StatementView, TenantView
    from .pool_connector import PoolConnector

#: A statement is requested again only after this time.
STATEMENT_TTL_S = 30.0
#: The amount and the budget of the month are requested again only after this time.
SPENDING_TTL_S = 5.0
#: An answer waits so long for a statement; amounts that only that has are unknown until it is there.
STATEMENT_WAIT_S = 2.0
#: How many months are kept: those that a day can touch, and one that is downloaded.
MONTHS_MAX = 3
_DAY_MS = 24 * MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the pool manager answered about the user's money."""

    currency: str
    tenants: list[TenantView]
    leases: list[LeaseView]
    reservations: list[ReservationView]

    @classmethod
    def read(cls, client: PoolClient) -> Accounts:
        """Return the answers of ``client``."""
        return cls(client.pool()["currency"], client.tenants(), client.leases(), client.reservations())

    @property
    def own(self) -> TenantView | None:
        """The user's own tenant; None if the user has none yet, or the pool manager does not say which it is."""
        return next((one for one in self.tenants if one.get("mine")), None)

    @property
    def spent_micro(self) -> int | None:
        """What the user has spent this month: nothing before the first lease; None if it is not known."""
        if self.own is not None:
            return self.own["spent_micro"]
        # A pool manager of another version does not say which tenant is the user's.
        return 0 if all("mine" in one for one in self.tenants) else None

    def rate_micro(self, tenant: TenantView) -> int:
        """Return what the tenant's leases and reservations cost an hour now."""
        key = tenant["tenant"]["key"]
        leases = sum(one["money"]["billed_micro_per_hour"] for one in self.leases if one["tenant"]["key"] == key)
        reserved = (one for one in self.reservations if one["tenant"]["key"] == key and one["state"] == "running")
        return leases + sum(one["rate_micro_per_hour"] for one in reserved)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A statement, or why there is none, and when it was requested."""

    requested_s: float  #: by the monotonic clock
    at_ms: int  #: by the wall clock
    task: asyncio.Task[list[StatementView]]


class SpendingReader:
    """Amounts for the browser. For the thread of the event loop; calls to the pool manager run in other threads."""

    def __init__(self, connector: PoolConnector) -> None:
        self._connector = connector
        self._accounts: tuple[float, Accounts] | None = None
        self._statements: dict[str, _Answer] = {}
        self._reading = asyncio.Lock()

    async def spending(self, day_started_at: int | None) -> SpendingView:
        """Return the amounts of this month and since ``day_started_at``. Raises the client's errors.

        Raises :class:`InvalidRequest` for a day that has not begun or is over.
        """
        from ..wire.schemas.accounting import WARN_MILLI  # msgspec, which a server needs for nothing else

        now_ms = int(time.time() * 1000)
        start = now_ms - now_ms % _DAY_MS if day_started_at is None else day_started_at
        if not now_ms - 2 * _DAY_MS <= start <= now_ms + MS_PER_HOUR:
            raise InvalidRequest(Message.of("request.day"))
        month = month_text(now_ms)
        months = {month, month_text(start)}
        accounts = await self._read_accounts()
        answers = {one: self._answer(one) for one in months}
        await asyncio.wait([one.task for one in answers.values()], timeout=STATEMENT_WAIT_S)
        own = accounts.own
        made = {one: _own_statement(answer) for one, answer in answers.items()}
        current, spent = made[month], accounts.spent_micro
        return {
            "month": month,
            "currency": accounts.currency,
            "today_micro": None if spent is None else _today_micro(spent, made, month, start),
            "month_micro": spent,
            "budget_micro": None if own is None else own["budget_micro_per_month"],
            "budget_policy": None if own is None else own["budget_policy"],
            "warn_milli": WARN_MILLI,
            "rate_micro_per_hour": None if own is None else accounts.rate_micro(own),
            "busy_micro": None if current is None else current.get("busy_micro"),
            "idle_micro": None if current is None else current.get("idle_micro"),
            "observed_at": None if current is None else answers[month].at_ms,
        }

    async def statements(self, month: str) -> list[StatementView]:
        """Return the user's own statement of a month, if there was usage. Raises the client's errors."""
        found = await asyncio.shield(self._answer(month).task)
        return [one for one in found if one.get("mine", len(found) == 1)]

    def close(self) -> None:
        """Stop waiting for statements, because the server stops."""
        for answer in self._statements.values():
            answer.task.cancel()

    async def _read_accounts(self) -> Accounts:
        async with self._reading:  # else each open page would send its own requests
            now_s = time.monotonic()
            if self._accounts is None or now_s - self._accounts[0] >= SPENDING_TTL_S:
                self._accounts = now_s, await self._connector.call(Accounts.read)
            return self._accounts[1]

    def _answer(self, month: str) -> _Answer:
        """Return the statement of a month, which may be on its way."""
        known, now_s = self._statements.pop(month, None), time.monotonic()
        if known is None or (known.task.done() and now_s - known.requested_s >= STATEMENT_TTL_S):
            call = self._connector.call(lambda client: client.statements(month), timeout_s=STATEMENT_TIMEOUT_S)
            known = _Answer(now_s, int(time.time() * 1000), asyncio.ensure_future(call))
            known.task.add_done_callback(_retrieve)
        while len(self._statements) >= MONTHS_MAX:
            oldest = next(iter(self._statements))
            self._statements.pop(oldest)
        self._statements[month] = known
        return known


def month_text(at_ms: int) -> str:
    """Return the month (UTC) of a wall-clock time, such as ``2026-11``."""
    return time.strftime("%Y-%m", time.gmtime(at_ms / 1000))


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the error of a task, which may be no longer awaited."""
    if not task.cancelled():
        task.exception()


def _own_statement(answer: _Answer) -> StatementView | None:
    """Return the user's own statement; an empty one if there was no usage, None if that is not known."""
    task = answer.task
    if not task.done() or task.cancelled() or isinstance(task.exception(), FastGPUError | OSError):
        return None
    found = task.result()
    if any("mine" not in one for one in found):
        return None  # from a pool manager of another version
    return next((one for one in found if one["mine"]), _empty())


def _empty() -> StatementView:
    empty: Any = {"lines": [], "total_micro": 0, "busy_micro": 0, "idle_micro": 0}
    view: StatementView = empty
    return view


def _today_micro(spent: int, made: dict[str, StatementView | None], month: str, start: int) -> int | None:
    """Return what was spent since ``start``, given what was in the whole month; None if a statement is not known.

    What was spent before the day began is in the statements, however old these are.
    """
    numerator = 0
    for name, statement in made.items():
        if statement is None:
            return None
        for line in statement["lines"]:
            numerator += -_part(line, 0, start) if name == month else _part(line, start, sys.maxsize)
    return max(0, spent + numerator // MS_PER_HOUR)


def _part(line: StatementLineView, start: int, end: int) -> int:
    """Return the cost of a line between two times, in micro-units x milliseconds per hour."""
    begin, until = line["started_at"], line["started_at"] + line["active_ms"]
    return line["rate_micro_per_hour"] * max(0, min(until, end) - max(begin, start))
