"""Statements and rates as callers see them; the sums are :mod:`fastgpu_jupyter.core.accounting.ledger`'s.

A statement is made from the journal each time it is requested, so that there is one truth about money. It reads the
whole history: not for the event loop's thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...core.accounting import calendar, ledger
from ...core.accounting.ledger import Segment, Statement, StatementLine
from ...core.model.entities import Instant, Month, State
from ...errors import InvalidRequest
from ...wire.schemas import RateView, StatementLineView, StatementView
from ..journal.store import Journal
from .views import AccessScope

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def month_of(month: str) -> Month:
    """The month of UTC that ``"2026-11"`` is. Raises :class:`InvalidRequest`."""
    match = _MONTH.fullmatch(month)
    if match is None:
        raise InvalidRequest(f"{month[:20]!r} is not a month; write it like 2026-11.")
    return calendar.month_of(int(match[1]), int(match[2]))


def statements(journal: Journal, month: str, until: Instant, access: AccessScope, currency: str) -> list[StatementView]:
    """Return the statements for ``month`` within ``access``; active leases are billed up to ``until``."""
    records = ((record.at, record.events) for record in journal.history() if record.at.ms <= until.ms)
    made = ledger.statements(records, month_of(month), until)
    return [_view(one, month, currency) for one in made if access.all_tenants or one.tenant == access.tenant]


def rates(state: State, currency: str, discounts: Mapping[str, int]) -> list[RateView]:
    """What each model of this pool costs, by use and by plan at its discount in percent."""
    found: dict[tuple[str, int], int] = {}
    for device in state.devices.values():
        key = (device.spec.model, device.spec.rate_micro_per_hour)
        found[key] = found.get(key, 0) + 1
    return [
        {
            "model": model,
            "devices": count,
            "rate_micro_per_hour": rate,
            "month_micro_per_hour": rate * (100 - discounts["month"]) // 100,
            "year_micro_per_hour": rate * (100 - discounts["year"]) // 100,
            "currency": currency,
        }
        for (model, rate), count in sorted(found.items())
    ]


def _view(statement: Statement, month: str, currency: str) -> StatementView:
    return {
        "tenant": statement.tenant,
        "month": month,
        "currency": currency,
        "active_ms": statement.active_ms,
        "total_micro": statement.total_micro,
        "lines": [_line(line) for line in statement.lines],
    }


def _line(line: StatementLine) -> StatementLineView:
    of, draft = line.item.of, line.item
    leased = of if isinstance(of, Segment) else None
    return {
        "kind": "lease" if leased else "reservation",
        "lease_id": leased.lease_id if leased else None,
        "reservation_id": None if isinstance(of, Segment) else of.id,
        "notebook": leased.notebook if leased else None,
        "profile": of.size if isinstance(of, Segment) else reserved_text(of.milli, of.model),
        "device_ids": list(leased.device_ids) if leased else [],
        "started_at": draft.start_wall_ms,
        "active_ms": draft.duration_ms,
        "covered_milli": leased.covered_milli if leased else None,
        "rate_micro_per_hour": draft.rate_micro_per_hour,
        "amount_micro": line.amount_micro,
    }


def reserved_text(milli: int, model: str | None) -> str:
    """What is reserved, for people: ``2 a100``, ``0.5 any``."""
    return f"{milli / 1000:g} {model or 'any'}"
