"""One pool manager per state folder, one per socket, and a socket that only the right users can reach.

Two locks are taken before anything else is touched, and are held for the life of the process: that of the state folder,
and one beside the socket, because pools with different state folders may be given the same socket. The socket is bound
under a private name and renamed into place, so that no client finds one that is not ready. A socket that a killed pool
left is replaced, because the holder of the lock owns the name.
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
    """Create ``path`` for its owner only, or check it. Raises :class:`HostFault` if it is a link or of another user."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise HostFault(f"The folder {path} cannot be made: {error}.") from error
    if path.is_symlink() or status.st_uid != os.getuid():
        raise HostFault(f"The folder {path} is a link or belongs to another user; FastGPU does not use it.")
    if status.st_mode & 0o777 != mode:
        path.chmod(mode)


def acquire_lock(folder: Path, name: str, where: str = "here", way_out: str = "") -> int:
    """Take the lock of ``folder`` for the life of this process. Raises :class:`Conflict` if another process has it."""
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
    """Take the lock of the name ``path`` for the life of this process, also before and after there is a socket.

    Raises :class:`Conflict` if another process has it, which may use another state folder.
    """
    return acquire_lock(
        path.parent,
        f".{path.name}.lock",
        f"at the socket {path}",
        " Stop it, or serve at another socket with --socket.",
    )


def write_owner(descriptor: int, text: str) -> None:
    """Write the owner into the lock, for the message of a process that is refused."""
    with suppress(OSError):  # a full disk: the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def listen(path: Path, mode: int) -> socket.socket:
    """Return a listening socket at ``path`` with that file mode. The caller holds the socket's lock."""
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
    """Remove private names of pools that were killed before the rename; other files, and those of live pools, stay."""
    ours = re.compile(re.escape(f".{path.name}.") + r"(\d{1,9})")
    for entry in path.parent.iterdir():
        found = ours.fullmatch(entry.name)
        if found and entry.is_socket() and not entry.is_symlink() and not Path(f"/proc/{found[1]}").exists():
            entry.unlink(missing_ok=True)


def inode(path: Path) -> int | None:
    """Return the inode of the file with that name, or ``None`` if there is none."""
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def remove_socket(path: Path, ours: int | None) -> None:
    """Remove the socket, so that clients see at once that no pool serves; one whose inode is not ``ours`` stays."""
    with suppress(OSError):
        if inode(path) == ours:
            path.unlink()
