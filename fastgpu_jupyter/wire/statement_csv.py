"""The rows and columns of statements as a table, for the command line and for the browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .schemas import StatementLineView, StatementView


class AdviceCells(NamedTuple):
    """The advice on the size of a lease, in the cells of its lines."""

    advised_size: str = ""
    advised_saving_milli: int | str = ""
    advice: str = ""  #: as a sentence


def statement_rows(
    statements: Iterable[StatementView], advice: Mapping[str, AdviceCells] | None = None
) -> Iterator[list[Any]]:
    """Yield the heading, and a row for each line of each statement; their amounts sum to the totals.

    ``advice`` is given by the id of the lease.
    """
    names = list(StatementLineView.__annotations__)
    yield ["tenant", "month", "currency", *names, *AdviceCells._fields]
    for statement in statements:
        for line in statement["lines"]:
            values = {**line, "device_ids": " ".join(line["device_ids"])}
            yield [
                statement["tenant"]["name"],
                statement["month"],
                statement["currency"],
                *(values[name] for name in names),
                *(advice or {}).get(line["lease_id"] or "", AdviceCells()),
            ]
