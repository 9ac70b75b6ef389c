"""The SQLite file with what is known of every job. The dispatcher is its only writer.

A record is written before a job is acknowledged or started. What is committed survives the end of the process; with
``synced`` it also survives a loss of power.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...errors import Message, StoreFault
from .. import places
from ..model import UNFINISHED
from .record import JobRecord

#: The version of the tables and of the records in them.
FORMAT = 1
#: Marks the file as a store of FastGPU's jobs ("FGJB").
APPLICATION_ID = 0x46474A42
_SCHEMA = f"""
    CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT NOT NULL, record BLOB NOT NULL) STRICT;
    CREATE INDEX job_by_state ON job (state);
    CREATE TABLE body (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE TABLE cached (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, digest TEXT NOT NULL, entry BLOB NOT NULL, used_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX cached_by_use ON cached (kind, used_at);
    CREATE INDEX cached_by_digest ON cached (digest);
    CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO number VALUES ('last_id', 0), ('starts', 0);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {FORMAT};
"""  # noqa: S608 (constants)
#: Where the file has its version and its application, in four bytes each.
_VERSION_AT, _APPLICATION_AT = 60, 68
#: Pages of the write-ahead log, 8 MiB, after which they are moved into the file, which syncs in any case.
WAL_PAGES_MAX = 2048


class JobStore:
    """The store in ``folder``, which is created if there is none.

    Raises :class:`StoreFault` with a sentence if it cannot be used, and for each write that fails: then nothing of it
    is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / places.DATABASE
        _require_readable_format(self.path)
        self.is_new = not self.path.exists() or not self.path.stat().st_size
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self.path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._fault(error) from error
        try:
            self._prepare()
            self.id = _store_id(folder)
        except (OSError, sqlite3.Error) as error:
            self._db.close()
            raise self._fault(error) from error
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise _newer(self.path, version)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._synced = True
        self._db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES_MAX}")
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        self._db.execute("UPDATE number SET value = value + 1 WHERE name = 'starts'")

    # -- reading -------------------------------------------------------------------------------------------------------

    def jobs(self) -> Iterator[JobRecord]:
        """Yield all jobs by id."""
        decoder = msgspec.json.Decoder(JobRecord)
        for (record,) in self._db.execute("SELECT record FROM job ORDER BY id"):
            yield decoder.decode(record)

    def body(self, job_id: int) -> dict[str, Any]:
        """Return what was submitted as a job."""
        row = self._db.execute("SELECT body FROM body WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise StoreFault(Message.of("jobs.store_lacks_body", number=job_id, path=str(self.path)))
        found: dict[str, Any] = msgspec.json.decode(row[0])
        return found

    def number(self, name: str) -> int:
        """Return a counter: ``last_id``, or ``starts`` of dispatchers."""
        (value,) = self._db.execute("SELECT value FROM number WHERE name = ?", (name,)).fetchone()
        return int(value)

    # -- writing -------------------------------------------------------------------------------------------------------

    def add(self, job: JobRecord, body: bytes, *, synced: bool = True) -> None:
        """Write a new job with what was submitted."""
        with self._transaction(synced=synced):
            self._put(job)
            self._db.execute("INSERT INTO body VALUES (?, ?)", (job.id, body))
            self._db.execute("UPDATE number SET value = max(value, ?) WHERE name = 'last_id'", (job.id,))

    def put(self, jobs: Iterable[JobRecord], *, synced: bool = True) -> None:
        """Write jobs, all of them or none."""
        with self._transaction(synced=synced):
            for job in jobs:
                self._put(job)

    def remove(self, job_ids: Iterable[int]) -> None:
        """Forget jobs and what was submitted."""
        with self._transaction():
            for job_id in job_ids:
                self._db.execute("DELETE FROM job WHERE id = ?", (job_id,))
                self._db.execute("DELETE FROM body WHERE id = ?", (job_id,))

    # -- the index of the cache ----------------------------------------------------------------------------------------

    def cached(self, key: str) -> bytes | None:
        """Return the entry of a cache key."""
        row = self._db.execute("SELECT entry FROM cached WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def cached_like(self, kind: str, limit: int) -> list[bytes]:
        """Return the entries of one kind of job that were used last."""
        query = "SELECT entry FROM cached WHERE kind = ? ORDER BY used_at DESC LIMIT ?"
        return [bytes(row[0]) for row in self._db.execute(query, (kind, limit))]

    def put_cached(self, key: str, kind: str, digest: str, entry: bytes, now_ms: int) -> None:
        """Write the entry of a cache key, in place of any earlier one."""
        with self._transaction(synced=False):
            row = (key, kind, digest, entry, now_ms)
            self._db.execute("INSERT OR REPLACE INTO cached VALUES (?, ?, ?, ?, ?)", row)

    def use_cached(self, key: str, now_ms: int) -> None:
        """Note that an entry was used now."""
        with self._transaction(synced=False):
            self._db.execute("UPDATE cached SET used_at = ? WHERE key = ?", (now_ms, key))

    def forget_cached(self, before_ms: int) -> set[str]:
        """Remove the entries that were last used before an instant; return the digests of their results."""
        with self._transaction(synced=False):
            rows = self._db.execute("DELETE FROM cached WHERE used_at < ? RETURNING digest", (before_ms,)).fetchall()
        return {str(row[0]) for row in rows}

    def forget_cached_beyond(self, count: int) -> set[str]:
        """Remove all entries but the ``count`` that were used last; return the digests of their results."""
        query = "DELETE FROM cached WHERE key IN (SELECT key FROM cached ORDER BY used_at DESC LIMIT -1 OFFSET ?)"
        with self._transaction(synced=False):
            rows = self._db.execute(f"{query} RETURNING digest", (count,)).fetchall()
        return {str(row[0]) for row in rows}

    def forget_results(self, digests: Collection[str]) -> None:
        """Remove the entries of results that are not kept any more."""
        with self._transaction(synced=False):
            self._db.executemany("DELETE FROM cached WHERE digest = ?", ((digest,) for digest in digests))

    def cached_digests(self) -> set[str]:
        """Return the results that entries refer to."""
        return {str(row[0]) for row in self._db.execute("SELECT DISTINCT digest FROM cached")}

    def _put(self, job: JobRecord) -> None:
        row = (job.id, job.state.value, msgspec.json.encode(job))
        self._db.execute("INSERT OR REPLACE INTO job VALUES (?, ?, ?)", row)

    @contextlib.contextmanager
    def _transaction(self, *, synced: bool = True) -> Iterator[None]:
        try:
            if synced is not self._synced:
                self._db.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._fault(error) from error
        finally:
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file of the store."""
        self._db.close()

    def _fault(self, error: Exception) -> StoreFault:
        return StoreFault(Message.of("jobs.store_fault", path=str(self.path), reason=str(error)))


def may_have_unfinished(folder: Path) -> bool:
    """Return whether the store in ``folder`` has jobs that are not over; True where that cannot be read."""
    path = folder / places.DATABASE
    if not path.exists():
        return False
    query = "SELECT 1 FROM job WHERE state IN (SELECT value FROM json_each(?)) LIMIT 1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(query, [json.dumps(sorted(UNFINISHED))]).fetchone() is not None
    except sqlite3.Error:
        return True


def _require_readable_format(path: Path) -> None:
    """Raise :class:`StoreFault` for a file of a newer version or of another program; it stays as it is to the byte."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreFault(Message.of("jobs.store_fault", path=str(path), reason=str(error))) from error
    version = int.from_bytes(head[_VERSION_AT : _VERSION_AT + 4])
    application = int.from_bytes(head[_APPLICATION_AT : _APPLICATION_AT + 4])
    if version > FORMAT and application == APPLICATION_ID:
        raise _newer(path, version)
    if head and application not in (0, APPLICATION_ID):
        raise StoreFault(Message.of("jobs.store_foreign", path=str(path)))


def _newer(path: Path, version: int) -> StoreFault:
    return StoreFault(Message.of("jobs.store_newer", path=str(path), theirs=version, ours=FORMAT))


def _store_id(folder: Path) -> str:
    """Return the name of the store, which is drawn when it is made."""
    path = folder / places.STORE_ID
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_text().strip():
            return found[:32]
    whole = path.with_suffix(".new")
    whole.write_text(secrets.token_hex(6))
    whole.replace(path)
    return path.read_text()
