"""Keeps what the kernel sends while no server is there, and sends it when the next server asks for it.

``Session.send`` is where all messages of a kernel pass, but for those of processes that it has forked. It is replaced
while output is kept, and left alone otherwise.
Kept are the messages that belong to a request which a browser had sent before: its output, its reply, and its request
for input, which the cell then makes later. A request that arrives while output is kept is of a client that is
connected, such as ``jupyter console --existing``, and answered at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ..compat.ipykernel import is_iopub, message_id_of, message_of
from ..messages import say
from .kept_output import OUTPUTS, Gap, KeptMessage, KeptOutput, Stream

#: Requests with output.
_KEPT_PARENTS = frozenset({"execute_request", "comm_open", "comm_msg", "comm_close"})
#: A request that arrives so soon after the server's end was sent before it.
SENT_BEFORE_S = 1.0
REQUESTS_MAX = 4096
#: Jupyter's servers drop output beyond 1,000 messages or 1 MB a second, on average over 3 seconds.
BYTES_PER_S, MESSAGES_PER_S = 500_000, 300
BURST_S = 2.0


class OutputBuffer:
    """The kept output of ``kernel``. Safe to use from several threads."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._session = kernel.session
        self._send: Any = kernel.session.send
        self._send_frames: Any = kernel.iopub_thread.send_multipart
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._kept = KeptOutput()
        self._live: OrderedDict[str, None] = OrderedDict()
        self._began_s = 0.0
        self._delivery: threading.Thread | None = None
        self._delivers = False
        self._noted = False
        #: Set while nothing is kept.
        self.idle = threading.Event()
        self.idle.set()
        #: From when to when no server was there, on the wall clock; the second is None until one is.
        self.since_ms = 0
        self.until_ms: int | None = None

    def begin(self) -> None:
        """Keep what is sent from now on; a delivery in progress stops. Repeated while output is kept: no effect."""
        with self._lock:
            if self.idle.is_set() or self.until_ms is not None:
                self.since_ms, self.until_ms, self._noted = time.time_ns() // 10**6, None, False
                self._began_s = time.monotonic()
            self._delivers = False
            if self.idle.is_set():
                self.idle.clear()
                self._session.send = self._keep_or_send
                self._kernel.iopub_thread.send_multipart = self._keep_or_send_frames
                self._kernel.output_buffer = self

    def note_request(self, frames: list[Any]) -> None:
        """Note a message of the shell channel that arrives now; called in that channel's thread."""
        if time.monotonic() - self._began_s < SENT_BEFORE_S:
            return
        message_id = message_id_of(self._kernel, frames)
        if message_id is not None:
            with self._lock:
                self._live[message_id] = None
                while len(self._live) > REQUESTS_MAX:
                    self._live.popitem(last=False)

    def counts(self) -> dict[str, int]:
        """Return how many messages and bytes are kept, and how many messages were dropped."""
        with self._lock:
            return {"messages": len(self._kept), "bytes": self._kept.bytes, "dropped": self._kept.dropped}

    def deliver(self) -> int:
        """Begin to send what is kept, in the background; return how many messages that are."""
        with self._lock:
            if self.idle.is_set():
                return 0
            if not self._delivers:
                self._delivers = True
                self.until_ms = self.until_ms or time.time_ns() // 10**6
                self._delivery = threading.Thread(target=self._deliver, name="fastgpu-delivery", daemon=True)
                self._delivery.start()
            return len(self._kept)

    # ---- keeping -------------------------------------------------------------------------------------------------

    def _keep_or_send(  # noqa: PLR0917 (as in Session.send)
        self,
        stream: Any,
        msg_or_type: Any,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        """Do in place of ``Session.send`` what the module's docstring says."""
        if os.getpid() != self._pid:
            return self._send(stream, msg_or_type, content, parent, ident, buffers, track, header, metadata)
        message = msg_or_type
        if message is None or isinstance(message, str):
            message = self._session.msg(msg_or_type, content, parent, header, metadata)
        if stream is self._kernel.stdin_socket and self._is_kept(message):
            self.idle.wait()  # Stop ends it, like the wait for the input
        with self._lock:
            to = None if self.idle.is_set() else self._channel(stream, message)
            if to is None:
                return self._send(stream, message, ident=ident, buffers=buffers, track=track)
            self._kept.add(self._entry(to, message, ident, buffers))
        return message

    def _keep_or_send_frames(self, frames: list[bytes], *args: Any, **named: Any) -> Any:
        """Do in place of ``IOPubThread.send_multipart`` the same for messages of processes that the kernel has forked.

        They come by a pipe, which is read in that thread; other messages come from other threads.
        """
        iopub = self._kernel.iopub_thread
        if os.getpid() == self._pid and threading.current_thread() is iopub.thread:
            message = message_of(self._kernel, frames)
            with self._lock:
                if message is not None and not self.idle.is_set() and self._is_kept(message[1]):
                    self._kept.add(self._entry("iopub", message[1], message[0], message[1]["buffers"]))
                    return None
        return self._send_frames(frames, *args, **named)

    def _channel(self, stream: Any, message: Mapping[str, Any]) -> str | None:
        """Return the channel of a message that is kept, None for any other."""
        if not self._is_kept(message):
            return None
        if is_iopub(self._kernel, stream):
            return "iopub"
        return "shell" if message["header"]["msg_type"] == "execute_reply" else None

    def _is_kept(self, message: Mapping[str, Any]) -> bool:
        parent = message["parent_header"]
        if not parent:  # of a thread that belongs to no request
            return message["header"]["msg_type"] in OUTPUTS
        return parent.get("msg_type") in _KEPT_PARENTS and parent.get("msg_id") not in self._live

    def _entry(self, to: str, message: Mapping[str, Any], ident: Any, buffers: Any) -> KeptMessage:
        kind, content, parent = message["header"]["msg_type"], message["content"], message["parent_header"]
        at_ms = time.time_ns() // 10**6
        if kind == "stream" and isinstance(content.get("text"), str):
            return Stream(content.get("name", "stdout"), content["text"], parent, ident, at_ms)
        entry = KeptMessage(kind, to, parent, self._frames(message, ident, at_ms), at_ms)
        entry.frames += [memoryview(buffer).tobytes() for buffer in buffers or message.get("buffers") or ()]
        if kind == "update_display_data":
            entry.display = (content.get("transient") or {}).get("display_id")
        return entry

    def _frames(self, message: Mapping[str, Any], ident: Any, at_ms: int) -> list[bytes]:
        marked = {**message, "metadata": {**message["metadata"], "fastgpu": {"kept_at": at_ms}}}
        frames: list[bytes] = self._session.serialize(marked, ident=ident)
        return frames

    # ---- delivery ------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        began_s, spent_s = time.monotonic(), 0.0
        while True:
            with self._lock:
                if not self._delivers:
                    return  # that server has ended, too
                if not self._noted and (first := self._kept.first_output()) is not None:
                    self._noted = True
                    self._show_note(first)
                entry = self._kept.pop()
                if entry is None:
                    self._end()
                    return
                self._pass_on(entry)
            spent_s += max(entry.size / BYTES_PER_S, 1 / MESSAGES_PER_S)
            ahead_s = spent_s - BURST_S - (time.monotonic() - began_s)
            if ahead_s > 0:
                time.sleep(ahead_s)

    def _end(self) -> None:
        self._session.send = self._send
        self._kernel.iopub_thread.send_multipart = self._send_frames
        self._kernel.output_buffer = None
        self._live.clear()
        self._delivers = False
        self._kept = KeptOutput()
        self.idle.set()

    def _pass_on(self, entry: KeptMessage) -> None:
        frames = entry.frames
        if isinstance(entry, Stream):
            frames = self._stream(entry.name, entry.text, entry, entry.ident)
        elif isinstance(entry, Gap):
            text = say("kept.gap", count=entry.messages, size_bytes=entry.bytes)
            frames = self._stream("stderr", f"\n[{text}]\n", entry, self._topic("stream"))
        if entry.to == "shell":
            shell = self._kernel.shell_stream
            shell.io_loop.add_callback(shell.send_multipart, frames)
        else:
            self._send_frames(frames)

    def _stream(self, name: str, text: str, entry: KeptMessage, ident: Any) -> list[bytes]:
        message = self._session.msg("stream", {"name": name, "text": text}, parent={"header": entry.parent})
        return self._frames(message, ident, entry.at_ms)

    def _show_note(self, first: KeptMessage) -> None:
        assert self.until_ms is not None
        text = say("kept.note", since=_clock(self.since_ms), until=_clock(self.until_ms))
        content = {"data": {"text/plain": text, "text/html": _as_html(text)}, "metadata": {}, "transient": {}}
        message = self._session.msg("display_data", content, parent={"header": first.parent})
        message["metadata"] = {"fastgpu": {"kept_from": self.since_ms, "kept_until": self.until_ms}}
        self._send_frames(self._session.serialize(message, ident=self._topic("display_data")))

    def _topic(self, kind: str) -> bytes:
        from ..compat.ipykernel import iopub_topic

        return iopub_topic(self._kernel, kind)


def _clock(at_ms: int) -> str:
    """Return a time of this machine's clock, with its day unless that is today."""
    at = time.localtime(at_ms // 1000)
    today = at[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", at)


def _as_html(text: str) -> str:
    from html import escape

    return (
        '<div class="fastgpu-kept" role="note" style="border-left: 3px solid var(--jp-info-color1, #0288d1); '
        f'padding: 2px 8px">{escape(text)}</div>'
    )
