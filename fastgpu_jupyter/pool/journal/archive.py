"""The archive: compressed files beside the journal with the records before its oldest snapshot.

``journal.db-archive-0001.jsonl.gz`` and so on are gzip files, which ``zcat`` reads: a line for each part, which names
its records, and then a line for each record. A part is appended and synced before its records leave the journal, and
the journal has a row for each part. What a crash leaves behind the last part that has a row is overwritten.

The seals of the records are not stored but computed: the part is sound exactly if the last one is that of the row.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...errors import StoreFault
from ...wire.private_files import sync_folder
from .chain import seal as seal_after

#: Records of one part: writing it delays other writes for some milliseconds.
PART_RECORDS = 1000
#: Bytes from which on a part goes to another file.
FILE_BYTES_MAX = 32 * 2**20


class ArchiveDamaged(StoreFault):
    """Records that the journal has archived cannot be read; the state does not depend on them."""


class Part(NamedTuple):
    """Where records ``first`` to ``last`` are: a row of the table ``archive``."""

    first: int
    last: int
    file: int
    offset: int
    length: int
    seal: bytes  #: of the last record


class Archive:
    """The archive of the journal in ``journal``, with its files in ``folder``."""

    def __init__(self, journal: Path, folder: Path | None = None) -> None:
        self._journal = (folder or journal.parent) / journal.name

    def path(self, file: int) -> Path:
        """Return the path of the file with that number."""
        return self._journal.with_name(f"{self._journal.name}-archive-{file:04}.jsonl.gz")

    def append(self, newest: Part | None, first: int, payloads: Sequence[bytes], seal: bytes) -> Part:
        """Make a part durable that has the records from ``first`` on, behind ``newest``; ``seal`` is that of the last.

        Raises :class:`OSError`, and :class:`ArchiveDamaged` if the file does not have what was written before.
        """
        file, offset = (newest.file, newest.offset + newest.length) if newest else (1, 0)
        if offset >= FILE_BYTES_MAX:
            file, offset = file + 1, 0
        last = first + len(payloads) - 1
        header = msgspec.json.encode({"first": first, "last": last, "seal": seal.hex()})
        content = gzip.compress(b"\n".join((header, *payloads, b"")), 6, mtime=0)
        path = self.path(file)
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if offset else os.O_CREAT)
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < offset:
                raise ArchiveDamaged(f"The archive {path} is shorter than what was written to it.")
            os.ftruncate(descriptor, offset)  # what a crash left
            if os.pwrite(descriptor, content, offset) != len(content):
                raise OSError(f"only a part of {path} was written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not offset:
            sync_folder(path.parent)
        return Part(first, last, file, offset, len(content), seal)

    def records(self, part: Part, seal_before: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield number, payload and seal of each record of ``part``, which follows one with ``seal_before``.

        Raises :class:`ArchiveDamaged` before the first one if any of them is not what was written.
        """
        path = self.path(part.file)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = os.pread(descriptor, part.length, part.offset)
            finally:
                os.close(descriptor)
            _, *payloads, _ = gzip.decompress(content).split(b"\n")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise _damaged(path, part, error) from error
        seals = []
        seal = seal_before
        for payload in payloads:
            seal = seal_after(seal, payload)
            seals.append(seal)
        if seal != part.seal or len(payloads) != part.last - part.first + 1:
            raise _damaged(path, part, "they are not what was written")
        yield from zip(range(part.first, part.last + 1), payloads, seals, strict=True)


def _damaged(path: Path, part: Part, why: object) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"The archive {path} is damaged: records {part.first} to {part.last} cannot be read ({why}). Leases do not "
        "depend on it, but statements of that time cannot be made. Put a backup of the file in its place; "
        "`jupyter fastgpu fsck` verifies it."
    )
