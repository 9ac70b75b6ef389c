"""The cost of each cell of this kernel, computed from the lease's cost when the user asks for it.

The pool reports the lease's cost at an instant and its rate from there on; the follower keeps both current. At the
begin and the end of a cell they are copied, which needs no I/O. The cost of the cell is the difference of the two
sums, so it contains every change of the rate in between (a resize, a reservation, a time in which the lease was
parked) that the pool has reported. Both clocks are this machine's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..messages import joined, say, sentence_of
from ..units import MS_PER_HOUR, format_duration, format_money

#: How many of the last cells are kept.
CELLS_MAX = 1000
#: How many of them are shown.
SHOWN_MAX = 20


class Known(NamedTuple):
    """The cost of a lease as the pool reported it last."""

    lease_id: str
    cost_micro: int
    at_ms: int  #: when, on the wall clock
    micro_per_hour: int  #: rate since then
    currency: str

    @classmethod
    def of(cls, view: Mapping[str, Any] | None) -> Known | None:
        """Return the cost in a view of a lease; None if there is no view."""
        if view is None:
            return None
        money = view["money"]
        return cls(view["id"], money["cost_micro"], money["cost_at"], money["billed_micro_per_hour"], money["currency"])

    def numerator(self, ms: int) -> int:
        """Return the cost at ``ms`` with the known rate, in micro-units times milliseconds per hour."""
        return max(0, self.cost_micro * MS_PER_HOUR + self.micro_per_hour * (ms - self.at_ms))


class Cell(NamedTuple):
    """A cell that has run, with what was known of the cost."""

    number: int
    began_ms: int
    ended_ms: int
    before: Known | None  #: known when it began
    after: Known | None  #: known when it ended

    @property
    def duration_ms(self) -> int:
        """Return how long the cell ran, in milliseconds."""
        return max(0, self.ended_ms - self.began_ms)


class Cost(NamedTuple):
    """The cost of a cell and a note on how it is known."""

    amount_micro: int | None  #: None where it is unknown
    note: str = ""


class Cells:
    """The last cells of this kernel, oldest first."""

    def __init__(self) -> None:
        self._cells: deque[Cell] = deque(maxlen=CELLS_MAX)

    def begin(self, view: Mapping[str, Any] | None) -> tuple[int, Known | None]:
        """Record that a cell begins; return what :meth:`end` takes."""
        return _now_ms(), Known.of(_copy(view))

    def end(self, began: tuple[int, Known | None], view: Mapping[str, Any] | None, number: int) -> Cell:
        """Record that the cell ended, and return it."""
        cell = Cell(number, began[0], _now_ms(), began[1], Known.of(_copy(view)))
        self._cells.append(cell)
        return cell

    def last(self, count: int = SHOWN_MAX) -> list[Cell]:
        """Return the last ``count`` cells, oldest first."""
        return list(self._cells)[-count:]

    def __len__(self) -> int:
        return len(self._cells)


def cost_of(cell: Cell, known: Known | None) -> Cost:
    """Return the cost of the cell; ``known`` now is used for cells that ran before anything was known."""
    before, after = cell.before, cell.after
    if after is None:
        if known is None:
            return Cost(None, say("cell.cost_unknown"))
        before = after = known
    if before is None:
        before, note = after, say("cell.later_rate")
    elif before.lease_id != after.lease_id:
        return Cost(None, say("cell.lease_changed"))
    else:
        note = say("cell.rate_changed") if before.micro_per_hour != after.micro_per_hour else ""
    if cell.after is None:
        note = say("cell.later_rate")
    numerator = after.numerator(cell.ended_ms) - before.numerator(cell.began_ms)
    return Cost(max(0, numerator) // MS_PER_HOUR, note)


def cell_rows(cells: list[Cell], known: Known | None) -> list[tuple[str, str, str, str]]:
    """Return number, time, cost and note of each cell, and a row with the sums."""
    currency = next((one.currency for cell in cells for one in (cell.after, known) if one is not None), "")
    rows, total_micro = [], 0
    for cell in cells:
        cost = cost_of(cell, known)
        total_micro += cost.amount_micro or 0
        amount = "-" if cost.amount_micro is None else format_money(cost.amount_micro, currency)
        rows.append((f"[{cell.number}]", _duration(cell.duration_ms), amount, cost.note))
    if rows:
        spent_ms = sum(cell.duration_ms for cell in cells)
        rows.append((say("label.sum"), _duration(spent_ms), format_money(total_micro, currency), ""))
    return rows


def so_far(view: Mapping[str, Any]) -> str:
    """Return a sentence with the lease's cost, its rate and its budget."""
    money = view["money"]
    cost, rate = (format_money(money[name], money["currency"]) for name in ("cost_micro", "billed_micro_per_hour"))
    reserved = money["covered_milli"]
    text = (
        say("cell.so_far_reserved", cost=cost, rate=rate, covered_milli=reserved)
        if reserved
        else say("cell.so_far", cost=cost, rate=rate)
    )
    return joined((text, sentence_of(money["message"])))


def _duration(duration_ms: int) -> str:
    return f"{duration_ms} ms" if duration_ms < 10_000 else format_duration(duration_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _copy(view: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a copy of the view: another thread changes it."""
    return None if view is None else dict(view)
