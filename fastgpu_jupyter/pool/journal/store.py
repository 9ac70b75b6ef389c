"""The journal's file: an append-only SQLite table in which each record seals all records before it.

Each row holds the record's bytes and ``sha256(seal of the row before + bytes)``. SQLite does not notice a changed
byte in a row; the chain does, and names the record. One connection does all writes and all checkpoints, because
SQLite before 3.51.3 could corrupt a file that two connections checkpoint at the same instant.

Not for an event loop's thread: an append waits for the disk.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.events import Event
from ...core.model import Instant
from ...errors import StoreFault
from .codec import Record, decode, encode

SCHEMA_VERSION = 1
_GENESIS = hashlib.sha256(b"fastgpu journal").digest()
_SCHEMA = """
CREATE TABLE record (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE answer (key TEXT PRIMARY KEY, lease_id TEXT NOT NULL, ms INTEGER NOT NULL) STRICT;
CREATE INDEX answer_by_age ON answer (ms);
"""


class Entry(NamedTuple):
    """One command's outcome on its way to disk; ``key`` makes a repeated call find the lease again."""

    at: Instant
    events: list[Event]
    key: str | None = None
    lease_id: str | None = None


class Journal:
    """The open journal in ``path``. Raises :class:`StoreFault` where the file cannot be opened or was damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self._seal = _GENESIS
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Used by one thread at a time, though not always by the one that opened it.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA mmap_size=0")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            raise self._fault("cannot be opened", error) from error

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreFault(
                f"The journal {self.path} was written by a newer version of FastGPU (format {version}); "
                "it was left as it is. Upgrade fastgpu-jupyter to use it."
            )
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    def replay(self) -> Iterator[Record]:
        """Every record in order, each verified against the chain before it is decoded.

        Raises :class:`StoreFault` that names the first damaged record; nothing is repaired or skipped.
        """
        self.seq, self._seal = 0, _GENESIS
        try:
            for seq, payload, seal in self._db.execute("SELECT seq, payload, seal FROM record ORDER BY seq"):
                if seq != self.seq + 1 or _seal(self._seal, payload) != seal:
                    raise StoreFault(
                        f"The journal {self.path} is damaged at record {self.seq + 1}: what is stored there is not "
                        "what was written. Nothing was changed. Restore the file from a backup, or move it away to "
                        "start with an empty pool; kernels that run now keep running."
                    )
                self.seq, self._seal = seq, seal
                yield decode(payload)
        except sqlite3.Error as error:
            raise self._fault("cannot be read", error) from error

    def append(self, entries: Iterable[Entry]) -> None:
        """Make ``entries`` durable, all or none. Raises :class:`StoreFault`, and then none is."""
        seq, seal = self.seq, self._seal
        rows, answers = [], []
        for entry in entries:
            if entry.events:
                payload = encode(entry.at, entry.events)
                seq, seal = seq + 1, _seal(seal, payload)
                rows.append((seq, payload, seal))
            if entry.key is not None:
                answers.append((entry.key, entry.lease_id, entry.at.ms))
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            self._db.executemany("INSERT OR IGNORE INTO answer VALUES (?, ?, ?)", answers)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._fault("cannot be written", error) from error
        self.seq, self._seal = seq, seal

    def answers(self) -> dict[str, str]:
        """The lease that each remembered idempotency key was answered with, oldest first."""
        return dict(self._db.execute("SELECT key, lease_id FROM answer ORDER BY ms"))

    def forget_answers(self, before_ms: int) -> None:
        """Drop idempotency keys that no client still repeats."""
        self._db.execute("DELETE FROM answer WHERE ms < ?", (before_ms,))

    def close(self) -> None:
        """Close the file; what was appended is on disk already."""
        self._db.close()

    def _fault(self, what: str, error: Exception) -> StoreFault:
        return StoreFault(
            f"The journal {self.path} {what} ({error}). What it holds was kept as it is, and kernels keep running. "
            "Free or repair the disk; the pool then goes on by itself or by `jupyter fastgpu pool`."
        )


def _seal(before: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(before + payload).digest()
