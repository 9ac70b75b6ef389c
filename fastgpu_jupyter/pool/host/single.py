"""One pool per state folder, and one socket that only the right people can reach.

The lock is taken before anything else is touched and held for the life of the process. The socket is bound under a
private name and renamed into place, so that at no instant somebody finds a half-made one; a stale one from a pool
that was killed is replaced, because whoever holds the lock owns the name.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from ...errors import Conflict, HostFault
from ...wire.unixsocket import short_address

_BACKLOG = 512


def private_folder(path: Path, mode: int = 0o700) -> None:
    """Create ``path`` for its owner only, or check that it is so. Raises :class:`HostFault` otherwise."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise HostFault(f"The folder {path} cannot be made: {error}.") from error
    if path.is_symlink() or status.st_uid != os.getuid():
        raise HostFault(f"The folder {path} is a link or belongs to somebody else; FastGPU does not use it.")
    if status.st_mode & 0o777 != mode:
        path.chmod(mode)


def lock(folder: Path, name: str) -> int:
    """Take the lock of ``folder`` for the life of this process. Raises :class:`Conflict` where another has it."""
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostFault(f"The lock {folder / name} cannot be opened: {error}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 200).decode(errors="replace").strip() or "starting"
        os.close(descriptor)
        raise Conflict(f"A pool manager is already running here ({other}).") from None
    return descriptor


def say_who(descriptor: int, text: str) -> None:
    """Write into the lock who holds it, for the message of whoever comes second."""
    with suppress(OSError):  # a full disk: the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at ``path`` with that file mode. The caller holds the lock."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    private = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        private.unlink(missing_ok=True)
        with short_address(private) as address:
            sock.bind(address)
        private.chmod(mode)
        sock.listen(_BACKLOG)
        sock.settimeout(0)
        private.rename(path)
    except OSError as error:
        sock.close()
        raise HostFault(f"The socket {path} cannot be made: {error}.") from error
    return sock


def unlisten(path: Path) -> None:
    """Take the socket's name away, so that clients see at once that nobody serves."""
    with suppress(OSError):
        path.unlink()
