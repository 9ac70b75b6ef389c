"""The journal's file: an append-only SQLite table in which each record seals all records before it.

Each row has the record's bytes and ``sha256(seal of the row before + bytes)``. SQLite does not notice a changed byte in
a row; the chain does, and names the record. One connection makes all writes and all checkpoints, because SQLite before
3.51.3 could corrupt a file that two connections checkpoint at the same instant.

A chain cannot show that its end is missing, and SQLite silently ends its log before the first damaged frame. So a small
file beside the journal, the head, has the number and the seal of the newest record. It is written after each commit
without waiting for the disk: after a power cut it may be older than the journal, but not newer.

An append waits for the disk, so the journal is not for the event loop's thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.model.entities import Instant
from ...core.model.events import Event
from ...errors import StoreFault
from .codec import Record, decode, encode

#: Scripts that bring a file from one format to the next; index 0 creates it. Never changed once released.
MIGRATIONS = (
    """
    CREATE TABLE record (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
    CREATE TABLE answer (key TEXT PRIMARY KEY, lease_id TEXT NOT NULL, ms INTEGER NOT NULL) STRICT;
    CREATE INDEX answer_by_age ON answer (ms);
    """,
    "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;",
    "ALTER TABLE answer ADD COLUMN seal BLOB;",
)
SCHEMA_VERSION = len(MIGRATIONS)
#: Snapshots that are kept: the newest, and one in case it is damaged.
SNAPSHOTS_KEPT = 2
#: Pages in the write-ahead log before a checkpoint: few, so that the log stays small and a start is quick.
WAL_PAGES_MAX = 64
_GENESIS = hashlib.sha256(b"fastgpu journal").digest()
_HEAD_BYTES = 8 + 32 + 32


class Entry(NamedTuple):
    """The events of one command on their way to disk; ``key`` makes a repeated command find the lease again."""

    at: Instant
    events: list[Event]
    key: str | None = None
    lease_id: str | None = None


class Journal:
    """The open journal in ``path``. Raises :class:`StoreFault` if the file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self.replayed_after = 0  #: the record after which the newest replay began
        self._seal = _GENESIS
        self._head = -1
        with contextlib.ExitStack() as opened:  # closes the file if a later step fails
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._head = os.open(head_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                opened.callback(os.close, self._head)
                # Used by one thread at a time, though not always by the one that opened it.
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                opened.callback(self._db.close)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA mmap_size=0")
                self._db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES_MAX}")
                self._migrate()
            except (OSError, sqlite3.Error) as error:
                raise self._fault("cannot be opened", error) from error
            opened.pop_all()

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreFault(
                f"The journal {self.path} was written by a newer version of FastGPU (format {version}); "
                "it was left as it is. Upgrade fastgpu-jupyter to use it."
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version={number}; COMMIT;")

    def replay(self, after: int = 0) -> Iterator[Record]:
        """Yield the records after number ``after`` in order, each verified against the chain before it is decoded.

        Raises :class:`StoreFault`, which names the first damaged record; nothing is repaired or skipped.
        """
        self.replayed_after = after
        self.seq, self._seal = after, self._seal_at(self._db, after)
        for seq, payload, seal in self._chain(self._db, after):
            self.seq, self._seal = seq, seal
            yield decode(payload)

    def verify(self) -> int:
        """Verify the whole chain without decoding it, and return the number of records. May run beside the writer.

        Raises :class:`StoreFault`, which names the first damaged record.
        """
        with self._reader() as db:
            return sum(1 for _ in self._chain(db, 0))

    def history(self) -> Iterator[Record]:
        """Yield every record from the first on, verified. May run beside the writer, in another thread."""
        with self._reader() as db:
            for _, payload, _ in self._chain(db, 0):
                yield decode(payload)

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as db:
            yield db

    def _chain(self, db: sqlite3.Connection, after: int) -> Iterator[tuple[int, bytes, bytes]]:
        head, head_seal = self._read_head()  # before the rows: a writer may go on meanwhile
        before, seal_before = after, self._seal_at(db, after)
        try:
            for seq, payload, seal in db.execute("SELECT * FROM record WHERE seq > ? ORDER BY seq", (after,)):
                if seq != before + 1 or _seal(seal_before, payload) != seal:
                    raise self._damaged(before + 1)
                if seq == head and seal != head_seal:
                    raise self._damaged(seq)
                yield seq, payload, seal
                before, seal_before = seq, seal
        except (sqlite3.Error, TypeError) as error:
            raise self._fault("cannot be read", error) from error
        if before < head:
            raise StoreFault(
                f"The journal {self.path} is damaged at record {before + 1}: it ends there, and record {head} was "
                "written. Its log was damaged, or an older copy was put in its place. Kernels that run now keep "
                "running. `jupyter fastgpu fsck` explains the damage and what can be done."
            )

    def _read_head(self) -> tuple[int, bytes]:
        try:
            content = os.pread(self._head, _HEAD_BYTES, 0)
        except OSError:
            return 0, _GENESIS
        seq, seal, check = content[:8], content[8:40], content[40:]
        # An empty or incomplete head says nothing about the end.
        return (int.from_bytes(seq, "big"), seal) if hashlib.sha256(seq + seal).digest() == check else (0, _GENESIS)

    def _write_head(self) -> None:
        content = self.seq.to_bytes(8, "big") + self._seal
        with contextlib.suppress(OSError):  # the journal has the record; only its head is older
            os.pwrite(self._head, content + hashlib.sha256(content).digest(), 0)

    def _seal_at(self, db: sqlite3.Connection, seq: int) -> bytes:
        if seq == 0:
            return _GENESIS
        row = db.execute("SELECT seal FROM record WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise self._damaged(seq)
        return bytes(row[0])

    def _damaged(self, seq: int) -> StoreFault:
        return StoreFault(
            f"The journal {self.path} is damaged at record {seq}: what is stored there is not what was written. "
            "Nothing was changed, and kernels that run now keep running. `jupyter fastgpu fsck` explains the damage "
            "and what can be done; a backup of the file can be put in its place."
        )

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """Yield the undamaged snapshots, newest first, each with the number of the record after which it was taken."""
        query = (
            "SELECT snapshot.seq, snapshot.payload, snapshot.seal, record.seal FROM snapshot JOIN record USING (seq) "
            "ORDER BY snapshot.seq DESC"
        )
        try:
            for seq, payload, seal, record_seal in self._db.execute(query):
                if _seal(record_seal, payload) == seal:
                    yield seq, payload
        except (sqlite3.Error, TypeError) as error:
            raise self._fault("cannot be read", error) from error

    def snapshot(self, payload: bytes) -> None:
        """Store the state after the newest record, so that a start need not replay the records before."""
        if not self.seq:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            row = (self.seq, payload, _seal(self._seal, payload))
            self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", row)
            self._db.execute(
                "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)",
                (SNAPSHOTS_KEPT,),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._fault("cannot be written", error) from error

    def append(self, entries: Iterable[Entry]) -> None:
        """Make ``entries`` durable, all or none. Raises :class:`StoreFault` if they are not, or if that is unknown.

        After a failure the same entries may be appended again, with others behind them: those that are there already,
        because a write was reported as failed though it was done, are not written twice.
        """
        seq, seal = self.seq, self._seal
        rows, answers = [], []
        for entry in entries:
            if entry.events:
                payload = encode(entry.at, entry.events)
                seq, seal = seq + 1, _seal(seal, payload)
                rows.append((seq, payload, seal))
            if entry.key is not None:
                seal_of_answer = answer_seal(entry.key, entry.lease_id)
                answers.append((entry.key, entry.lease_id, entry.at.ms, seal_of_answer))
        try:
            self._insert(rows, answers)
        except sqlite3.Error:
            self._shrink_log()
            try:
                self._insert(self._missing(rows), answers)
            except sqlite3.Error as error:
                if not rows or self._missing(rows):
                    raise self._fault("cannot be written", error) from error
        self.seq, self._seal = seq, seal
        if rows:
            self._write_head()

    def _missing(self, rows: list[tuple[int, bytes, bytes]]) -> list[tuple[int, bytes, bytes]]:
        """Return those of ``rows`` that are not on disk. Raises :class:`StoreFault` if that cannot be read."""
        try:
            there = dict(self._db.execute("SELECT seq, seal FROM record WHERE seq > ?", (self.seq,)))
        except sqlite3.Error as error:
            raise self._fault("cannot be read", error) from error
        return [row for row in rows if there.get(row[0]) != row[2]]

    def _insert(self, rows: list[tuple[int, bytes, bytes]], answers: list[tuple[str, str | None, int, bytes]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            self._db.executemany("INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?)", answers)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def require_room(self, room_bytes: int) -> None:
        """Raise :class:`StoreFault` unless ``room_bytes`` more can be written.

        Otherwise a full disk would be taken for writable because one record just fits.
        """
        try:
            self._shrink_log()
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO record VALUES (0, zeroblob(?), x'')", (room_bytes,))
            self._db.execute("ROLLBACK")
            disk = os.statvfs(self.path)
        except (OSError, sqlite3.Error) as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._fault("cannot be written", error) from error
        if disk.f_frsize * (disk.f_bavail if os.geteuid() else disk.f_bfree) < room_bytes:
            raise self._fault("cannot be written", OSError("the disk is full"))

    def _shrink_log(self) -> None:
        """Write the log back and truncate it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def answers(self) -> dict[str, str]:
        """Return the lease id that each remembered idempotency key was answered with, oldest first.

        Raises :class:`StoreFault` if an answer is damaged.
        """
        found: dict[str, str] = {}
        sha256 = hashlib.sha256  # as in answer_seal, but there may be very many
        try:
            for key, lease_id, seal in self._db.execute("SELECT key, lease_id, seal FROM answer ORDER BY ms"):
                # Answers from before format 3 have no seal.
                if seal is not None and sha256(f"{key}\0{lease_id}".encode()).digest() != seal:
                    raise StoreFault(
                        f"The journal {self.path} is damaged: the answer to a request is not what was written. Nothing "
                        "was changed, and kernels that run now keep running. `jupyter fastgpu fsck` can leave it out."
                    )
                found[key] = lease_id
        except (sqlite3.Error, TypeError, AttributeError) as error:
            raise self._fault("cannot be read", error) from error
        return found

    def forget_answers(self, before_ms: int, keep: int) -> int:
        """Remove idempotency keys from before ``before_ms`` and the oldest beyond ``keep``, and return their number."""
        old = "ms < ? OR rowid <= (SELECT max(rowid) FROM answer) - ?"
        try:
            return self._db.execute(f"DELETE FROM answer WHERE {old}", (before_ms, keep)).rowcount  # noqa: S608 (fixed)
        except sqlite3.Error as error:
            raise self._fault("cannot be written", error) from error

    def close(self) -> None:
        """Close the file; all records are on disk already."""
        try:
            self._db.close()
        finally:
            if self._head >= 0:
                os.close(self._head)
                self._head = -1

    def _fault(self, what: str, error: Exception) -> StoreFault:
        return StoreFault(
            f"The journal {self.path} {what} ({error}). What it holds was kept as it is, and kernels keep running. "
            "Free or repair the disk; the pool then goes on by itself or by `jupyter fastgpu pool`."
        )


def _seal(before: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(before + payload).digest()


def answer_seal(key: str, lease_id: str | None) -> bytes:
    """Return the seal of an answer, which reveals damage."""
    return hashlib.sha256(f"{key}\0{lease_id}".encode()).digest()


def head_of(path: Path) -> Path:
    """Return the path of the head: the file with the number and seal of the newest record of a journal."""
    return path.with_name(f"{path.name}-head")
