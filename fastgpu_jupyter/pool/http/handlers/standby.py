"""Handlers of standby kernels."""

from __future__ import annotations

from typing import Any

import msgspec

from ....errors import InvalidRequest, Message
from ....messages import view_of
from ....wire.schemas import StandbyAnswer, StandbyBody, StandbyList, StandbyTotals
from ....wire.schemas.common import MessageView
from ...monitors.standby import ReportedKernel
from ...standby_budget import StandbyRefusal
from ..call import HttpCall
from .base import HandlerContext, HandlerTable


class StandbyHandlers:
    """Handlers of the operations on standby kernels."""

    def __init__(self, context: HandlerContext) -> None:
        self._monitor = context.backend.standby

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {"GET /v1/standby": self.list_kernels, "PUT /v1/standby": self.report}

    async def list_kernels(self, call: HttpCall) -> StandbyList:
        """Return the standby kernels of the caller's user, and those of the host together."""
        own = self._monitor.of_user(call.caller.holder.uid)
        return {
            "kernels": [
                {"pid": kernel.pid, "server_pid": server_pid, "memory_bytes": kernel.memory_bytes}
                for server_pid, kernel in own
            ],
            "host": self._totals(),
        }

    async def report(self, call: HttpCall) -> StandbyAnswer:
        """Take over the standby kernels of the calling server, and return which may stay."""
        report = parsed(call.body)
        kernels = [ReportedKernel(**kernel) for kernel in report["kernels"]]
        outcome = await self._monitor.report(call.caller.holder, kernels, report["wanted_bytes"])
        return {
            "kernels": [
                {
                    "pid": kernel.pid,
                    "memory_bytes": kernel.memory_bytes,
                    "refusal": self._sentence(kernel.refusal),
                }
                for kernel in outcome.kernels
            ],
            "refusal": self._sentence(outcome.refusal),
            "host": self._totals(),
        }

    def _totals(self) -> StandbyTotals:
        totals = self._monitor.totals()
        return {
            "count": totals.kernels,
            "memory_bytes": totals.memory_bytes,
            "budget_bytes": totals.budget_bytes,
        }

    def _sentence(self, refusal: StandbyRefusal | None) -> MessageView | None:
        return None if refusal is None else view_of(SENTENCES[refusal])


SENTENCES = {
    StandbyRefusal.OFF: Message.of("standby.off"),
    StandbyRefusal.UNKNOWN_MEMORY: Message.of("standby.unknown_memory"),
    StandbyRefusal.PRESSURE: Message.of("standby.pressure"),
    StandbyRefusal.LOW_MEMORY: Message.of("standby.low_memory"),
    StandbyRefusal.BUDGET: Message.of("standby.budget"),
    StandbyRefusal.NOT_SEEN: Message.of("standby.not_seen"),
    StandbyRefusal.TOO_MANY_SERVERS: Message.of("standby.too_many_servers"),
}


def parsed(body: dict[str, Any]) -> StandbyBody:
    """Return a report that matches its schema. Raises :class:`InvalidRequest`."""
    try:
        report = msgspec.convert(body, StandbyBody)
    except msgspec.ValidationError as error:
        raise InvalidRequest(Message.of("request.standby", reason=str(error))) from error
    if len({kernel["pid"] for kernel in report["kernels"]}) < len(report["kernels"]):
        raise InvalidRequest(Message.of("request.standby_twice"))
    return report
