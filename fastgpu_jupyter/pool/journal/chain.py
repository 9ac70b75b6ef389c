"""The chain of seals: each record seals all records before it, so that a changed or missing one is found and named.

A chain cannot show that its end is missing, and SQLite silently ends its log before the first damaged frame. So a small
file beside the journal, the head, has the number and the seal of the newest record. It is written after each commit
without waiting for the disk: after a power cut it may be older than the journal, but not newer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

#: The seal before the first record.
GENESIS = hashlib.sha256(b"fastgpu journal").digest()
_HEAD_BYTES = 8 + 32 + 32


def seal(before: bytes, payload: bytes) -> bytes:
    """Return the seal of a record whose predecessor has the seal ``before``."""
    return hashlib.sha256(before + payload).digest()


class Head:
    """The file with the number and the seal of the newest record of the journal in ``journal``."""

    def __init__(self, journal: Path) -> None:
        self.path = head_of(journal)
        self._file = -1

    def open_for_reading(self) -> None:
        """Open the file if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_for_writing(self) -> None:
        """Open the file, which is created if it is missing."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.close()
        self._file = file

    def read(self) -> tuple[int, bytes]:
        """Return the number and the seal; an empty or incomplete file says nothing about the end."""
        try:
            content = os.pread(self._file, _HEAD_BYTES, 0)
        except OSError:
            return 0, GENESIS
        seq, sealed, check = content[:8], content[8:40], content[40:]
        return (int.from_bytes(seq, "big"), sealed) if hashlib.sha256(seq + sealed).digest() == check else (0, GENESIS)

    def write(self, seq: int, sealed: bytes) -> None:
        """Write the number and the seal, without waiting for the disk."""
        content = seq.to_bytes(8, "big") + sealed
        with contextlib.suppress(OSError):  # the journal has the record; only its head is older
            os.pwrite(self._file, content + hashlib.sha256(content).digest(), 0)

    def close(self) -> None:
        """Close the file if it is open."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def head_of(path: Path) -> Path:
    """Return the path of the head of a journal."""
    return path.with_name(f"{path.name}-head")
