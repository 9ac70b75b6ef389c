"""Files of one user: replaced as a whole, readable only by their owner, locked by one process at a time, durable."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace the file ``path`` by one with ``content`` that only its owner may read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # the umask may remove permissions that the owner needs
            file.write(content)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def lock(path: Path) -> int | None:
    """Return a descriptor of the file ``path`` that holds its lock, None where another process has it.

    The lock is held until every process that inherits the descriptor has closed it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a synced file can lose its name in a power cut without it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
