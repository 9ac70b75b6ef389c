"""Files that only the user can have written: opened without following links, and replaced atomically.

Results hold pickles, and the writer of a pickle decides what runs when it is opened. Every file is therefore opened
once, and its owner, mode and kind are those of the open file, not of its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import Forbidden, InvalidRequest, Message

#: How much is read, hashed and written at a time: small enough to stay in the processor's cache.
CHUNK_BYTES = 1 << 20
#: Others may not write to what is opened, and may not read what is written.
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(path: Path) -> Path:
    """Return ``path``, a folder that this user owns and only this user may enter; make it where it is missing.

    Raises :class:`Forbidden` where it is a link, belongs to another user, or others may write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_own(path, path.lstat(), stat.S_ISDIR)
    return path


def open_own(path: Path) -> int:
    """Return a descriptor for reading a regular file of this user.

    Raises :class:`FileNotFoundError`, and :class:`Forbidden` where it is a link or anything else than a file, belongs
    to another user, or others may write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Forbidden(Message.of("results.foreign", path=str(path))) from None
        raise
    try:
        _require_own(path, os.fstat(descriptor), stat.S_ISREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def private_opener(path: str, flags: int) -> int:
    """Return a descriptor of a file that only this user may read and write; an ``opener`` for :func:`open`."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


@contextmanager
def opened_regular(path: Path) -> Iterator[int]:
    """Yield a descriptor for reading what a job saved. Raises :class:`InvalidRequest` for anything but a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidRequest(Message.of("results.not_regular", path=str(path)))
        yield descriptor
    finally:
        os.close(descriptor)


def digest_of(descriptor: int) -> str:
    """Return the SHA-256 of the rest of an open file, in hexadecimal digits."""
    checksum = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while count := os.readv(descriptor, [buffer]):
        checksum.update(buffer[:count])
    return checksum.hexdigest()


def _require_own(path: Path, found: os.stat_result, is_kind: object) -> None:
    own = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    if not own or not (callable(is_kind) and is_kind(found.st_mode)):
        raise Forbidden(Message.of("results.foreign", path=str(path)))
