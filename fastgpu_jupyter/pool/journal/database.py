"""The SQLite file of a journal, with its log and its head beside it.

It is open for reading only until something is written, because a connection that may write does so by itself: when it
is closed it copies what SQLite takes for the log into the file and deletes the log. If the log is damaged, that
destroys the sound copy of what is in the file. One connection makes all writes and all checkpoints, because SQLite
before 3.51.3 could corrupt a file that two connections checkpoint at the same instant.

While it is open for writing, the folder, the file, the log and the head must stay in place. Whatever is written after
one of them was removed or replaced is gone with the process, so it must not be acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import StoreFault
from .chain import Head
from .files import lock_of, log_of

#: The version of the tables and of the records in them. 1 to 3 were never released.
FORMAT = 4
#: Marks the file as a journal of FastGPU ("FGPU"), so that no other program's database is written to.
APPLICATION_ID = 0x46475055
#: The tables, each with what keeps damage in it from going unnoticed.
SCHEMA = f"""
    CREATE TABLE record (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
    CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
    CREATE TABLE archive (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, file INTEGER NOT NULL,
        offset INTEGER NOT NULL, length INTEGER NOT NULL, seal BLOB NOT NULL
    ) STRICT;
    CREATE TABLE answer (
        key TEXT PRIMARY KEY, lease_id TEXT NOT NULL, ms INTEGER NOT NULL, seal BLOB NOT NULL,
        dictionary INTEGER, body BLOB
    ) STRICT;
    CREATE TABLE writer (number INTEGER PRIMARY KEY, version TEXT NOT NULL, id TEXT NOT NULL) STRICT;
    CREATE TABLE dictionary (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {FORMAT};
"""
_OURS = f"FastGPU {__version__} (format {FORMAT})"
#: Pages in the write-ahead log before a checkpoint: few, so that the log stays small and a start is quick, but more
#: than those of one write with the commands of many clients.
WAL_PAGES_MAX = 128
#: SQLite itself makes a checkpoint in a commit, which waits for the disk twice more, if the log has so many times that.
WITHIN_COMMIT = 2
#: The most rows of one statement, as a power of two.
ROWS_LOG2_MAX = 6


class Database:
    """The file in ``path``, which is created if there is none. Raises :class:`StoreFault` if it cannot be used."""

    connection: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = Head(path)
        self._writing = False
        self._in_place: dict[Path, tuple[int, int]] = {}
        try:
            if self._is_missing():
                self._open_for_writing()
            else:
                self.connection = _read_only(path)
                self.head.open_for_reading()
            try:
                self._require_format()
            except BaseException:
                self.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise self.fault("cannot be opened", error) from error

    def _is_missing(self) -> bool:
        """Return whether there is no file, or one in which nothing was written. A log without its file is damage."""
        if self.path.exists() and self.path.stat().st_size:
            return False
        log = log_of(self.path)
        if log.exists() and log.stat().st_size:
            raise self.fault("is damaged", OSError("the file is empty or missing, and its log is not"))
        return True

    def _require_format(self) -> None:
        application, version, tables = (
            self.connection.execute(sql).fetchone()[0]
            for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if not tables and not version:
            if self.head.read()[0]:
                raise self.fault("is damaged", OSError("it is empty, and records were written to it"))
            self.begin_writing()
            self._create()
        elif version > FORMAT:
            raise StoreFault(
                f"The journal {self.path} was last written by {self._last_writer(version)}, which is newer than this "
                f"version, {_OURS}. Nothing was changed. Upgrade fastgpu-jupyter to that version to use the journal."
            )
        elif version != FORMAT or application != APPLICATION_ID:
            raise StoreFault(
                f"The file {self.path} is not a journal that this version of FastGPU can read (format {version}); it "
                "was left as it is. Use the version that wrote it, or move the file to another folder."
            )

    def _last_writer(self, version: int) -> str:
        """Return the version of FastGPU that wrote the file last, as a part of a sentence."""
        return f"FastGPU {self.written_by() or 'of an unknown version'} (format {version})"

    def written_by(self) -> str | None:
        """Return the version of FastGPU that wrote the file last, None if it does not say."""
        try:
            row = self.connection.execute("SELECT version FROM writer ORDER BY number DESC LIMIT 1").fetchone()
        except sqlite3.Error:
            return None
        return str(row[0])[:64] if row else None

    @property
    def id(self) -> str:
        """The number that no other journal has, made when this one was; empty before that."""
        row = self.connection.execute("SELECT id FROM writer ORDER BY number LIMIT 1").fetchone()
        return str(row[0]) if row else ""

    def _state_writer(self) -> None:
        if self.written_by() != __version__:
            self.connection.execute(
                "INSERT INTO writer (version, id) VALUES (?, ?)", (__version__, secrets.token_hex(8))
            )

    def _create(self) -> None:
        self.connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        self._state_writer()

    def begin_writing(self) -> None:
        """Open the file for writing if it is not yet. What it holds has been verified."""
        if self._writing:
            return
        reader = self.connection
        self._open_for_writing()
        reader.close()
        if self.connection.execute("PRAGMA user_version").fetchone()[0]:
            self._state_writer()

    def _open_for_writing(self) -> None:
        with contextlib.ExitStack() as opened:  # closes the file if a later step fails
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Used by one thread at a time, though not always by the one that opened it.
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            opened.callback(connection.close)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA mmap_size=0")
            connection.execute(f"PRAGMA wal_autocheckpoint={WITHIN_COMMIT * WAL_PAGES_MAX}")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the log
            self.head.open_for_writing()
            lock = lock_of(self.path)  # whose removal would let another pool manager write
            paths = (self.path.parent, self.path, log_of(self.path), self.head.path, *([lock] if lock.exists() else []))
            self._in_place = {path: _identity(path) for path in paths}
            opened.pop_all()
        self.connection, self._writing = connection, True

    @contextlib.contextmanager
    def unsynced(self) -> Iterator[None]:
        """Let a commit in the block not wait for the disk; what is not committed at its end is rolled back."""
        (synchronous,) = self.connection.execute("PRAGMA synchronous").fetchone()
        self.connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.connection.execute(f"PRAGMA synchronous={synchronous}")

    def checkpoint(self) -> None:
        """Write the log back to the file, so that the next commits begin it again; harmless where that fails."""
        with contextlib.suppress(sqlite3.Error):  # a commit makes one in the end
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def require_in_place(self) -> None:
        """Raise :class:`StoreFault` if a file that is open for writing was removed or replaced."""
        for path in self._missing():
            if path == self.head.path:
                self.head.open_for_writing()  # the next record is written to it
                self._in_place[path] = _identity(path)
            else:
                raise StoreFault(
                    f"{path} was removed or replaced while the pool manager uses it. Kernels keep running. Put back "
                    "what was there, and the pool goes on by itself; an older copy would lose leases."
                )

    def restore_log(self) -> None:
        """Make the log again if it alone was removed: what it held goes to the file, which is synced, first."""
        if self._missing() != [log_of(self.path)]:
            return
        (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            self.connection.close()
            self._open_for_writing()

    def _missing(self) -> list[Path]:
        """Return what was removed or replaced."""
        missing = []
        for path, identity in self._in_place.items():
            try:
                if _identity(path) != identity:
                    missing.append(path)
            except OSError:
                missing.append(path)
        return missing

    def close(self) -> None:
        """Close the file; one that was only read stays as it is, to the byte."""
        try:
            self.connection.close()
        finally:
            self.head.close()
            self._in_place = {}

    def fault(self, what: str, error: Exception) -> StoreFault:
        """Return the fault that the journal ``what`` because of ``error``."""
        return StoreFault(
            f"The journal {self.path} {what} ({error}). What it holds was kept as it is, and kernels keep running. "
            "Free or repair the disk; the pool then goes on by itself or by `jupyter fastgpu pool`."
        )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that cannot write, for another thread than the writer's."""
    with contextlib.closing(_read_only(path)) as connection:
        yield connection


def insert_rows(connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]], clause: str = "") -> None:
    """Insert ``rows`` by few statements of many rows, each ``insert`` with values and ``clause``.

    With one statement a row, this thread would give up the interpreter and wait for it again at each. The numbers of
    rows are powers of two, so that few statements are prepared.
    """
    first = 0
    while first < len(rows):
        count = 1 << min(ROWS_LOG2_MAX, (len(rows) - first).bit_length() - 1)
        part = rows[first : first + count]
        values = ", ".join([f"({', '.join('?' * len(part[0]))})"] * count)
        connection.execute(f"{insert} {values} {clause}", [value for row in part for value in row])
        first += count


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
