"""One dispatcher for each store and socket, and a socket that only its user can reach."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from ...errors import HostFault, Message
from ...wire import unixsocket
from ...wire.private_files import lock

_BACKLOG = 256


def private_folder(path: Path) -> None:
    """Create a folder that only its user may enter, or check that it is one. Raises :class:`HostFault`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if path.is_symlink() or status.st_uid != os.getuid():
            raise HostFault(Message.of("jobs.folder_of_another", path=str(path)))
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise HostFault(Message.of("jobs.folder_unusable", path=str(path), reason=str(error))) from error


def only_dispatcher(folder: Path, socket_path: Path) -> list[int] | None:
    """Return the descriptors of the locks of the store and the socket, None where another dispatcher has one."""
    held: list[int] = []
    for path in (folder / "dispatcher.lock", socket_path.with_name(f".{socket_path.name}.lock")):
        try:
            descriptor = lock(path)
        except OSError as error:
            raise HostFault(Message.of("jobs.folder_unusable", path=str(path), reason=str(error))) from error
        if descriptor is None:
            for one in held:
                os.close(one)
            return None
        held.append(descriptor)
    return held


def listen(path: Path) -> socket.socket:
    """Return a listening socket at ``path``, in place of one that a killed dispatcher left. Raises HostFault."""
    try:
        return unixsocket.listen(path, path.with_name(f".{path.name}.new"), 0o600, _BACKLOG)
    except OSError as error:
        raise HostFault(Message.of("jobs.folder_unusable", path=str(path), reason=str(error))) from error


def remove_socket(path: Path) -> None:
    """Remove the socket, so that clients see at once that no dispatcher serves. The caller holds its lock."""
    with suppress(OSError):
        path.unlink()
