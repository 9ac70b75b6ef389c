"""The messages of the control channel by which a Jupyter server adopts a kernel that another one has left.

``fastgpu_server_request {server}``: the process that is the kernel's server from now on. The reply says since when
there was none, what is kept, the lease's retention, and whether a cell runs. It is refused while another server lives.
``fastgpu_deliver_request {}``: send what is kept. ``fastgpu_keep_request {}``: the server is about to end, and no
browser is connected any more.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..messages import say
from ..wire.process_identity import ProcessIdentity
from .parent_watch import ParentWatch

if TYPE_CHECKING:
    from .orphan import Orphan

#: How long the reply to a server that adopts the kernel may wait for the pool manager.
SETTLES_WITHIN_S = 2.0
#: A server that has said that it ends, and lives on after this time, gets what is kept.
ENDS_WITHIN_S = 60.0


def answer(watch: ParentWatch, name: str, stream: Any, ident: Any, parent: Any) -> None:
    """Answer a request; called in the thread of the control channel."""
    reply = _HANDLERS[name](watch, parent["content"])
    watch.kernel.session.send(stream, name.replace("_request", "_reply"), reply, parent, ident=ident)


def _adopt(watch: ParentWatch, content: dict[str, Any]) -> dict[str, Any]:
    try:
        given = content["server"]
        server = ProcessIdentity(str(given["boot_id"]), int(given["pid"]), int(given["start_time"]))
        if server.has_ended():
            return _refused("UnknownServer", say("kept.unknown_server"))
    except (KeyError, TypeError, ValueError, OSError):
        return _refused("UnknownServer", say("kept.unknown_server"))
    if server != watch.server:
        try:
            ended = watch.server.has_ended()
        except OSError:
            ended = False  # not known
        if not ended:
            return _refused("ServerAlive", say("kept.server_alive"))
        try:
            watch.adopt(server)
        except OSError:
            return _refused("UnknownServer", say("kept.unknown_server"))
    orphan = watch.orphan()
    if orphan.adopted_by != server:
        orphan.adopted_by = server
        _settle_lease(orphan)
    output = orphan.output
    return {
        "status": "ok",
        "since": None if output.idle.is_set() else output.since_ms,
        **output.counts(),
        "retention": orphan.lease.retention,
        "busy": watch.kernel.cells_running > 0,
    }


def _settle_lease(orphan: Orphan) -> None:
    """Make this process the holder of its lease, or request another one, before the server lets browsers in.

    The last server may have held the lease itself, as in the middle of a start or restart, and have ended before this
    process could notice it. What takes longer goes on in the thread that watches the server.
    """
    orphan.lease.adopted()
    settling = threading.Thread(target=orphan.step, name="fastgpu-settling", daemon=True)
    settling.start()
    settling.join(SETTLES_WITHIN_S)


def _keep(watch: ParentWatch, _content: dict[str, Any]) -> dict[str, Any]:
    output = watch.orphan().output
    output.begin()

    def lives_on() -> None:
        if not watch.is_orphaned:
            output.deliver()

    timer = threading.Timer(ENDS_WITHIN_S, lives_on)
    timer.daemon = True
    timer.start()
    return {"status": "ok"}


def _deliver(watch: ParentWatch, _content: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "messages": watch.orphan().output.deliver()}


def _refused(name: str, sentence: str) -> dict[str, Any]:
    return {"status": "error", "ename": name, "evalue": sentence, "traceback": []}


_HANDLERS = {
    "fastgpu_server_request": _adopt,
    "fastgpu_keep_request": _keep,
    "fastgpu_deliver_request": _deliver,
}
