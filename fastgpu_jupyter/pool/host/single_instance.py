"""One pool manager per state folder, one per socket, and a socket that only the right users can reach.

What exists already is not changed: the mode of a folder that was not made here stays, and a file that is no socket is
refused, because its path may be a mistake on the command line.

Two locks are taken before anything else is touched, and are held for the life of the process: that of the state folder,
and one beside the socket, because pools with different state folders may be given the same socket. The socket is bound
under a private name and renamed into place, so that no client finds one that is not ready. A socket that a killed pool
left is replaced, because the holder of the lock owns the name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path

from ...errors import Conflict, HostFault, Message
from ...wire import unixsocket
from ...wire.spawn import LOCKS_VARIABLE

_BACKLOG = 512
#: How the text in a lock begins, see :func:`write_owner`.
_OWNER = b"process "
_SOCKET_OWNER = re.compile(r"process (\d+), state folder (.+)", re.DOTALL)


def create_private_folder(path: Path, mode: int = 0o700, *, named: bool = False) -> None:
    """Create ``path`` with that mode, or check it.

    A folder that exists gets the mode only if it is FastGPU's own; ``named`` says that its path was given by a user, so
    that other programs may use it. Raises :class:`HostFault` for a folder that is a link, that belongs to another user,
    or in which every user may replace files.
    """
    try:
        made = not path.exists()
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise HostFault(Message.of("pool_start.folder_not_made", path=str(path), reason=str(error))) from error
    # In a sticky folder, such as /tmp, only the owner of a file can replace it.
    sticky = named and status.st_mode & stat.S_ISVTX != 0
    if path.is_symlink() or status.st_uid not in {os.getuid(), 0 if sticky else os.getuid()}:
        raise HostFault(Message.of("pool_start.folder_of_another_user", path=str(path)))
    if named and not made:
        if status.st_mode & stat.S_IWOTH and not sticky:
            raise HostFault(Message.of("pool_start.folder_of_all", path=str(path)))
    elif status.st_mode & 0o777 != mode:
        path.chmod(mode)


def require_socket_or_nothing(path: Path) -> bool:
    """Return whether there is a socket at ``path``. Raises :class:`HostFault` for anything else that is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostFault(Message.of("pool_start.socket_not_made", path=str(path), reason=str(error))) from error
    if not stat.S_ISSOCK(mode):
        raise HostFault(Message.of("pool_start.no_socket", path=str(path)))
    return True


def require_replaceable(path: Path) -> None:
    """Raise :class:`HostFault` unless a socket at ``path`` may be made; one that a killed pool left is replaced.

    The caller holds the socket's lock, so a program that serves there is no pool manager.
    """
    if not require_socket_or_nothing(path):
        return
    try:
        unixsocket.connect(path, 0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE}:  # not those of a server
            raise HostFault(Message.of("pool_start.socket_not_made", path=str(path), reason=str(error))) from error
    raise HostFault(Message.of("pool_start.other_program", path=str(path)))


def acquire_lock(folder: Path, name: str, of_socket: Path | None = None) -> int:
    """Take the lock of ``folder`` for the life of this process. Raises :class:`Conflict` if another process has it.

    ``of_socket`` is the socket whose name the lock stands for, if it is one. A lock that the starter of this process
    holds for it, as during a restart, is taken over.
    """
    try:
        descriptor = _inherited(folder / name) or os.open(
            folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise HostFault(Message.of("pool_start.lock_not_opened", path=str(folder / name), reason=str(error))) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = os.read(descriptor, 200)
        if content and not content.startswith(_OWNER):
            os.close(descriptor)
            raise HostFault(Message.of("pool_start.foreign_file", path=str(folder / name)))
    except BlockingIOError:
        owner = os.read(descriptor, 200).decode(errors="replace").strip() or "-"
        os.close(descriptor)
        if of_socket is None:
            raise Conflict(Message.of("pool_start.running_here", owner=owner)) from None
        raise Conflict(Message.of("pool_start.running_at", path=str(of_socket), owner=owner)) from None
    return descriptor


def _inherited(path: Path) -> int | None:
    """Return the descriptor of the lock ``path`` that the starter of this process passed to it, None if none."""
    for number in filter(str.isdecimal, os.environ.get(LOCKS_VARIABLE, "").split()):
        with suppress(OSError):
            given, there = os.fstat(int(number)), path.stat()
            if (given.st_dev, given.st_ino) == (there.st_dev, there.st_ino):
                fcntl.fcntl(int(number), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
                return int(number)
    return None


def acquire_socket_lock(path: Path) -> int:
    """Take the lock of the name ``path`` for the life of this process, also before and after there is a socket.

    Raises :class:`Conflict` if another process has it, which may use another state folder.
    """
    return acquire_lock(path.parent, f".{path.name}.lock", of_socket=path)


def write_owner(descriptor: int, detail: str) -> None:
    """Write this process and ``detail`` into the lock, for the message of a process that is refused."""
    with suppress(OSError):  # a full disk: the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%s%d, %s" % (_OWNER, os.getpid(), detail.encode()), 0)


def owner_of_socket(path: Path) -> tuple[int, Path | None]:
    """Return the process that wrote itself into the lock of a socket last, and its state folder; 0 where none did."""
    try:
        found = _SOCKET_OWNER.fullmatch(path.with_name(f".{path.name}.lock").read_text())
    except (OSError, UnicodeDecodeError):
        return 0, None
    return (int(found[1]), Path(found[2])) if found else (0, None)


def listen(path: Path, mode: int) -> socket.socket:
    """Return a listening socket at ``path`` with that file mode. The caller holds the socket's lock."""
    require_replaceable(path)
    try:
        _remove_leftovers(path)
        return unixsocket.listen(path, path.with_name(f".{path.name}.{os.getpid()}"), mode, _BACKLOG)
    except OSError as error:
        raise HostFault(Message.of("pool_start.socket_not_made", path=str(path), reason=str(error))) from error


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
