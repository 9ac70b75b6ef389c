"""Unix sockets at paths of any length, that no forked process inherits, and the process at the other end.

The address of a Unix socket is limited to 107 bytes, which a runtime folder easily exceeds. A path through the
folder's descriptor in ``/proc`` is always short.
"""

from __future__ import annotations

import os
import socket
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_UCRED = struct.Struct("3i")


class Peer(NamedTuple):
    """The process at the other end, as the system recorded it at the time of the connection."""

    pid: int
    uid: int
    gid: int


#: The connections of this process.
_connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the connections of the parent in a process that was forked; they stay open there.

    Else a worker process keeps a connection to the pool manager open after the kernel or server that made it has ended.
    """
    for sock in list(_connections):
        descriptor = sock.detach()  # unlike close(), also while a response reads from it
        if descriptor >= 0:
            os.close(descriptor)
    _connections.clear()


os.register_at_fork(after_in_child=_close_inherited)


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address for ``path`` that fits ``sun_path``, valid inside the block. The folder must exist."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, private: Path, mode: int, backlog: int) -> socket.socket:
    """Return a listening socket at ``path`` with that file mode, in place of one that is there. Raises OSError.

    It is bound under the name ``private``, in the same folder, and renamed, so that no client finds one that does not
    listen yet. A socket with that name, which a killed process left, is removed.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        private.unlink(missing_ok=True)
        with short_address(private) as address:
            sock.bind(address)
        private.chmod(mode)
        sock.listen(backlog)
        sock.settimeout(0)
        private.rename(path)
    except OSError:
        sock.close()
        raise
    return sock


class TimedSocket(socket.socket):
    """A socket whose calls together end at a deadline, if one is set; a timeout limits each call by itself."""

    _deadline_s: float | None = None

    def set_deadline(self, deadline_s: float | None) -> None:
        """Let sending and receiving fail after that instant of the monotonic clock; None lifts the deadline."""
        self._deadline_s = deadline_s

    def sendall(self, *args: Any) -> None:
        """Send all data before the deadline. Raises :class:`TimeoutError`."""
        self._limit_call()
        super().sendall(*args)

    def recv_into(self, *args: Any) -> int:
        """Receive what there is before the deadline. Raises :class:`TimeoutError`."""
        self._limit_call()
        return super().recv_into(*args)

    def _limit_call(self) -> None:
        if self._deadline_s is not None:
            left_s = self._deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the time for the whole exchange is over")
            self.settimeout(left_s)


def connect(path: Path, timeout_s: float | None) -> TimedSocket:
    """Return a connected stream socket. Raises :class:`OSError` as :meth:`socket.socket.connect` does."""
    sock = TimedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with short_address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    _connections.add(sock)
    return sock


def peer_of(sock: socket.socket) -> Peer:
    """Return the process that connected, or that listens, at the other end of ``sock``."""
    return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
