"""The rows and columns of statements as a table, for the command line and for the browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .schemas import StatementLineView, StatementView


def statement_rows(statements: Iterable[StatementView]) -> Iterator[list[Any]]:
    """Yield the heading, and a row for each line of each statement; their amounts sum to the totals."""
    names = list(StatementLineView.__annotations__)
    yield ["tenant", "month", "currency", *names]
    for statement in statements:
        for line in statement["lines"]:
            values = {**line, "device_ids": " ".join(line["device_ids"])}
            yield [
                statement["tenant"]["name"],
                statement["month"],
                statement["currency"],
                *(values[name] for name in names),
            ]
