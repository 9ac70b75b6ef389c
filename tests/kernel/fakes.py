"""A pool of one lease that a test drives by hand."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastgpu_jupyter.errors import Message, NotFound, PoolUnreachable
from fastgpu_jupyter.messages import render
from tests.waiting import DEADLINE_S

#: Short name of a field in these tests -> its group and its name there.
FIELDS = {
    "kernel_id": ("holder", "kernel_id"), "notebook": ("holder", "notebook"), "job": ("holder", "job"),
    "pid": ("holder", "pid"),
    "size": ("request", "size"), "size_applied": ("size", "applied"), "size_message": ("size", "message"),
    "limit_bytes": ("memory", "limit_bytes"), "used_bytes": ("memory", "used_bytes"),
    "utilization_percent": ("usage", "utilization_percent"), "active_ms": ("usage", "active_ms"),
    "busy": ("usage", "busy"), "last_used_at": ("usage", "last_used_at"),
    "cost_micro": ("money", "cost_micro"), "cost_at": ("money", "cost_at"), "covered_milli": ("money", "covered_milli"),
    "rate_micro_per_hour": ("money", "rate_micro_per_hour"),
    "billed_micro_per_hour": ("money", "billed_micro_per_hour"), "budget_message": ("money", "message"),
    "memory_limit": ("enforcement", "memory_limit"), "limit_message": ("enforcement", "message"),
    "retention": ("parking", "retention"), "parkable": ("parking", "parkable"), "park_reason": ("parking", "reason"),
    "parked_bytes": ("parking", "parked_bytes"), "migration": ("health", "migration"),
    "fault_message": ("health", "message"), "missing_since": ("health", "missing_since"),
    "requested_at": ("times", "requested_at"),
}  # fmt: skip


def message(code: str, text: str) -> dict[str, Any]:
    """Return a message of the pool manager."""
    return {"code": code, "params": {}, "text": text}


def coded(code: str) -> dict[str, Any]:
    """Return the message of a code without parameters, with the sentence that the pool manager gives it."""
    return message(code, render(Message(code)))


def queue_group(position: int, detail: str = "every GPU is in use.") -> dict[str, Any]:
    """Return the group ``queue`` of a waiting lease."""
    return {
        "position": position,
        "reason": message("pending.capacity", detail),
        "holder": None,
        "estimate_ms": None,
        "estimate_basis": message("estimate.none", "no estimate"),
    }


def changed(view: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a lease with ``changes``, by the names in :data:`FIELDS`, by group or by top-level field.

    A text is enough for a field that holds a message. ``position`` is that in the queue.
    """
    new = {**view}
    for name, value in changes.items():
        if name == "position":
            new["queue"] = None if value is None else queue_group(value)
        elif name == "end_reason":
            new["end_reason"] = value and coded(f"end.{value}")
        elif name not in FIELDS:
            new[name] = value
        else:
            group, field = FIELDS[name]
            new[group] = {**new[group], field: _field_value(group, field, value)}
    return new


def _field_value(group: str, field: str, value: Any) -> Any:
    if isinstance(value, str) and field == "reason":
        return coded(f"park.{value}")
    if isinstance(value, str) and field == "message":
        return message(f"{group}.message", value)
    return value


def lease_view(**changes: Any) -> dict[str, Any]:
    """Return a waiting lease with ``changes``; see :func:`changed`."""
    view: dict[str, Any] = {
        "id": "lease-1", "version": 1, "state": "waiting", "tenant": {"key": "ada", "name": "ada"}, "end_reason": None,
        "notes": [], "environment": {}, "hidden_environment": {"CUDA_VISIBLE_DEVICES": ""},
        "holder": {"kernel_id": "kernel-1", "notebook": "a.ipynb", "job": None, "pid": 1, "orphaned_at": None},
        "request": {
            "size": "full", "isolation": "none", "priority": "normal", "cpu_milli": 0, "host_memory_bytes": 0
        },
        "size": {"requested": None, "applied": None, "message": None},
        "gpu": None,
        "memory": {"limit_bytes": None, "used_bytes": None},
        "usage": {"utilization_percent": None, "active_ms": 0, "busy": False, "last_used_at": 0},
        "money": {
            "currency": "USD", "rate_micro_per_hour": None, "billed_micro_per_hour": 0, "covered_milli": 0,
            "cost_micro": 0, "cost_at": 0, "budget_micro": None, "budget_percent": None, "message": None,
        },
        "queue": queue_group(1),
        "cpu_meanwhile": False,
        "enforcement": {"memory_limit": None, "scope": None, "message": None},
        "device_access": {"nodes": [], "restricted": False, "message": None},
        "parking": {"retention": "yield", "parkable": False, "obstacle": None, "reason": None, "parked_bytes": 0},
        "scrub": None,
        "health": {"migration": None, "message": None, "missing_since": None},
        "idle": {
            "cells_idle_since": None, "gpu_idle_since": None, "next": None, "steps": [], "taken": None,
            "snoozed_until": None, "message": None,
        },
        "cluster": None,
        "times": {"requested_at": 0, "granted_at": None, "ended_at": None},
    }  # fmt: skip
    return changed(view, **changes)


def logical_gpu(**changes: Any) -> dict[str, Any]:
    """Return a whole GPU with ``changes``."""
    gpu = {
        "device_ids": ["GPU-1"], "model": "A100-80GB", "simulated": False, "mechanism": "exclusive",
        "mechanism_reason": None, "partition": None,
    }  # fmt: skip
    return {**gpu, **changes}


def active_view(**changes: Any) -> dict[str, Any]:
    """Return a granted lease with ``changes``; see :func:`changed`."""
    granted: dict[str, Any] = {
        "version": 2, "state": "active", "gpu": logical_gpu(), "limit_bytes": 80 * 2**30, "used_bytes": 20 * 2**30,
        "utilization_percent": 50, "memory_limit": "hardware", "environment": {"CUDA_VISIBLE_DEVICES": "GPU-1"},
        "position": None, "active_ms": 65_000, "rate_micro_per_hour": 2_500_000, "billed_micro_per_hour": 2_500_000,
        "cost_micro": 45_000, "parkable": True,
    }  # fmt: skip
    return lease_view(**{**granted, **changes})


class FakeStream:
    """Messages that the test puts in; ``None`` breaks the stream."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            message = self.messages.get(timeout=DEADLINE_S)
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
        self.cells: list[tuple[int | None, dict[str, int] | None]] = []
        reason = message("advice.no_history", "Nothing was measured of this notebook yet.")
        self.advised: dict[str, Any] = {"advice": None, "reason": reason, "silenced": False}
        self.calls: list[tuple[Any, ...]] = []
        self.stream = FakeStream()
        self.down: str | None = None
        self.pool_id = "a-pool"
        self.path = Path("/run/pool.sock")

    def connect(self) -> Any:
        """What the gate calls to reach the pool."""
        if self.down:
            raise PoolUnreachable(self.down)
        return self

    def pool(self) -> dict[str, Any]:
        """The pool manager."""
        return {"id": self.pool_id}

    def lease(self, lease_id: str, *, token: str | None = None) -> dict[str, Any]:
        """The lease."""
        if lease_id != self.view["id"]:
            raise NotFound(f"There is no lease {lease_id}.")
        return dict(self.view)

    def request(
        self,
        size: Any,
        memory_bytes: Any,
        kernel_id: Any,
        notebook: Any,
        *,
        token: str,
        key: str | None = None,
        options: Any = None,
    ) -> dict[str, Any]:
        """The next lease, waiting."""
        self.calls.append(("request", size, memory_bytes, kernel_id, notebook, *([options] if options else [])))
        self.view = lease_view(id="lease-2", version=0, size=size or str(memory_bytes))
        return dict(self.view)

    def resize(self, lease_id: str, size: str) -> dict[str, Any]:
        """Another size of the same lease."""
        self.calls.append(("resize", lease_id, size))
        self.view = changed(self.view, size=size, version=self.view["version"] + 1)
        return dict(self.view)

    def park(self, lease_id: str) -> dict[str, Any]:
        """Parked at once."""
        return self._changed("park", state="parked", park_reason="requested", position=None)

    def resume(self, lease_id: str) -> dict[str, Any]:
        """Back in the queue."""
        return self._changed("resume", state="waiting", position=1)

    def pin(self, lease_id: str, *, pinned: bool) -> dict[str, Any]:
        """Held, or not."""
        return self._changed("pin", pinned, retention="hold" if pinned else "yield")

    def advice(self, lease_id: str) -> dict[str, Any]:
        """Whatever the test has put there."""
        self.calls.append(("advice",))
        return self.advised

    def silence_advice(self, lease_id: str, *, silenced: bool) -> dict[str, Any]:
        """Silenced, or not."""
        self.calls.append(("silence", silenced))
        return self.advised

    def snooze(self, lease_id: str, for_ms: int) -> dict[str, Any]:
        """Snoozed from now on."""
        view = self._changed("snooze", for_ms)
        view["idle"] = {**view["idle"], "snoozed_until": time.time_ns() // 1_000_000 + for_ms}
        return view

    def activity(
        self,
        lease_id: str,
        token: str | None,
        *,
        busy: bool,
        cells: int | None = None,
        frameworks: dict[str, int] | None = None,
    ) -> dict[str, Any]:
        """Busy or not; a parked lease begins to wait."""
        self.cells.append((cells, frameworks))
        if self.down:
            raise PoolUnreachable(self.down)
        back = {"state": "waiting", "position": 1} if busy and self.view["state"] == "parked" else {}
        return self._changed("activity", busy, busy=busy, **back)

    def libraries(
        self, lease_id: str, token: str | None, memory_bytes: int | None, needs_restart: Any
    ) -> dict[str, Any]:
        """What the kernel says of its libraries."""
        if self.down:
            raise PoolUnreachable(self.down)
        applied = "needs_restart" if needs_restart else "applied"
        return self._changed("libraries", memory_bytes, tuple(needs_restart), size_applied=applied)

    def migrate(self, lease_id: str) -> dict[str, Any]:
        """Accepted, or on its way."""
        return self._changed("migrate", migration="accepted")

    def _changed(self, *call: Any, **changes: Any) -> dict[str, Any]:
        self.calls.append(call)
        self.view = changed(self.view, **changes, version=self.view["version"] + 1)
        return dict(self.view)

    def release(self, lease_id: str, token: str | None = None) -> dict[str, Any]:
        """End it."""
        self.calls.append(("release", lease_id, token))
        self.view = changed(self.view, state="ended", end_reason="released", version=self.view["version"] + 1)
        return dict(self.view)

    def bind(self, lease_id: str, token: str, pid: int | None = None) -> dict[str, Any]:
        """Record the holder."""
        self.calls.append(("bind", lease_id, token, pid))
        return dict(self.view)

    def events(self, lease_id: str | None = None, *, token: str | None = None) -> FakeStream:
        """The one stream."""
        self.calls.append(("events", lease_id))
        return self.stream
