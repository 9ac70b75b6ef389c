"""The requests that a widget's user makes where its module has no page to ask: one message each, and one answer.

They are served in a thread of their own. A front end that sends comm messages to the main shell sends them behind the
running cell, so the kernel takes them out of that queue (``FastGPUKernel.shell_channel_thread_main``).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import FastGPUError, InvalidRequest, LimitReached, Message
from ...messages import view_of
from ..lease_client import IMPORT_ERRORS
from ..lease_commands import LeaseCommands

if TYPE_CHECKING:
    from .gpu_widget import GPUWidget
    from .hub import WidgetHub

#: The kind of all messages of this protocol.
KIND = "fastgpu"
#: How many requests wait at most; a user who clicks does not reach that.
WAITING_MAX = 16
#: The longest id of a request.
ID_MAX = 64

#: What a request does; returns what its answer has beside the lease.
Action = Callable[["WidgetHub", Mapping[str, Any]], dict[str, Any]]


class WidgetRequests:
    """The queue of one kernel's widgets, and the thread that serves it."""

    def __init__(self, hub: WidgetHub) -> None:
        self._hub = hub
        self._queue: queue.Queue[tuple[GPUWidget, dict[str, Any]]] = queue.Queue(WAITING_MAX)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, widget: GPUWidget, content: Any) -> bool:
        """Serve a message of ``widget`` soon; return whether it is one of this protocol."""
        if not isinstance(content, dict) or content.get("kind") != KIND:
            return False
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fastgpu-widget-requests", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait((widget, content))
        except queue.Full:
            self._answer(widget, content, {"error": _error(LimitReached(Message.of("widget.busy")))})
        return True

    def _run(self) -> None:
        while True:
            widget, content = self._queue.get()
            self._answer(widget, content, self._serve(content))

    def _serve(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request asks and return the fields of its answer."""
        try:
            action = ACTIONS.get(str(content.get("action")))
            if action is None:
                raise InvalidRequest(Message.of("widget.unknown_action", action=str(content.get("action"))[:ID_MAX]))
            args = content.get("args")
            return {"error": None, **action(self._hub, args if isinstance(args, dict) else {})}
        except FastGPUError as error:
            return {"error": _error(error)}
        except OSError as error:
            return {"error": _error(FastGPUError(str(error)))}
        except IMPORT_ERRORS:
            return {"error": _error(FastGPUError(Message.of("magic.upgraded")))}

    def _answer(self, widget: GPUWidget, content: Mapping[str, Any], fields: dict[str, Any]) -> None:
        """Send the answer to ``widget``, and what the lease is now to the other widgets of this kernel."""
        self._hub.refresh()
        state = live_state(self._hub)
        widget.send({"kind": KIND, "id": str(content.get("id"))[:ID_MAX], **state, **fields})
        for other in self._hub.widgets():
            if other is not widget:
                other.send({"kind": KIND, "id": None, **state})


def live_state(hub: WidgetHub) -> dict[str, Any]:
    """Return what every message to a widget has: the lease as it is known, and why it may not be current."""
    view = hub.gate.view
    return {
        "lease": view and {**view, "environment": {}, "hidden_environment": {}},
        "problem": hub.gate.pool_error,
    }


def _error(error: FastGPUError) -> dict[str, Any]:
    return {"code": error.code, "message": view_of(error.message)}


def _refresh(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    hub.gate.refresh()
    return {"pool": hub.gate.pool.connect().pool()}


def _release(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).release()
    return {}


def _resize(hub: WidgetHub, args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).resize(_text(args, "size"))
    return {}


def _request(hub: WidgetHub, args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).request(_text(args, "size"))
    return {}


def _park(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).park()
    return {}


def _resume(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).resume()
    return {}


def _migrate(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).migrate()
    return {}


def _pin(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).pin(pinned=True)
    return {}


def _unpin(hub: WidgetHub, _args: Mapping[str, Any]) -> dict[str, Any]:
    LeaseCommands(hub.gate).pin(pinned=False)
    return {}


#: What a widget's user can ask for. ``withdraw`` leaves the queue and stays parked.
ACTIONS: Mapping[str, Action] = {
    "refresh": _refresh,
    "release": _release,
    "resize": _resize,
    "request": _request,
    "park": _park,
    "withdraw": _park,
    "resume": _resume,
    "migrate": _migrate,
    "pin": _pin,
    "unpin": _unpin,
}


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(Message.of("widget.no_size"))
    return value
