"""Handlers of the advice on the size of a lease."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ....core.model import commands as c
from ....core.model.entities import Instant, Lease, State
from ....core.model.size import SizeUnit
from ....core.sizing import advice
from ....core.sizing.options import SizeChoice
from ....wire.schemas import AdviceView
from ...journal.answers import FirstAnswer
from .. import request_parsing
from ..call import HttpCall
from ..views.advice import advice_view
from .base import HandlerContext, HandlerTable
from .sizes import OFFERS_S


class AdviceHandlers:
    """Handlers of the advice on the size of a lease."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._backend = context.backend

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "GET /v1/leases/{lease_id}/advice": self.advice,
            "POST /v1/leases/{lease_id}/advice/silence": self.silence,
        }

    async def advice(self, call: HttpCall) -> AdviceView:
        """Return the advice on the size of a lease."""
        if self._backend.cluster is not None:
            await self._backend.cluster.offers.current(OFFERS_S)
        return await self._backend.state.read(partial(self._advice, call=call))

    async def silence(self, call: HttpCall) -> FirstAnswer:
        """Give no advice for the notebook of a lease, or give it again."""
        silenced = request_parsing.optional_truth(call.body, "silenced")
        return await self._backend.commands.submit_and_read(
            c.SilenceAdvice(call.lease_id, True if silenced is None else silenced),
            call.key,
            lambda state, at, _: call.answer(self._advice(state, at, call)),
            lambda state: self._context.permissions.visible_lease(state, call.caller, call.lease_id),
        )

    def _advice(self, state: State, at: Instant, call: HttpCall) -> AdviceView:
        lease = self._context.permissions.visible_lease(state, call.caller, call.lease_id)
        pending = self._backend.use.pending(lease.id)
        measured = advice.measured_of(state, lease, pending, at)
        found, reason = advice.advise(state, lease, measured, self._choices(lease, at))
        return advice_view(found, reason, silenced=advice.is_silenced(state, lease))

    def _choices(self, lease: Lease, at: Instant) -> Sequence[SizeChoice] | None:
        """Return the sizes that advice can name; ``None`` where they are not known."""
        if lease.cluster_job is None:
            return self._backend.state.size_report.for_lease(lease, SizeUnit.SHARE, None, at).choices
        cluster = self._backend.cluster
        return None if cluster is None else cluster.sizes_like(lease)
