"""Handlers of the pool manager itself: status, queue, metrics, the OpenAPI document."""

from __future__ import annotations

from typing import Any

from ....core.model.entities import Instant, State
from ....wire import openapi
from ....wire.schemas import PoolView, QueueList, StatusView
from ...monitors.metrics import MetricsSnapshot
from ..call import HttpCall
from ..server import PeerStream
from .base import HandlerContext, HandlerTable


class PoolHandlers:
    """Handlers of the operations on the pool manager as a whole."""

    def __init__(self, context: HandlerContext, open_streams: set[PeerStream]) -> None:
        self._context = context
        self._open_streams = open_streams

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "GET /v1/status": self.status,
            "GET /v1/pool": self.pool,
            "GET /v1/queue": self.queue,
            "GET /v1/metrics": self.metrics,
            "GET /v1/openapi.json": self.openapi,
        }

    async def status(self, call: HttpCall) -> StatusView:
        """Return pool manager, devices, leases and queue at one instant."""
        return await self._context.reader.status(call.caller)

    async def pool(self, _: HttpCall) -> PoolView:
        """Return the pool manager itself."""
        return await self._context.reader.pool()

    async def queue(self, call: HttpCall) -> QueueList:
        """Return the waiting requests in order of grant."""
        return {"queue": await self._context.reader.queue(call.caller)}

    async def openapi(self, _: HttpCall) -> dict[str, Any]:
        """Return the OpenAPI document of this interface."""
        return openapi.document()

    async def metrics(self, _: HttpCall) -> bytes:
        """Return all metrics in the format of Prometheus."""
        backend = self._context.backend

        def read(state: State, at: Instant) -> bytes:
            now = MetricsSnapshot(
                state,
                backend.state.queue_report,
                backend.telemetry.usage,
                len(self._context.publisher),
                len(self._open_streams),
                backend.faults.message is None,
                at,
                {name: len(found) for name, found in backend.processes.foreign.items()},
                backend.supervisor.failures,
                backend.standby.reading(),
                None if backend.cluster is None else backend.cluster.thread.reading(),
            )
            return backend.metrics.text(now)

        return await backend.state.read(read)
