"""The handlers of amounts of money: what the user has spent, and statements as files."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import InvalidRequest, Message, ReceivedMessage
from ...messages import render
from ...text import spreadsheet_cell
from .. import language
from ..spending import month_text
from .base import LEASES, FastGPUHandler

if TYPE_CHECKING:
    from ...wire.schemas import AdviceView
    from ..spending import SpendingReader


class MoneyHandler(FastGPUHandler):
    """The base class of the handlers of amounts."""

    @property
    def reader(self) -> SpendingReader:
        """Return the reader of this server."""
        found: SpendingReader = self.settings["fastgpu_spending"]
        return found


class SpendingHandler(MoneyHandler):
    """What the user has spent."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the amounts of this month and of the day that began at ``since``."""
        since = self.get_query_argument("since", None)
        try:
            started_at = None if since is None else int(since)
        except ValueError:
            raise InvalidRequest(Message.of("request.not_integer", field="since")) from None
        self.answer(await self.reader.spending(started_at))


class StatementHandler(MoneyHandler):
    """A statement of the user as CSV."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self, month: str) -> None:
        """Answer with the lines of a month, which sum to its amount; only the heading if nothing was used."""
        from ...wire.statement_advice import advice_for_statement  # msgspec, which a server needs for nothing else
        from ...wire.statement_csv import AdviceCells, statement_rows

        statements = await self.reader.statements(month)
        # Advice is about leases that are active now, so that it belongs to the present month.
        is_present = month == month_text(int(time.time() * 1000))
        advised = await self.call(advice_for_statement) if statements and is_present else []
        cells = {lease["id"]: AdviceCells(*advice_cells(view)) for lease, view in advised}
        rows = statement_rows(statements, cells)
        out = io.StringIO()
        csv.writer(out).writerows([spreadsheet_cell(value) for value in row] for row in rows)
        self.set_header("Content-Disposition", f'attachment; filename="fastgpu-{month}.csv"')
        self.set_header("Cache-Control", "no-store")
        # The mark lets spreadsheets read names in other scripts.
        self.finish("\ufeff" + out.getvalue(), set_content_type="text/csv; charset=utf-8")


def advice_cells(view: AdviceView) -> tuple[str, int, str]:
    """Return the size that is advised, the saving in thousandths, and the advice in the language of the user."""
    advice = view["advice"]
    assert advice is not None
    sentence = render(ReceivedMessage.from_view(advice["basis"]), language.of_user())
    return advice["size"], advice["saving_milli"], sentence
