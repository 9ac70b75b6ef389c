"""The connection between a Jupyter server and a standby kernel: JSON objects, one a line, over a pair of sockets.

    kernel  {"preload": "torch"}                        it begins to import a module ahead
         or {"refused_preload": [module, reason, detail]}  a module must not be imported ahead; it ends
    kernel  {"ready": {"pid": ..., ...}}                it is prepared; what it has seen at its start
    server  {"hand_over": {"folder": ..., "placeholder": ..., "connection_file": ...}}
    kernel  {"accepted": true}                          it begins to be that kernel, as far as that needs no lease
         or {"refused": {"reason": ..., "what": ...}}   a cold start would differ; it ends
    kernel  {"bound": true}                             clients can connect; before or after the next message
    server  {"go": {"NAME": "value", ...}}              the environment, with the variables of the lease

The end of the connection before ``go`` ends the kernel: the server has ended, or has given it up.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

#: A longer message, such as an environment of unusual size, is not sent.
MESSAGE_BYTES_MAX = 2**20


class Link:
    """One end of the connection; for one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor, for a poll."""
        return self._connection.fileno()

    def has_message(self) -> bool:
        """Return whether :meth:`receive` would return, or fail, at once."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return b"\n" in self._received or bool(poll.poll(0))

    def send(self, message: dict[str, Any], within_s: float | None = None) -> None:
        """Send one message. Raises :class:`ValueError` if it is too long, :class:`OSError` if it cannot be sent."""
        line = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        if len(line) > MESSAGE_BYTES_MAX:
            raise ValueError(f"a message of {len(line)} bytes")
        self._connection.settimeout(within_s)
        self._connection.sendall(line)

    def receive(self, within_s: float | None = None) -> dict[str, Any]:
        """Return the next message.

        Raises :class:`TimeoutError` after ``within_s``, :class:`EOFError` at the end of the connection, another
        :class:`OSError` where it fails, and :class:`ValueError` for what is not a message.
        """
        deadline = None if within_s is None else time.monotonic() + within_s
        while b"\n" not in self._received:
            if len(self._received) > MESSAGE_BYTES_MAX:
                raise ValueError("no end of the message")
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            part = self._connection.recv(2**16)
            if not part:
                raise EOFError
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("a message is a JSON object")  # noqa: TRY004 (the value, not the argument, is wrong)
        return message

    def close(self) -> None:
        """Close this end of the connection."""
        self._connection.close()
