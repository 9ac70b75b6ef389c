"""The unix socket on the node by which a kernel reaches the pool manager: its connections go through the agent's.

Bytes are passed on as they are. Each side may send :data:`RELAY_WINDOW_BYTES` of a connection before the other one has
acknowledged them, so that a reader that does not read holds up its own connection only.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

RELAY_CONNECTIONS_MAX = 32
RELAY_WINDOW_BYTES = 2**18
RELAY_PIECE_BYTES = 2**15


class RelayedConnection:
    """A connection of a process on the node."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.credit = RELAY_WINDOW_BYTES  #: so much may be sent to the pool manager
        self.unsent = bytearray()  #: for the process
        self.unacknowledged = 0
        self.ended = False  #: the pool manager sends nothing more


class Relay:
    """The socket at ``path``, mode 0600, and its connections. ``send`` sends a message, or returns False."""

    def __init__(self, path: str, send: Callable[[dict[str, Any], bytes], bool]) -> None:
        self.path = path
        self._send = send
        self._next = 0
        self._connections: dict[int, RelayedConnection] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
        try:
            # By the folder's descriptor: an address has 107 bytes at most, which a temporary folder easily exceeds.
            self._listener.bind(f"/proc/self/fd/{folder}/{Path(path).name}")
        finally:
            os.close(folder)
        Path(path).chmod(0o600)
        self._listener.listen(RELAY_CONNECTIONS_MAX)
        self._listener.settimeout(0)

    def wanted(self) -> list[tuple[int, bool, bool]]:
        """Return what to wait for: descriptors, whether to read, and whether to write."""
        found = [(self._listener.fileno(), True, False)]
        return found + [
            (each.sock.fileno(), each.credit > 0 and not each.ended, bool(each.unsent))
            for each in self._connections.values()
        ]

    def step(self) -> None:
        """Accept and pass on what there is."""
        with contextlib.suppress(OSError):
            while True:
                self._accept(self._listener.accept()[0])
        for number in list(self._connections):
            self._flush(number)
            self._read(number)

    def on_message(self, operation: str, message: dict[str, Any], payload: bytes) -> None:
        """Take a message of the pool manager about a connection."""
        number = message.get("c")
        connection = self._connections.get(number) if isinstance(number, int) else None
        if connection is None or not isinstance(number, int):
            return
        if operation == "data":
            connection.unsent += payload
            if len(connection.unsent) > RELAY_WINDOW_BYTES:
                self._close(number)
            else:
                self._flush(number)
        elif operation == "ack":
            connection.credit = min(connection.credit + int(message.get("n", 0)), RELAY_WINDOW_BYTES)
        elif operation == "close":
            connection.ended = True
            self._flush(number)

    def close_connections(self) -> None:
        """Close every connection, because that to the pool manager was lost."""
        for number in list(self._connections):
            self._close(number, say=False)

    def close(self) -> None:
        """Close the socket and every connection."""
        self.close_connections()
        self._listener.close()

    def _accept(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._next += 1
        if len(self._connections) >= RELAY_CONNECTIONS_MAX or not self._send({"op": "open", "c": self._next}, b""):
            sock.close()  # as where no pool manager serves
            return
        self._connections[self._next] = RelayedConnection(sock)

    def _read(self, number: int) -> None:
        connection = self._connections.get(number)
        while connection is not None and connection.credit > 0 and not connection.ended:
            try:
                piece = connection.sock.recv(min(RELAY_PIECE_BYTES, connection.credit))
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece or not self._send({"op": "data", "c": number}, piece):
                self._close(number)
                return
            connection.credit -= len(piece)

    def _flush(self, number: int) -> None:
        connection = self._connections.get(number)
        if connection is None:
            return
        while connection.unsent:
            try:
                sent = connection.sock.send(connection.unsent)
            except BlockingIOError:
                break
            except OSError:
                self._close(number)
                return
            del connection.unsent[:sent]
            connection.unacknowledged += sent
        if connection.unacknowledged and (not connection.unsent or connection.unacknowledged >= RELAY_PIECE_BYTES):
            self._send({"op": "ack", "c": number, "n": connection.unacknowledged}, b"")
            connection.unacknowledged = 0
        if connection.ended and not connection.unsent:
            self._close(number, say=False)

    def _close(self, number: int, say: bool = True) -> None:
        connection = self._connections.pop(number)
        connection.sock.close()
        if say:
            self._send({"op": "close", "c": number}, b"")
