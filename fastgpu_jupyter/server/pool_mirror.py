"""A copy of the pool's state, made from the messages of its event stream."""

from __future__ import annotations

from typing import Any

from ..core.model.lifecycle import LeaseState
from ..wire.lease_view import with_position, with_reading

StreamMessage = dict[str, Any]
#: How many ended leases the mirror keeps; the oldest are dropped.
ENDED_MAX = 500


class PoolMirror:
    """The state of the pool after all messages so far."""

    def __init__(self) -> None:
        self._seq = 0
        self._pool: StreamMessage | None = None
        self._devices: dict[str, StreamMessage] = {}
        self._leases: dict[str, StreamMessage] = {}
        self._queue: list[StreamMessage] = []

    def apply(self, message: StreamMessage) -> None:
        """Apply one message of the pool's event stream."""
        kind = message.get("type")
        if kind == "snapshot":
            self._devices, self._leases = {}, {}
        if kind in ("snapshot", "changed"):
            self._seq = message.get("seq", self._seq)
            self._queue = message.get("queue", self._queue)
            self._pool = message.get("pool") or self._pool
        if kind in ("snapshot", "changed", "usage"):
            for known, views in ((self._devices, "devices"), (self._leases, "leases")):
                for view in message.get(views, ()):
                    if kind != "usage":
                        known[view["id"]] = view
                    elif view["id"] in known:
                        known[view["id"]] = with_reading(known[view["id"]], view)
            self._drop_old()
        if kind == "changed":
            self._take_positions()

    def lease_state(self, lease_id: str) -> str | None:
        """Return the last known state of a lease, None for an unknown one."""
        view = self._leases.get(lease_id)
        return None if view is None else view["state"]

    def snapshot(self) -> StreamMessage | None:
        """Return the first message for a new subscriber; None before the first snapshot of the pool."""
        if self._pool is None:
            return None
        return {
            "type": "snapshot",
            "seq": self._seq,
            "pool": self._pool,
            "devices": list(self._devices.values()),
            "leases": list(self._leases.values()),
            "queue": self._queue,
        }

    def _take_positions(self) -> None:
        """Take over the positions in the queue: a waiting lease that has changed in nothing else is not sent again."""
        for entry in self._queue:
            if entry["lease_id"] in self._leases:
                self._leases[entry["lease_id"]] = with_position(self._leases[entry["lease_id"]], entry)

    def _drop_old(self) -> None:
        ended = [view for view in self._leases.values() if view["state"] == LeaseState.ENDED]
        ended.sort(key=lambda view: view["times"]["ended_at"] or 0)
        for view in ended[: max(0, len(ended) - ENDED_MAX)]:
            del self._leases[view["id"]]
