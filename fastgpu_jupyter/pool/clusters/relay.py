"""The pool manager's end of what its agents relay: a connection to its own HTTP server for each on a node.

A relayed connection is not one of the pool manager's user: what it may do is for the server to decide, which knows by
``connect`` for which job it is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .agent.relay import RELAY_CONNECTIONS_MAX, RELAY_PIECE_BYTES, RELAY_WINDOW_BYTES
from .agent_messages import RelayMessage

#: Return a connection to the HTTP server for a process of the job with that name; None where it serves none.
ConnectRelayed = Callable[[str], socket.socket | None]
#: Send a message about a connection to the agent; return False where that is not possible.
SendRelayed = Callable[[RelayMessage, bytes], bool]


@dataclass(slots=True)
class _Connection:
    number: int
    sock: socket.socket
    send: SendRelayed
    credit: int = RELAY_WINDOW_BYTES  #: so much may be sent to the agent
    has_credit: asyncio.Event = field(default_factory=asyncio.Event)
    unsent: bytearray = field(default_factory=bytearray)  #: for the server
    has_unsent: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class AgentRelay:
    """The relayed connections of one connection of an agent."""

    def __init__(self, name: str, connect: ConnectRelayed, send: SendRelayed) -> None:
        self._name, self._connect, self._send = name, connect, send
        self._connections: dict[int, _Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def on_message(self, message: RelayMessage, payload: bytes) -> None:
        """Take a message of the agent. What breaks the limits of a connection ends it."""
        number = message.c
        if message.op == "open":
            self._open(number)
            return
        connection = self._connections.get(number)
        if connection is None:
            return
        if message.op == "data":
            connection.unsent += payload
            connection.has_unsent.set()
            if len(connection.unsent) > RELAY_WINDOW_BYTES:
                self._end(connection)
        elif message.op == "ack":
            connection.credit = min(connection.credit + message.n, RELAY_WINDOW_BYTES)
            connection.has_credit.set()
        else:
            self._end(connection, say=False)

    def close(self) -> None:
        """End every connection, because the agent's connection is gone."""
        for connection in list(self._connections.values()):
            self._end(connection, say=False)

    def _open(self, number: int) -> None:
        if number in self._connections or len(self._connections) >= RELAY_CONNECTIONS_MAX:
            self._send(RelayMessage("close", number), b"")
            return
        sock = self._connect(self._name)
        if sock is None:
            self._send(RelayMessage("close", number), b"")
            return
        sock.settimeout(0)
        connection = self._connections[number] = _Connection(number, sock, self._send)
        connection.task = asyncio.create_task(self._serve(connection))
        # Not before the task has ended: until then the loop waits for the descriptor.
        connection.task.add_done_callback(lambda _: sock.close())

    async def _serve(self, connection: _Connection) -> None:
        """Pass bytes on in both directions until one side ends the connection."""
        directions = [asyncio.ensure_future(each(connection)) for each in (self._to_agent, self._to_server)]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in directions:
                each.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
        self._end(connection)

    async def _to_agent(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                while connection.credit <= 0:
                    connection.has_credit.clear()
                    await connection.has_credit.wait()
                piece = await loop.sock_recv(connection.sock, min(RELAY_PIECE_BYTES, connection.credit))
                if not piece or not self._send(RelayMessage("data", connection.number), piece):
                    break
                connection.credit -= len(piece)

    async def _to_server(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                while not connection.unsent:
                    connection.has_unsent.clear()
                    await connection.has_unsent.wait()
                piece = bytes(connection.unsent[:RELAY_PIECE_BYTES])
                await loop.sock_sendall(connection.sock, piece)
                del connection.unsent[: len(piece)]
                self._send(RelayMessage("ack", connection.number, len(piece)), b"")

    def _end(self, connection: _Connection, *, say: bool = True) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        if connection.task is not None and connection.task is not asyncio.current_task():
            connection.task.cancel()
        if say:
            self._send(RelayMessage("close", connection.number), b"")
