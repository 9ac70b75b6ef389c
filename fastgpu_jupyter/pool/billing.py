"""Statements and rates as callers see them; the sums are :mod:`fastgpu_jupyter.core.ledger`'s.

A statement is made from the journal each time it is asked for, so that there is one truth about money. It reads the
whole history: not for the event loop's thread.
"""

from __future__ import annotations

import re
from calendar import timegm

from ..core import ledger
from ..core.ledger import Segment, Statement
from ..core.model import Instant, State
from ..errors import InvalidRequest
from ..wire.views import RateView, StatementLineView, StatementView
from .journal.store import Journal
from .views import Viewer

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def month_bounds(month: str) -> tuple[int, int]:
    """First and last-plus-one wall-clock millisecond of ``"2026-11"`` in UTC. Raises :class:`InvalidRequest`."""
    match = _MONTH.fullmatch(month)
    if match is None:
        raise InvalidRequest(f"{month[:20]!r} is not a month; write it like 2026-11.")
    year, number = int(match[1]), int(match[2])
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return timegm((year, number, 1, 0, 0, 0)) * 1000, timegm((*after, 1, 0, 0, 0)) * 1000


def statements(journal: Journal, month: str, until: Instant, viewer: Viewer, currency: str) -> list[StatementView]:
    """The viewer's statement for ``month``, or everybody's; leases that are active now are billed up to ``until``."""
    begin, end = month_bounds(month)
    records = ((record.at, record.events) for record in journal.history() if record.at.ms <= until.ms)
    made = ledger.statements(ledger.segments(records, until), begin, end)
    return [_view(one, month, currency) for one in made if viewer.sees_all or one.tenant == viewer.tenant]


def rates(state: State, currency: str) -> list[RateView]:
    """What each model of this pool costs."""
    found: dict[tuple[str, int], int] = {}
    for device in state.devices.values():
        key = (device.spec.model, device.spec.rate_micro_per_hour)
        found[key] = found.get(key, 0) + 1
    return [
        {"model": model, "devices": count, "rate_micro_per_hour": rate, "currency": currency}
        for (model, rate), count in sorted(found.items())
    ]


def _view(statement: Statement, month: str, currency: str) -> StatementView:
    return {
        "tenant": statement.tenant,
        "month": month,
        "currency": currency,
        "active_ms": statement.active_ms,
        "total_micro": statement.total_micro,
        "lines": [_line(line.segment, line.amount_micro) for line in statement.lines],
    }


def _line(segment: Segment, amount_micro: int) -> StatementLineView:
    return {
        "lease_id": segment.lease_id,
        "notebook": segment.notebook,
        "profile": segment.size,
        "device_ids": list(segment.device_ids),
        "started_at": segment.start.wall_ms,
        "active_ms": segment.duration_ms,
        "rate_micro_per_hour": segment.rate_micro_per_hour,
        "amount_micro": amount_micro,
    }
