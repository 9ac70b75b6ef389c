"""Views of statements; the sums are :mod:`fastgpu_jupyter.core.accounting.ledger`'s.

A statement is made from the journal each time it is requested, so that there is one source for amounts of money. That
reads the whole history, in a process of its own (:mod:`.statement_process`).
"""

from __future__ import annotations

import re

from ...core.accounting import calendar, ledger
from ...core.accounting.ledger import Statement, StatementLine
from ...core.accounting.segment import Segment
from ...core.model.entities import Instant, Month
from ...errors import InvalidRequest, Message
from ...wire.schemas import StatementLineView, StatementView
from ..journal.store import Journal
from .views.context import AccessScope, NameOf

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def month_of(month: str) -> Month:
    """Return the month (UTC) that a text such as ``2026-11`` names. Raises :class:`InvalidRequest`."""
    match = _MONTH.fullmatch(month)
    if match is None:
        raise InvalidRequest(Message.of("request.month", text=repr(month[:20])))
    return calendar.month_of(int(match[1]), int(match[2]))


def statements(
    journal: Journal, month: str, until: Instant, access: AccessScope, *, currency: str, name_of: NameOf
) -> list[StatementView]:
    """Return the statements for ``month`` within ``access``; active leases are billed up to ``until``."""
    records = ((record.at, record.events) for record in journal.history() if record.at.ms <= until.ms)
    made = ledger.statements(records, month_of(month), until)
    return [_view(one, month, currency, access, name_of) for one in made if access.includes_tenant(one.tenant)]


def _view(statement: Statement, month: str, currency: str, access: AccessScope, name_of: NameOf) -> StatementView:
    return {
        # A user who has the number of a former user now is not shown with what that one used.
        "tenant": {"key": statement.tenant, "name": statement.name or name_of(statement.tenant)},
        "mine": statement.tenant == access.tenant,
        "month": month,
        "currency": currency,
        "active_ms": statement.active_ms,
        "busy_micro": statement.busy_micro,
        "idle_micro": statement.idle_micro,
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
        "job": leased.job if leased else None,
        "size": of.size if isinstance(of, Segment) else reserved_text(of.milli, of.model),
        "device_ids": list(leased.device_ids) if leased else [],
        "started_at": draft.start_wall_ms,
        "active_ms": draft.duration_ms,
        "busy_ms": leased.busy_ms if leased else None,
        "idle_ms": leased.idle_ms if leased else None,
        "covered_milli": leased.covered_milli if leased else None,
        "rate_micro_per_hour": draft.rate_micro_per_hour,
        "amount_micro": line.amount_micro,
    }


def reserved_text(milli: int, model: str | None) -> str:
    """Return what is reserved as text, such as ``2 a100`` or ``0.5 any``."""
    return f"{milli / 1000:g} {model or 'any'}"
