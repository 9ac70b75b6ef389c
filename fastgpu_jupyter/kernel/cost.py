"""What each cell of this kernel cost: computed here, from what is known of the lease, when somebody asks.

The pool says what the lease had cost at an instant and what it costs an hour from there on; the follower keeps that
current. A cell notes what is known as it begins and as it ends, which is a copy of a dictionary and no I/O. Its cost is
the difference of the two sums, so a rate that changed meanwhile (a resize, a reservation, a time in which the lease was
parked) is in it as soon as the pool has told of it. Both clocks are this machine's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..units import MS_PER_HOUR, format_duration, format_money

#: Cells that are remembered, the last ones.
CELLS_MAX = 1000
#: Of which so many are shown.
SHOWN_MAX = 20


class Known(NamedTuple):
    """What the pool last said about the lease's cost."""

    lease_id: str
    cost_micro: int
    at_ms: int  #: on the wall clock
    micro_per_hour: int  #: from there on
    currency: str

    @classmethod
    def of(cls, view: Mapping[str, Any] | None) -> Known | None:
        """From a lease as the pool shows it; ``None`` where it does not say, or nothing is known."""
        if view is None or "cost_at" not in view:
            return None
        return cls(view["id"], view["cost_micro"], view["cost_at"], view["billed_micro_per_hour"], view["currency"])

    def numerator(self, ms: int) -> int:
        """What the lease had cost at that time, were its rate the same all along; in micro-units x ms per hour."""
        return max(0, self.cost_micro * MS_PER_HOUR + self.micro_per_hour * (ms - self.at_ms))


class Cell(NamedTuple):
    """A cell that ran."""

    number: int
    began_ms: int
    ended_ms: int
    before: Known | None  #: what was known when it began
    after: Known | None  #: and when it ended

    @property
    def duration_ms(self) -> int:
        """How long it ran."""
        return max(0, self.ended_ms - self.began_ms)


class Cost(NamedTuple):
    """What a cell cost, and how that is known."""

    amount_micro: int | None  #: ``None``: nobody knows
    note: str = ""


class Cells:
    """The last cells of this kernel."""

    def __init__(self) -> None:
        self._cells: deque[Cell] = deque(maxlen=CELLS_MAX)

    def begin(self, view: Mapping[str, Any] | None) -> tuple[int, Known | None]:
        """A cell begins; what it returns is for :meth:`end`."""
        return _now_ms(), Known.of(_copy(view))

    def end(self, began: tuple[int, Known | None], view: Mapping[str, Any] | None, number: int) -> None:
        """The cell ends."""
        self._cells.append(Cell(number, began[0], _now_ms(), began[1], Known.of(_copy(view))))

    def last(self, count: int = SHOWN_MAX) -> list[Cell]:
        """The last cells, oldest first."""
        return list(self._cells)[-count:]

    def __len__(self) -> int:
        return len(self._cells)


def cost_of(cell: Cell, known: Known | None) -> Cost:
    """What the cell cost; ``known`` now, for cells that ran before anything was."""
    before, after = cell.before, cell.after
    if after is None:
        if known is None:
            return Cost(None, "what the lease costs is not known yet")
        before = after = known
    if before is None:
        before, note = after, "at the rate that was known later"
    elif before.lease_id != after.lease_id:
        return Cost(None, "the lease changed while it ran")
    else:
        note = "the rate changed" if before.micro_per_hour != after.micro_per_hour else ""
    if cell.after is None:
        note = "at the rate that was known later"
    numerator = after.numerator(cell.ended_ms) - before.numerator(cell.began_ms)
    return Cost(max(0, numerator) // MS_PER_HOUR, note)


def rows(cells: list[Cell], known: Known | None) -> list[tuple[str, str, str, str]]:
    """Each cell's number, time, cost and what is to be said about that; a sum below."""
    currency = next((one.currency for cell in cells for one in (cell.after, known) if one is not None), "")
    told, total_micro = [], 0
    for cell in cells:
        cost = cost_of(cell, known)
        total_micro += cost.amount_micro or 0
        amount = "-" if cost.amount_micro is None else format_money(cost.amount_micro, currency)
        told.append((f"[{cell.number}]", _duration(cell.duration_ms), amount, cost.note))
    if told:
        spent_ms = sum(cell.duration_ms for cell in cells)
        told.append(("Sum", _duration(spent_ms), format_money(total_micro, currency), ""))
    return told


def so_far(view: Mapping[str, Any]) -> str:
    """What the lease has cost, costs, and may cost."""
    currency = view["currency"]
    told = f"The lease has cost {format_money(view['cost_micro'], currency)}"
    if view.get("billed_micro_per_hour") is not None:
        told += f" and costs {format_money(view['billed_micro_per_hour'], currency)} an hour now"
    if view.get("covered_milli"):
        told += f"; {view['covered_milli'] / 1000:g} GPU of it is reserved and paid for"
    return f"{told}. {view.get('budget_message') or ''}".rstrip()


def _duration(duration_ms: int) -> str:
    return f"{duration_ms} ms" if duration_ms < 10_000 else format_duration(duration_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _copy(view: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """As it is at one moment: another thread keeps the view current."""
    return None if view is None else dict(view)
