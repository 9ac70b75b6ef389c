"""Frames on the dispatcher's socket: the length in four bytes, then a JSON object.

    request   {"id": 1, "call": "submit", "arguments": {...}}
    answer    {"id": 1, "answer": ...}
    refusal   {"id": 1, "refusal": {"code": ..., "message": ..., "retry_after_s": ...}}
    push      {"event": "jobs", ...}

The first frame of a connection is the dispatcher's push ``serving`` with its interface and version. Several requests of
one connection may be under way at once; answers come as they are ready.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import FastGPUError, InvalidRequest, LimitReached, Message, ReceivedMessage
from ..wire import unixsocket

#: The number of the interface between the dispatcher, its clients and its runners.
INTERFACE = 1
FRAME_BYTES_MAX = 2**20
_LENGTH = struct.Struct("!I")
_ERRORS = errors.by_code()

Frame = dict[str, Any]


def encode(frame: Mapping[str, Any]) -> bytes:
    """Return a frame as bytes. Raises :class:`InvalidRequest` where it is longer than the limit."""
    return framed(json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def framed(body: bytes) -> bytes:
    """Return the JSON ``body`` with its length. Raises :class:`InvalidRequest` where it is longer than the limit."""
    if len(body) > FRAME_BYTES_MAX:
        raise InvalidRequest(Message.of("jobs.frame_too_long", given_bytes=len(body), limit_bytes=FRAME_BYTES_MAX))
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Frame:
    """Return a frame from its bytes. Raises :class:`ValueError` for anything but a JSON object."""
    frame = json.loads(body)
    if not isinstance(frame, dict):
        raise ValueError("a frame is a JSON object")  # noqa: TRY004 (the value, not the argument, is wrong)
    return frame


def length_of(head: bytes) -> int:
    """Return the length in the four bytes before a frame. Raises :class:`ValueError` beyond the limit."""
    (length,) = _LENGTH.unpack(head)
    if length > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return int(length)


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Return the next frame, None at the end. Raises :class:`ValueError` for what is no frame."""
    try:
        return decode(await reader.readexactly(length_of(await reader.readexactly(_LENGTH.size))))
    except asyncio.IncompleteReadError:
        return None


class FrameSocket:
    """A blocking connection to the dispatcher, for one thread at a time.

    Raises :class:`OSError` or :class:`EOFError` where the connection breaks.
    """

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        self._sock = unixsocket.connect(path, timeout_s)
        self._buffer = bytearray()
        uid = unixsocket.peer_of(self._sock).uid
        if uid != os.getuid():
            self._sock.close()
            raise errors.DispatcherUnreachable(Message.of("jobs.socket_of_another_user", path=str(path), uid=str(uid)))

    def set_timeout(self, timeout_s: float | None) -> None:
        """Let each later call take at most that long."""
        self._sock.settimeout(timeout_s)

    def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame to the dispatcher."""
        self._sock.sendall(encode(frame))

    def receive(self) -> Frame:
        """Return the next frame. Raises :class:`EOFError` at the end of the connection."""
        try:
            return decode(self._take(length_of(self._take(_LENGTH.size))))
        except ValueError as error:
            raise OSError(f"not a frame: {error}") from error

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            received = self._sock.recv(65_536)
            if not received:
                raise EOFError
            self._buffer += received
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def close(self) -> None:
        """Close the connection; a call that blocks in another thread returns at once."""
        with suppress(OSError):  # the other end was first
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def refusal_of(error: FastGPUError, view: Mapping[str, Any]) -> Frame:
    """Return the refusal for an error, whose message is rendered as ``view``."""
    refusal: Frame = {"code": error.code, "message": view}
    if isinstance(error, LimitReached):
        refusal["retry_after_s"] = error.retry_after_s
    return refusal


def error_of(refusal: Mapping[str, Any]) -> FastGPUError:
    """Return the error of a refusal: of the class that the dispatcher raised."""
    error = _ERRORS.get(str(refusal.get("code")), FastGPUError)
    try:
        raised = error(ReceivedMessage.from_view(refusal["message"]))
    except (KeyError, TypeError, AttributeError):
        raised = error("The dispatcher refused.")
    if isinstance(raised, LimitReached) and isinstance(refusal.get("retry_after_s"), int):
        raised.retry_after_s = refusal["retry_after_s"]
    return raised
