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
from .state import asked_state

if TYPE_CHECKING:
    from .gpu_widget import GPUWidget
    from .kernel_widgets import KernelWidgets

#: The kind of all messages of this protocol.
KIND = "fastgpu"
#: How many requests wait at most; a user who clicks does not reach that.
WAITING_MAX = 16
#: The longest id of a request.
ID_MAX = 64

#: What a request does with the lease and its arguments.
Action = Callable[[LeaseCommands, Mapping[str, Any]], object]


class WidgetRequests:
    """The queue of one kernel's widgets, and the thread that serves it."""

    def __init__(self, kernel_widgets: KernelWidgets) -> None:
        self._kernel_widgets = kernel_widgets
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
            error = _error(LimitReached(Message.of("widget.busy")))
            widget.send({"kind": KIND, "id": str(content.get("id"))[:ID_MAX], "error": error})
        return True

    def _run(self) -> None:
        while True:
            widget, content = self._queue.get()
            self._answer(widget, content, self._serve(content))

    def _serve(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request asks and return the fields of its answer."""
        name, args = str(content.get("action"))[:ID_MAX], content.get("args")
        try:
            action = ACTIONS.get(name)
            if action is None:
                raise InvalidRequest(Message.of("widget.unknown_action", action=name))
            action(LeaseCommands(self._kernel_widgets.gate), args if isinstance(args, dict) else {})
        except FastGPUError as error:
            return {"error": _error(error)}
        except OSError as error:
            return {"error": _error(FastGPUError(str(error)))}
        except IMPORT_ERRORS:
            return {"error": _error(FastGPUError(Message.of("magic.upgraded")))}
        return {"error": None}

    def _answer(self, widget: GPUWidget, content: Mapping[str, Any], fields: dict[str, Any]) -> None:
        """Send the answer to ``widget``, and what the lease is now to the other widgets of this kernel."""
        state = asked_state(self._kernel_widgets)
        self._kernel_widgets.refresh()
        widget.send({"kind": KIND, "id": str(content.get("id"))[:ID_MAX], **state, **fields})
        for other in self._kernel_widgets.widgets():
            if other is not widget:
                other.send({"kind": KIND, "id": None, **state})


def _error(error: FastGPUError) -> dict[str, Any]:
    return {"code": error.code, "message": view_of(error.message)}


#: What a widget's user can ask for. ``withdraw`` leaves the queue and stays parked; every answer is fresh.
ACTIONS: Mapping[str, Action] = {
    "refresh": lambda _commands, _args: None,
    "release": lambda commands, _args: commands.release(),
    "resize": lambda commands, args: commands.resize(_text(args, "size")),
    "request": lambda commands, args: commands.request(_text(args, "size")),
    "park": lambda commands, _args: commands.park(),
    "withdraw": lambda commands, _args: commands.park(),
    "resume": lambda commands, _args: commands.resume(),
    "migrate": lambda commands, _args: commands.migrate(),
    "pin": lambda commands, _args: commands.pin(pinned=True),
    "unpin": lambda commands, _args: commands.pin(pinned=False),
    "snooze": lambda commands, args: commands.snooze(_number(args, "for_ms")),
    "cpu_meanwhile": lambda commands, args: commands.cpu_meanwhile(on=args.get("on") is True),
}


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(Message.of("widget.no_size"))
    return value


def _number(args: Mapping[str, Any], name: str) -> int:
    value = args.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(Message.of("widget.no_time"))
    return value
