"""The newest views of leases whose kernels run on other hosts, from the event stream of the pool manager.

A process reads one stream for all of them, in a thread, and only while it has such kernels. What it hears is kept while
the pool manager does not answer: that says nothing about the kernels.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import OVER
from ..wire.spawn import ensure_pool
from ..wire.stream_follower import StreamFollower

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

PAUSE_FIRST_S = 0.2


class LeaseMirror:
    """The views of the leases that are not over, and of those that are followed. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, LeaseView] = {}
        #: Followed lease -> the pool that granted it, once that is known.
        self._followed: dict[str, str | None] = {}
        #: The pool whose snapshot was the last one; None before the first.
        self._pool_id: str | None = None
        self._reader: _LeaseReader | None = None
        os.register_at_fork(after_in_child=self._forget)

    def follow(self, lease_id: str) -> None:
        """Keep the view of the lease current from now on, also when it is over."""
        with self._lock:
            self._followed[lease_id] = self._pool_id if lease_id in self._views else None
            if self._reader is None:
                self._reader = _LeaseReader(self)
                self._reader.start()

    def unfollow(self, lease_id: str) -> None:
        """Forget the lease; without any, the stream ends."""
        with self._lock:
            self._followed.pop(lease_id, None)
            if not self._followed and self._reader is not None:
                self._reader.stop()
                self._reader, self._views, self._pool_id = None, {}, None

    def view(self, lease_id: str) -> LeaseView | None:
        """Return the newest view of the lease; None where there is none yet."""
        with self._lock:
            return self._views.get(lease_id)

    def is_forgotten(self, lease_id: str) -> bool:
        """Return whether the pool that granted the lease does not list it any more: it ended long ago."""
        with self._lock:
            pool_id = self._followed.get(lease_id)
            return pool_id is not None and pool_id == self._pool_id and lease_id not in self._views

    def apply(self, reader: _LeaseReader, message: dict[str, Any]) -> None:
        """Take one message of the stream."""
        if message.get("type") not in ("snapshot", "changed"):
            return
        with self._lock:
            if reader is not self._reader:
                return
            if message["type"] == "snapshot":
                self._views, self._pool_id = {}, message["pool"]["id"]
            for view in message.get("leases", ()):
                lease_id = view["id"]
                if lease_id in self._followed:
                    self._followed[lease_id] = self._pool_id
                elif view["state"] in OVER:
                    self._views.pop(lease_id, None)
                    continue
                self._views[lease_id] = view

    def _forget(self) -> None:
        """Have no reader in a forked process."""
        self._lock, self._views, self._followed, self._reader = threading.Lock(), {}, {}, None


class _LeaseReader(StreamFollower):
    """The thread that reads the stream."""

    def __init__(self, mirror: LeaseMirror) -> None:
        # Nothing is handed over to an event loop: a blocking kernel manager has a loop only inside its calls.
        super().__init__("fastgpu-leases", None, PAUSE_FIRST_S)
        self._mirror = mirror

    def follow(self) -> None:
        """Apply each message of one stream, which begins with a snapshot."""
        for message in self.opened(ensure_pool().events()):
            self.heard()
            self._mirror.apply(self, message)

    def lost(self, error: Exception | None) -> None:
        """Do nothing: what was known stays."""


#: That of this process.
leases = LeaseMirror()
