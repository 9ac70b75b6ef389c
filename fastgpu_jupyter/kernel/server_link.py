"""The messages of the control channel by which a Jupyter server adopts a kernel that another one has left.

``fastgpu_server_request {server}``: the process that is the kernel's server from now on. The reply says since when
there was none, what is kept, the lease's retention, and whether a cell runs. It is refused while another server lives.
``fastgpu_deliver_request {}``: send what is kept. ``fastgpu_keep_request {}``: the server is about to end, and no
browser is connected any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..messages import say

if TYPE_CHECKING:
    from .output_buffer import OutputBuffer

#: A server that has said that it ends, and lives on after this time, gets what is kept.
ENDS_WITHIN_S = 60.0


#: Why a server is refused -> the sentence.
_REFUSALS: Mapping[str, Callable[[], str]] = {
    "UnknownServer": lambda: say("kept.unknown_server"),
    "ServerAlive": lambda: say("kept.server_alive"),
}


class ServerWatch(Protocol):
    """What knows whether the kernel has a server."""

    @property
    def kernel(self) -> Any:
        """Return the kernel of this process."""

    @property
    def output(self) -> OutputBuffer:
        """Return what keeps the output while there is no server."""

    @property
    def retention(self) -> str | None:
        """Return the retention that the lease has with a server; None where it has none, or it is not known."""

    @property
    def is_orphaned(self) -> bool:
        """Whether the server has ended; False where that is not known."""

    def accept(self, content: Mapping[str, Any]) -> str | None:
        """Have the server that a request names from now on; return the name of the reason where it is refused."""


def answer_requests(watch: ServerWatch) -> None:
    """Let the kernel answer the requests of this module."""

    def handler(name: str) -> Callable[..., None]:
        return lambda stream, ident, parent: answer(watch, name, stream, ident, parent)

    for name in _HANDLERS:
        watch.kernel.control_handlers[name] = handler(name)


def answer(watch: ServerWatch, name: str, stream: Any, ident: Any, parent: Any) -> None:
    """Answer a request; called in the thread of the control channel."""
    reply = _HANDLERS[name](watch, parent["content"])
    watch.kernel.session.send(stream, name.replace("_request", "_reply"), reply, parent, ident=ident)


def _adopt(watch: ServerWatch, content: dict[str, Any]) -> dict[str, Any]:
    refusal = watch.accept(content)
    if refusal is not None:
        sentence = _REFUSALS[refusal]()
        return {"status": "error", "ename": refusal, "evalue": sentence, "traceback": []}
    output = watch.output
    return {
        "status": "ok",
        "since": None if output.idle.is_set() else output.since_ms,
        **output.counts(),
        "retention": watch.retention,
        "busy": watch.kernel.cells_running > 0,
    }


def _keep(watch: ServerWatch, _content: dict[str, Any]) -> dict[str, Any]:
    output = watch.output
    output.begin()

    def lives_on() -> None:
        if not watch.is_orphaned:
            output.deliver()

    timer = threading.Timer(ENDS_WITHIN_S, lives_on)
    timer.daemon = True
    timer.start()
    return {"status": "ok"}


def _deliver(watch: ServerWatch, _content: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "messages": watch.output.deliver()}


_HANDLERS = {
    "fastgpu_server_request": _adopt,
    "fastgpu_keep_request": _keep,
    "fastgpu_deliver_request": _deliver,
}
