"""A pool of one lease that a test drives by hand."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from fastgpu_jupyter.errors import NotFound, PoolUnreachable


def lease_view(**changes: Any) -> dict[str, Any]:
    """A waiting lease, with ``changes``."""
    view: dict[str, Any] = {
        "id": "lease-1", "version": 1, "state": "waiting", "end_reason": None, "kernel_id": "kernel-1",
        "notebook": "a.ipynb", "pid": 1, "device_id": None, "device_model": None, "simulated": False,
        "tenant": "ada", "profile": "full", "memory_bytes": None, "mechanism": None, "partition": None,
        "enforcement": None,
        "environment": {}, "hidden_environment": {"CUDA_VISIBLE_DEVICES": ""},
        "requested_at": 0, "granted_at": None, "ended_at": None, "active_ms": 0,
        "rate_micro_per_hour": None, "cost_micro": 0, "currency": "USD", "utilization_percent": None,
        "memory_used_bytes": None, "place": 1, "pending_reason": "capacity",
        "pending_detail": "every GPU is in use.", "retention": "yield", "busy": False, "used_at": 0, "parkable": False,
        "park_reason": None, "parked_bytes": 0, "isolation": "none", "priority": "normal", "cpu_milli": 0,
        "host_memory_bytes": 0, "device_ids": [],
    }  # fmt: skip
    return {**view, **changes}


def active_view(**changes: Any) -> dict[str, Any]:
    """A granted lease."""
    granted: dict[str, Any] = {
        "version": 2, "state": "active", "device_id": "GPU-1", "device_model": "A100-80GB",
        "memory_bytes": 80 * 2**30, "memory_used_bytes": 20 * 2**30, "utilization_percent": 50,
        "mechanism": "exclusive", "partition": None, "enforcement": "hardware",
        "environment": {"CUDA_VISIBLE_DEVICES": "GPU-1"},
        "place": None, "pending_reason": None, "pending_detail": None, "active_ms": 65_000,
        "rate_micro_per_hour": 2_500_000, "cost_micro": 45_000, "parkable": True,
    }  # fmt: skip
    return lease_view(**{**granted, **changes})


class FakeStream:
    """Messages that the test puts in; ``None`` breaks the stream."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            message = self.messages.get(timeout=5)
            if message is None:
                raise PoolUnreachable("The pool manager went away; trying again.")
            yield message

    def close(self) -> None:
        """No more messages are wanted."""
        self.closed = True


class FakePool:
    """Answers like ``PoolClient``; everything that is called is in ``calls``."""

    def __init__(self, view: dict[str, Any] | None = None) -> None:
        self.view = view or lease_view()
        self.calls: list[tuple[Any, ...]] = []
        self.stream = FakeStream()
        self.down: str | None = None

    def connect(self) -> Any:
        """What the gate calls to reach the pool."""
        if self.down:
            raise PoolUnreachable(self.down)
        return self

    def lease(self, lease_id: str) -> dict[str, Any]:
        """The lease."""
        if lease_id != self.view["id"]:
            raise NotFound(f"There is no lease {lease_id}.")
        return dict(self.view)

    def request(
        self,
        profile: Any,
        memory_bytes: Any,
        kernel_id: Any,
        notebook: Any,
        *,
        token: str,
        key: str | None = None,
        options: Any = None,
    ) -> dict[str, Any]:
        """The next lease, waiting."""
        self.calls.append(("request", profile, memory_bytes, kernel_id, notebook, *([options] if options else [])))
        self.view = lease_view(id="lease-2", version=0, profile=profile or str(memory_bytes))
        return dict(self.view)

    def resize(self, lease_id: str, profile: str) -> dict[str, Any]:
        """Another size of the same lease."""
        self.calls.append(("resize", lease_id, profile))
        self.view = {**self.view, "profile": profile, "version": self.view["version"] + 1}
        return dict(self.view)

    def park(self, lease_id: str) -> dict[str, Any]:
        """Parked at once."""
        return self._changed("park", state="parked", park_reason="asked", place=None)

    def resume(self, lease_id: str) -> dict[str, Any]:
        """Back in the queue."""
        return self._changed("resume", state="waiting", place=1)

    def pin(self, lease_id: str, *, pinned: bool) -> dict[str, Any]:
        """Held, or not."""
        return self._changed("pin", pinned, retention="hold" if pinned else "yield")

    def activity(self, lease_id: str, token: str | None, *, busy: bool) -> dict[str, Any]:
        """Busy or not; a parked lease begins to wait."""
        if self.down:
            raise PoolUnreachable(self.down)
        back = {"state": "waiting", "place": 1} if busy and self.view["state"] == "parked" else {}
        return self._changed("activity", busy, busy=busy, **back)

    def libraries(
        self, lease_id: str, token: str | None, memory_bytes: int | None, needs_restart: Any
    ) -> dict[str, Any]:
        """What the kernel says of its libraries."""
        if self.down:
            raise PoolUnreachable(self.down)
        applied = "needs_restart" if needs_restart else "applied"
        return self._changed("libraries", memory_bytes, tuple(needs_restart), size_applied=applied)

    def move(self, lease_id: str) -> dict[str, Any]:
        """Accepted, or on its way."""
        return self._changed("move", move="accepted")

    def _changed(self, *call: Any, **changes: Any) -> dict[str, Any]:
        self.calls.append(call)
        self.view = {**self.view, **changes, "version": self.view["version"] + 1}
        return dict(self.view)

    def release(self, lease_id: str, token: str | None = None) -> dict[str, Any]:
        """End it."""
        self.calls.append(("release", lease_id, token))
        self.view = {**self.view, "state": "ended", "end_reason": "released", "version": self.view["version"] + 1}
        return dict(self.view)

    def bind(self, lease_id: str, token: str, pid: int | None = None) -> dict[str, Any]:
        """Record the holder."""
        self.calls.append(("bind", lease_id, token, pid))
        return dict(self.view)

    def events(self, lease_id: str | None = None) -> FakeStream:
        """The one stream."""
        self.calls.append(("events", lease_id))
        return self.stream
