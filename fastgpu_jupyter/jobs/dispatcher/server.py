"""The dispatcher's socket: connections of clients and runners of the same user."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ... import __version__
from ...errors import FastGPUError, InternalError, LimitReached, Message
from ...messages import view_of
from ...wire.unixsocket import Peer, peer_of
from ..frames import INTERFACE, Frame, encode, framed, read_frame, refusal_of
from .calls import JobCalls
from .publisher import Publisher

log = logging.getLogger("fastgpu.jobs")
CONNECTIONS_MAX = 512
#: Requests of one connection that are under way at once.
UNDER_WAY_MAX = 64
#: How long connections may take to send what they have.
CLOSE_S = 1.0


class Connection:
    """One client or runner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server, peer: Peer) -> None:
        self._reader, self._writer, self._server, self._peer = reader, writer, server, peer
        self._under_way: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer requests until the other end closes the connection, or says what is no request."""
        self.push({"event": "serving", "interface": INTERFACE, "version": __version__, "pid": os.getpid()})
        try:
            while (frame := await read_frame(self._reader)) is not None:
                self._server.used()
                if len(self._under_way) >= UNDER_WAY_MAX:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(self._answer(frame))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                await self._writer.drain()
        except (ValueError, OSError) as error:
            log.warning("A connection was closed: %s", error)
        finally:
            for task in self._under_way:
                task.cancel()
            self._server.ended(self)
            self.close()

    async def _answer(self, frame: Frame) -> None:
        number = frame.get("id")
        try:
            answer = await self._server.calls.call(str(frame.get("call")), frame.get("arguments", {}), self)
            data = framed(msgspec.json.encode({"id": number, "answer": answer}))
        except FastGPUError as error:
            data = encode({"id": number, "refusal": refusal_of(error, view_of(error.message))})
        except Exception:
            log.exception("A call failed")
            bug = InternalError(Message.of("jobs.bug"))
            data = encode({"id": number, "refusal": refusal_of(bug, view_of(bug.message))})
        self.write(data)

    @property
    def peer_pid(self) -> int:
        """The process at the other end, as the system recorded it."""
        return self._peer.pid

    def push(self, frame: Mapping[str, Any]) -> None:
        """Send a frame that no request asked for."""
        self.write(framed(msgspec.json.encode(frame)))

    def write(self, data: bytes) -> None:
        """Send bytes; harmless after the end of the connection."""
        if not self._writer.is_closing():
            self._writer.write(data)

    def unread_bytes(self) -> int:
        """Return how much the other end has not read yet."""
        return self._writer.transport.get_write_buffer_size()

    def follow(self, executor: str | None) -> None:
        """Send the jobs, and each change from then on."""
        self._server.publisher.add(self, executor)

    def close(self) -> None:
        """Close the connection; what was not read may be lost."""
        self._writer.close()


class Server:
    """The connections, and when the last request was."""

    def __init__(self, calls: JobCalls, publisher: Publisher, disconnected: Callable[[Connection], None]) -> None:
        self.calls, self.publisher, self._disconnected = calls, publisher, disconnected
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self.used_at_s = asyncio.get_running_loop().time()

    def used(self) -> None:
        """Note the time of a request."""
        self.used_at_s = asyncio.get_running_loop().time()

    async def start(self, sock: socket.socket) -> None:
        """Serve at a listening socket."""
        self._server = await asyncio.start_unix_server(self._accept, sock=sock)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        if peer.uid != os.getuid():
            writer.close()
            return
        connection = Connection(reader, writer, self, peer)
        if len(self._connections) >= CONNECTIONS_MAX:
            refusal = LimitReached(Message.of("jobs.too_many_connections", connections_max=CONNECTIONS_MAX))
            connection.push({"id": None, "refusal": refusal_of(refusal, view_of(refusal.message))})
            connection.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        await connection.serve()

    def ended(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.pop(connection, None)
        self.publisher.remove(connection)
        self._disconnected(connection)

    async def close(self) -> None:
        """End all connections, and accept no more."""
        if self._server is not None:
            self._server.close()
        connections = dict(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait(connections.values(), timeout=CLOSE_S)
