"""A preallocated file that records releases while the journal cannot grow, as on a full disk.

On a full disk a record on blocks that exist already can still be overwritten and made durable. So a release is
acknowledged also then, and survives a pool manager that is killed before the disk has room again. A record is a
command, not an event: recovery decides it against the journal, and it has no effect if the journal has it already.

:meth:`PreallocatedReleaseLog.note` returns only after its record is on disk, or raises. Nothing that grants capacity
may be recorded here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...core.model.entities import EndReason, Instant
from ...errors import StoreFault
from ...wire.private_files import sync_folder
from .store import Entry

RECORD_BYTES = 256
RECORDS_MAX = 1024
_SEAL_BYTES = 32
_EMPTY = bytes(RECORD_BYTES)


class Release(NamedTuple):
    """The release of a lease, its reason and its time."""

    lease_id: str
    reason: EndReason
    at: Instant


class PreallocatedReleaseLog:
    """The preallocated file in ``path``, which is created if it is missing. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Entries that the state in memory has and the journal does not, in order.
        self.pending_entries: list[Entry] = []
        self._used = 0
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            missing = RECORD_BYTES * RECORDS_MAX - os.fstat(self._file).st_size
            if missing > 0:
                # Written, not only allocated: the first write to an allocated block can still need room elsewhere.
                os.pwrite(self._file, bytes(missing), RECORD_BYTES * RECORDS_MAX - missing)
                os.fsync(self._file)
            sync_folder(path.parent)
            self.fault: str | None = None
        except OSError as error:
            self.fault = f"There is no room for releases at {path}: {error}."

    def read(self) -> list[Release]:
        """Return the releases that were recorded and not cleared; an incomplete record is left out."""
        found = []
        for number in range(RECORDS_MAX):
            record = self._read(number)
            if record == _EMPTY:
                break
            self._used = number + 1
            if (release := _decode(record)) is not None:
                found.append(release)
        return found

    def _read(self, number: int) -> bytes:
        try:
            return os.pread(self._file, RECORD_BYTES, number * RECORD_BYTES) or _EMPTY
        except OSError:
            return _EMPTY

    def defer(self, entries: Iterable[Entry]) -> None:
        """Remember ``entries`` for the journal, behind those that are pending already."""
        self.pending_entries.extend(entries)

    def note(self, release: Release) -> None:
        """Make ``release`` durable. Raises :class:`StoreFault` if it is not."""
        record = _encode(release)
        if self.fault or self._used >= RECORDS_MAX:
            raise StoreFault(self.fault or f"The {RECORDS_MAX} releases for which there is room were used.")
        try:
            if os.pwrite(self._file, record, self._used * RECORD_BYTES) != RECORD_BYTES:
                raise OSError("only a part was written")  # noqa: TRY301 (the same fault as one that the system names)
            os.fsync(self._file)
            if not os.path.samestat(os.fstat(self._file), self.path.lstat()):
                raise OSError("another file was put in its place")  # noqa: TRY301 (as above)
        except OSError as error:
            raise StoreFault(f"The release was not noted at {self.path}: {error}.") from error
        self._used += 1

    def clear(self) -> None:
        """Remove everything, because the journal has it.

        Raises :class:`StoreFault` if that is not durable. The next start then decides the releases again, which has no
        effect.
        """
        self.pending_entries = []
        try:
            if self._used:
                os.pwrite(self._file, bytes(self._used * RECORD_BYTES), 0)
                os.fsync(self._file)
        except OSError as error:
            raise StoreFault(f"The releases noted at {self.path} were not cleared: {error}.") from error
        self._used = 0

    def close(self) -> None:
        """Close the file; its records stay."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.fault = "closed"


def _encode(release: Release) -> bytes:
    payload = msgspec.json.encode([release.lease_id, release.reason, release.at.ms, release.at.wall_ms])
    if len(payload) > RECORD_BYTES - _SEAL_BYTES:
        raise StoreFault("The release does not fit its record.")
    payload = payload.ljust(RECORD_BYTES - _SEAL_BYTES)
    return hashlib.sha256(payload).digest() + payload


def _decode(record: bytes) -> Release | None:
    seal, payload = record[:_SEAL_BYTES], record[_SEAL_BYTES:]
    if hashlib.sha256(payload).digest() != seal:
        return None
    lease_id, reason, ms, wall_ms = msgspec.json.decode(payload, type=tuple[str, EndReason, int, int])
    return Release(lease_id, reason, Instant(ms, wall_ms))
