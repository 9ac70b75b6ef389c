"""Calls about the pool manager itself, the queue and the event stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from .stream import EventStream
from .transport import Transport, bearer

if TYPE_CHECKING:
    from ..schemas import PoolView, QueueEntryView, StandbyAnswer, StandbyKernelBody, StandbyList, StatusView

#: The pool manager sends a keepalive more often; after this time without a message it does not answer.
SILENCE_MAX_S = 5.0


class PoolCalls(Transport):
    """Calls about the pool manager as a whole."""

    def health(self) -> dict[str, Any]:
        """Return ``{"status": "ok"}`` as soon as the pool manager serves."""
        return cast("dict[str, Any]", self._call("GET", "/v1/health"))

    def status(self) -> StatusView:
        """Return pool manager, devices, leases and queue at one instant."""
        return cast("StatusView", self._call("GET", "/v1/status"))

    def pool(self) -> PoolView:
        """Return the pool manager itself."""
        return cast("PoolView", self._call("GET", "/v1/pool"))

    def queue(self) -> list[QueueEntryView]:
        """Return the queue in order of grant."""
        return cast("list[QueueEntryView]", self._call("GET", "/v1/queue")["queue"])

    def standby_kernels(self) -> StandbyList:
        """Return the standby kernels of this process's user."""
        return cast("StandbyList", self._call("GET", "/v1/standby"))

    def report_standby(self, kernels: Sequence[StandbyKernelBody], wanted_bytes: int | None) -> StandbyAnswer:
        """Report all standby kernels of this process, and the memory of one that it wants to start or starts now.

        Return which may stay and whether it may be started. Raises :class:`NotFound` for an older pool manager.
        """
        body = {"kernels": list(kernels), "wanted_bytes": wanted_bytes}
        return cast("StandbyAnswer", self._call("PUT", "/v1/standby", body))

    def events(self, lease_id: str | None = None, since: int | None = None, *, token: str | None = None) -> EventStream:
        """Open the stream of snapshots, changes and readings; only of one lease with ``lease_id`` and its ``token``.

        ``since`` is the ``seq`` of the last message that the caller has. The stream then begins with what the caller
        missed if the pool manager still has that, else with a snapshot.
        """
        query = {name: value for name, value in (("lease", lease_id), ("since", since)) if value is not None}
        path = "/v1/events" + (f"?{urlencode(query)}" if query else "")
        connection, response = self._open("GET", path, None, bearer(token), self.timeout_s)
        connection.lift_deadline(SILENCE_MAX_S)
        return EventStream(connection, response)
