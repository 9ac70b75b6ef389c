"""The HTTP server with limits: how many connections there are, and how long an answer waits for its reader.

A reader that does not read costs a bounded time and a bounded amount of memory. Above the limit of connections a few
more are served, so that ``/v1/health`` is answered and other requests are refused with the reason; beyond those a
connection gets the reason and is closed without reading its request.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from ...core.model.entities import Holder
from ...errors import LimitReached, Message
from ...wire import version
from ...wire.unixsocket import peer_of
from .limits import READER_RETRY_S, ServiceLimits
from .listener import Listener
from .problem import problem

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1ServerConnection
    from tornado.web import Application

#: Connections above the limit whose requests are still read, for a short time; at most one in eight of the limit.
SERVED_OVER_LIMIT = 64
#: Descriptors that the pool manager needs for itself: the journal, the log, drivers, programs that it runs.
DESCRIPTORS_OWN = 64
CONNECTIONS_MIN = 8
OVER_LIMIT_S = 5.0
#: How long the headers or the body of a request may take to arrive.
RECEIVE_S = 15.0
SWEEP_S = 1.0
#: A body that is larger than the limit by at most this is read, so that its sender gets the reason.
BODY_BYTES_OVER = 2**20

_REFUSED_UNREAD = (
    "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    f"Retry-After: {READER_RETRY_S}\r\n{version.HEADER}: {version.stated()}\r\nContent-Length: %d\r\n\r\n"
).encode()
_TOO_MANY = msgspec.json.encode(
    problem(
        LimitReached.status,
        LimitReached.code,
        Message.of("pool.too_many_connections", seconds=READER_RETRY_S),
    )
)


class PeerStream(IOStream):
    """A connection with the user of its peer, and the time since which it waits for its reader."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.uid = peer_of(self.socket).uid
        self.holder: Holder | None = None  #: the process of the peer, once a request has identified it
        self.over: Message | None = None  #: the refusal, if it is above a limit
        #: The lease to which it is limited: it is relayed from the host of an engine's job, and is not the user's own.
        self.lease_id: str | None = None
        self.stuck = False  #: closed because its peer did not read
        self.opened_at = asyncio.get_running_loop().time()
        self._waits_since: float | None = None

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Write, and record since when something is left to be written."""
        written = super().write(data)
        if self.writing() and self._waits_since is None:
            self._waits_since = asyncio.get_running_loop().time()
            written.add_done_callback(self._on_written)
        elif self.writing():
            written.add_done_callback(self._on_written)
        return written

    def _on_written(self, _: asyncio.Future[None]) -> None:
        if not self.writing():
            self._waits_since = None

    def waits_s(self, now_s: float) -> float:
        """Return for how long the peer has left something unread."""
        return 0.0 if self._waits_since is None else now_s - self._waits_since


def connections_max(limits: ServiceLimits) -> int:
    """Return how many connections there may be: the limit, or what the system's limit of open files leaves.

    The other half of the descriptors is for the holders of leases, each of which takes one.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return limits.connections_max
    return min(limits.connections_max, max(CONNECTIONS_MIN, (most - DESCRIPTORS_OWN) // 2))


def _refuse_unread(connection: socket.socket) -> None:
    # Small enough for the buffer of a new socket, so that this cannot wait.
    connection.send(_REFUSED_UNREAD % len(_TOO_MANY) + _TOO_MANY)


class PoolServer(HTTPServer):
    """The HTTP server with limits on its connections."""

    def initialize(self, request_callback: Application, *, limits: ServiceLimits, streams: set[PeerStream]) -> None:  # type: ignore[override]
        """Take over the limits; called by tornado."""
        super().initialize(
            request_callback,
            max_header_size=limits.header_bytes_max,
            max_body_size=limits.body_bytes_max + BODY_BYTES_OVER,
            idle_connection_timeout=RECEIVE_S,
            body_timeout=RECEIVE_S,
        )
        self._limits = limits
        self._connections_max = connections_max(limits)
        self._over_limit_max = min(SERVED_OVER_LIMIT, max(1, self._connections_max // 8))
        self._streams = streams
        self._of_user: Counter[int] = Counter()

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections at ``sockets``, which are replaced; called by tornado."""
        super().add_sockets(Listener.of(sock, _refuse_unread) for sock in sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a new connection, or refuse it."""
        if len(self._streams) >= self._connections_max + self._over_limit_max:
            _refuse_unread(stream.socket)
            stream.close()
            return
        # The stream that tornado made has not been used yet: ours takes over its socket.
        ours = PeerStream(stream.socket, max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size)
        self._serve(ours, address)

    def _serve(self, ours: PeerStream, address: Any) -> None:
        if self._of_user[ours.uid] >= self._limits.connections_max_per_tenant:
            ours.over = Message.of("limits.connections_of_tenant", seconds=READER_RETRY_S)
        elif len(self._streams) >= self._connections_max:
            ours.over = Message.of("pool.too_many_connections", seconds=READER_RETRY_S)
        self._streams.add(ours)
        self._of_user[ours.uid] += 1
        super().handle_stream(ours, address)

    def connect_relayed(self, lease_id: str) -> socket.socket:
        """Return a connection to this server with the rights of a process that has the token of a lease, no others."""
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(0)
        stream = PeerStream(ours, max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size)
        stream.lease_id = lease_id
        self._serve(stream, "")
        return theirs

    def on_close(self, server_conn: HTTP1ServerConnection) -> None:  # type: ignore[override]
        """Remove a connection that has ended."""
        super().on_close(server_conn)
        stream = server_conn.stream
        if isinstance(stream, PeerStream) and stream in self._streams:
            self._streams.remove(stream)
            self._of_user[stream.uid] -= 1
            if not self._of_user[stream.uid]:
                del self._of_user[stream.uid]

    def __len__(self) -> int:
        return len(self._streams)

    async def sweep(self) -> None:
        """After a pause, close connections that do not read, and those that stay above the limit."""
        await asyncio.sleep(SWEEP_S)
        now_s = asyncio.get_running_loop().time()
        for stream in list(self._streams):
            if stream.waits_s(now_s) > self._limits.slow_reader_timeout_s:
                stream.stuck = True
                stream.close()
            elif stream.over and now_s - stream.opened_at > OVER_LIMIT_S:
                stream.close()
