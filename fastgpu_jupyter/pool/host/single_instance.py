"""One pool per state folder, one per socket, and a socket that only the right people can reach.

Two locks are taken before anything else is touched and held for the life of the process: that of the state folder, and
one beside the socket, because pools with different state folders may be given one socket. The socket is bound under a
private name and renamed into place, so that at no instant somebody finds a half-made one; a stale one from a pool
that was killed is replaced, because whoever holds the lock owns the name.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from ...errors import Conflict, HostFault
from ...wire.unixsocket import short_address

_BACKLOG = 512


def create_private_folder(path: Path, mode: int = 0o700) -> None:
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


def acquire_lock(folder: Path, name: str, where: str = "here", way_out: str = "") -> int:
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
        raise Conflict(f"A pool manager is already running {where} ({other}).{way_out}") from None
    return descriptor


def acquire_socket_lock(path: Path) -> int:
    """Own the name ``path`` for the life of this process, also before and after there is a socket.

    Raises :class:`Conflict` where another process, which may have another state folder, owns it.
    """
    return acquire_lock(
        path.parent,
        f".{path.name}.lock",
        f"at the socket {path}",
        " Stop it, or serve at another socket with --socket.",
    )


def write_owner(descriptor: int, text: str) -> None:
    """Write into the lock who holds it, for the message of whoever comes second."""
    with suppress(OSError):  # a full disk: the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at ``path`` with that file mode. The caller holds the socket's lock."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    private = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _remove_leftovers(path)
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


def _remove_leftovers(path: Path) -> None:
    """Private names of pools that were killed before they renamed them; what is alive or is no socket is left."""
    ours = re.compile(re.escape(f".{path.name}.") + r"(\d{1,9})")
    for entry in path.parent.iterdir():
        found = ours.fullmatch(entry.name)
        if found and entry.is_socket() and not entry.is_symlink() and not Path(f"/proc/{found[1]}").exists():
            entry.unlink(missing_ok=True)


def inode(path: Path) -> int | None:
    """Which file has that name now, or ``None`` where none has."""
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def remove_socket(path: Path, ours: int | None) -> None:
    """Take the socket's name away, so that clients see at once that nobody serves; one that is not ``ours`` stays."""
    with suppress(OSError):
        if inode(path) == ours:
            path.unlink()
