"""Unix sockets at paths of any length, that no forked process inherits, and the process at the other end.

The address of a Unix socket is limited to 107 bytes, which a runtime folder easily exceeds. A path through the
folder's descriptor in ``/proc`` is always short.
"""

from __future__ import annotations

import os
import socket
import struct
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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


def connect(path: Path, timeout_s: float | None) -> socket.socket:
    """Return a connected stream socket. Raises :class:`OSError` as :meth:`socket.socket.connect` does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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
