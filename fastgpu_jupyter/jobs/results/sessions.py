"""Sessions of processes that use a store: what they wrote or read stays until they end, also where they are killed.

A session is a folder with a locked file, a list of digests and unfinished files; of a process that only reads, it is
one file. The lock ends with its process, and the next eviction removes what is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

_LOCK, _DIGESTS, _READING = "lock", "digests", ".reading"


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of a store: exclusive to remove objects, shared to add them."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


class Session:
    """The session of one process. It is made while the lock of the store is held, and ends at the latest with it."""

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self.folder = folder / secrets.token_hex(8)
        self.folder.mkdir(mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(self.folder / _LOCK, flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._digests = os.open(self.folder / _DIGESTS, flags | os.O_APPEND, 0o600)
        self.close = weakref.finalize(self, _end, self.folder, (self._digests, self._lock), self.pid)

    def protect(self, digests: Iterable[str]) -> None:
        """Keep objects from being evicted until the session ends."""
        os.write(self._digests, _lines(digests))

    def new_file(self) -> Path:
        """Return the path of a file that is not there yet; it is removed with the session unless it is renamed."""
        return self.folder / secrets.token_hex(8)


def _lines(digests: Iterable[str]) -> bytes:
    return "".join(f"{digest}\n" for digest in digests).encode()


def _end(folder: Path, descriptors: Iterable[int], pid: int) -> None:
    """Remove the session's folder, unless this is a forked process, whose parent still uses it."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
    for descriptor in descriptors:
        os.close(descriptor)


def reading_session(folder: Path, digests: Iterable[str]) -> contextlib.ExitStack:
    """Keep objects from being evicted until the stack that is returned is closed; the lock of the store is held now.

    It is one file, because each hit of the cache has such a session.
    """
    path = folder / f"{secrets.token_hex(8)}{_READING}"
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, descriptor)
        stack.callback(path.unlink, missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, _lines(digests))
        return stack.pop_all()


def protected_digests(folder: Path) -> set[str]:
    """Return what the sessions of living processes protect, and remove the sessions of others.

    The lock of the store is held exclusively, so that no session is half made.
    """
    found: set[str] = set()
    for session in folder.iterdir():
        is_reading = session.name.endswith(_READING)
        lock, digests = (session, session) if is_reading else (session / _LOCK, session / _DIGESTS)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            _remove(session)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(session)
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError):  # it is being closed
                found.update(digests.read_text().split())
        finally:
            os.close(descriptor)
    return found


def _remove(session: Path) -> None:
    with contextlib.suppress(OSError):
        session.unlink()
        return
    shutil.rmtree(session, ignore_errors=True)
