"""The journal: an append-only table in which each record seals all records before it (:mod:`.chain`).

A start needs the newest snapshot of the state and the records behind it. Records before the oldest snapshot that is
kept move to compressed files (:mod:`.archive`): the whole history stays, for statements and for versions that cannot
read the snapshot, and the file stays small.

An append waits for the disk, so the journal is not for the event loop's thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ... import __version__
from ...core.model.entities import Instant, State
from ...core.model.events import Event
from ...errors import StoreFault
from . import database as database_module
from .answers import AnsweredKey, AnswerTable, FirstAnswer
from .archive import PART_RECORDS, Archive, Part
from .chain import GENESIS
from .chain import seal as seal_after
from .codec import Record, decode, decode_state, encode
from .database import Database, insert_rows

#: Snapshots that are kept: the newest, and one in case it is damaged.
SNAPSHOTS_KEPT = 2
PAGE_BYTES = 4096  #: of SQLite

Row = tuple[int, bytes, bytes]  #: number, payload and seal of a record


class Entry(NamedTuple):
    """The events of one command on their way to disk; ``key`` makes a repeated command find the lease again.

    ``answer`` is what the command is answered with, if that is known by now; it can also follow in an entry without
    events.
    """

    at: Instant
    events: list[Event]
    key: str | None = None
    lease_id: str | None = None
    answer: FirstAnswer | None = None


class Journal:
    """The open journal in ``path``. Raises :class:`StoreFault` if the file cannot be opened.

    Nothing on disk changes until something is written. ``archive_folder`` has the archive if that is not beside it.
    """

    def __init__(self, path: Path, archive_folder: Path | None = None) -> None:
        self.path = path.absolute()
        self.seq = 0
        self.replayed_after = 0  #: the record after which the newest replay began
        self._seal = GENESIS
        self._log_pages = 0  #: about how many the log has
        self._database = Database(self.path)
        self._archive = Archive(self.path, archive_folder)
        self.answers = AnswerTable(self._database)

    @property
    def _db(self) -> sqlite3.Connection:
        return self._database.connection

    @property
    def id(self) -> str:
        """What distinguishes this journal, and so its pool, from any other."""
        return self._database.id

    # -- reading ------------------------------------------------------------------------------------------------------

    def replay(self, after: int = 0) -> Iterator[Record]:
        """Yield the records after number ``after`` in order, each verified against the chain before it is decoded.

        Raises :class:`StoreFault`, which names the first damaged record; nothing is repaired or skipped.
        """
        self.replayed_after = after
        self.seq, self._seal = after, self._seal_at(self._db, after)
        for seq, payload, seal in self._chain(self._db, after):
            self.seq, self._seal = seq, seal
            yield self._decode(seq, payload)

    def _decode(self, seq: int, payload: bytes) -> Record:
        """Return a record. Raises :class:`StoreFault`, which names the version that wrote what this one cannot read."""
        try:
            return decode(payload)
        except StoreFault as error:
            raise StoreFault(
                f"Record {seq} of the journal {self.path} is not one that FastGPU {__version__} can read: {error} The "
                f"journal was last written by FastGPU {self._database.written_by() or 'of an unknown version'}. "
                "Nothing was changed. Use that version."
            ) from error

    def verify(self, *, archive: bool = True) -> int:
        """Verify the chain without decoding it, and return the number of records. May run beside the writer.

        Without ``archive``, only the records that are not archived. Raises :class:`StoreFault`, which names the first
        damaged record.
        """
        with database_module.reader(self.path) as db:
            return sum(1 for _ in self._chain(db, 0 if archive else self._archived(db)))

    def history(self) -> Iterator[Record]:
        """Yield every record from the first on, verified. May run beside the writer, in another thread."""
        with database_module.reader(self.path) as db:
            for seq, payload, _ in self._chain(db, 0):
                yield self._decode(seq, payload)

    def last_seq(self) -> int:
        """Return the number of the newest record, sound or not."""
        try:
            newest = self._db.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0]
            return max(int(newest), self._archived(self._db))
        except sqlite3.Error as error:
            raise self._database.fault("cannot be read", error) from error

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever written to it."""
        return not self.last_seq() and not self._database.head.read()[0]

    @property
    def unarchived(self) -> int:
        """The number of records that are not archived, once the journal was replayed."""
        return self.seq - self._archived(self._db)

    def _chain(self, db: sqlite3.Connection, after: int) -> Iterator[Row]:
        """Yield the records after number ``after``, verified."""
        head, head_seal = self._database.head.read()  # before the rows: a writer may go on meanwhile
        before, seal_before = after, self._seal_at(db, after)
        try:
            for seq, payload, seal in self._rows(db, after, seal_before):
                if seq != before + 1 or seal_after(seal_before, payload) != seal:
                    raise self._damaged(before + 1)
                if seq == head and seal != head_seal:
                    raise self._damaged(seq)
                yield seq, payload, seal
                before, seal_before = seq, seal
        except (sqlite3.Error, TypeError) as error:
            raise self._database.fault("cannot be read", error) from error
        if before < head:
            raise StoreFault(
                f"The journal {self.path} is damaged at record {before + 1}: it ends there, and record {head} was "
                "written. Its log was damaged, or an older copy was put in its place. Nothing was changed, and kernels "
                "that run now keep running. `jupyter fastgpu fsck` explains the damage and what can be done."
            )

    def _rows(self, db: sqlite3.Connection, after: int, seal_before: bytes) -> Iterator[Row]:
        """Yield the rows after number ``after``: those of the archive, then those of the table."""
        while True:
            parts = db.execute("SELECT * FROM archive WHERE last > ? ORDER BY first", (after,)).fetchall()
            for part in parts:
                for row in self._archive.records(Part(*part), seal_before):
                    yield row
                    after, _, seal_before = row
            rows = db.execute("SELECT seq, payload, seal FROM record WHERE seq > ? ORDER BY seq", (after,))
            first = rows.fetchone()
            # The writer may have archived the next record meanwhile; otherwise a gap is damage.
            if first is None or first[0] == after + 1 or self._archived(db) <= after:
                break
        if first is not None:
            yield first
            yield from rows

    def _seal_at(self, db: sqlite3.Connection, seq: int) -> bytes:
        if seq == 0:
            return GENESIS
        for table, number in (("record", "seq"), ("archive", "last")):
            row = db.execute(f"SELECT seal FROM {table} WHERE {number} = ?", (seq,)).fetchone()  # noqa: S608 (fixed)
            if row is not None:
                return bytes(row[0])
        raise self._damaged(seq)

    def _archived(self, db: sqlite3.Connection) -> int:
        try:
            return int(db.execute("SELECT coalesce(max(last), 0) FROM archive").fetchone()[0])
        except sqlite3.Error as error:
            raise self._database.fault("cannot be read", error) from error

    def _damaged(self, seq: int) -> StoreFault:
        return StoreFault(
            f"The journal {self.path} is damaged at record {seq}: what is stored there is not what was written. "
            "Nothing was changed, and kernels that run now keep running. `jupyter fastgpu fsck` explains the damage "
            "and what can be done; a backup of the file can be put in its place."
        )

    # -- snapshots and the archive ------------------------------------------------------------------------------------

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """Yield the undamaged snapshots, newest first, each with the number of the record after which it was taken."""
        query = (
            "SELECT snapshot.seq, snapshot.payload, snapshot.seal, record.seal FROM snapshot JOIN record USING (seq) "
            "ORDER BY snapshot.seq DESC"
        )
        try:
            for seq, payload, seal, record_seal in self._db.execute(query):
                if seal_after(record_seal, payload) == seal:
                    yield seq, zlib.decompress(payload)
        except (sqlite3.Error, TypeError) as error:
            raise self._database.fault("cannot be read", error) from error

    def newest_snapshot(self) -> tuple[int, State]:
        """Return the newest state that this version can read, and the number of its record; 0 for an empty state."""
        usable = ((seq, decode_state(payload)) for seq, payload in self.snapshots())
        return next(((seq, state) for seq, state in usable if state is not None), (0, State()))

    def snapshot(self, payload: bytes) -> None:
        """Store the state after the newest record, so that a start need not replay the records before."""
        if not self.seq:
            return
        compressed = zlib.compress(payload, 1)
        row = (self.seq, compressed, seal_after(self._seal, compressed))
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", row)
            db.execute(
                "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)",
                (SNAPSHOTS_KEPT,),
            )

    def archive_part(self) -> bool:
        """Move :data:`PART_RECORDS` records before the oldest snapshot to the archive; return whether there were any.

        They are in the archive, on disk, before they leave the journal. Raises :class:`StoreFault`.
        """
        self._database.require_in_place()
        newest = self._db.execute("SELECT * FROM archive ORDER BY first DESC LIMIT 1").fetchone()
        newest = Part(*newest) if newest else None
        # The record of a snapshot stays, because its seal is that of the snapshot, too.
        rows = self._db.execute(
            "SELECT seq, payload, seal FROM record WHERE seq < (SELECT min(seq) FROM snapshot) ORDER BY seq LIMIT ?",
            (PART_RECORDS,),
        ).fetchall()
        if len(rows) < PART_RECORDS:
            return False
        seq, seal = (newest.last, newest.seal) if newest else (0, GENESIS)
        for number, payload, sealed in rows:
            seq, seal = seq + 1, seal_after(seal, payload)
            if (number, sealed) != (seq, seal):
                raise self._damaged(seq)
        try:
            part = self._archive.append(newest, rows[0][0], [payload for _, payload, _ in rows], seal)
        except OSError as error:
            raise self._database.fault("cannot be archived", error) from error
        with self._transaction() as db:
            db.execute("INSERT INTO archive VALUES (?, ?, ?, ?, ?, ?)", part)
            db.execute("DELETE FROM record WHERE seq <= ?", (part.last,))
        return True

    # -- writing ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that is committed at the end of the block. Raises :class:`StoreFault`."""
        try:
            self._database.begin_writing()
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._database.fault("cannot be written", error) from error

    def append(self, entries: Iterable[Entry]) -> None:
        """Make ``entries`` durable, all or none. Raises :class:`StoreFault` if they are not, or if that is unknown.

        After a failure the same entries may be appended again, with others behind them: those that are there already,
        because a write was reported as failed though it was done, are not written twice.
        """
        self.require_in_place()
        seq, seal = self.seq, self._seal
        rows, answers = [], []
        for entry in entries:
            if entry.events:
                payload = encode(entry.at, entry.events)
                seq, seal = seq + 1, seal_after(seal, payload)
                rows.append((seq, payload, seal))
            if entry.key is not None:
                answers.append(AnsweredKey(entry.key, entry.lease_id or "", entry.at.ms, entry.answer))
        try:
            self._insert(rows, answers)
        except (OSError, sqlite3.Error):
            self._shrink_log()
            try:
                self._insert(self._missing(rows), answers)
            except (OSError, sqlite3.Error) as error:
                if not rows or self._missing(rows):
                    raise self._database.fault("cannot be written", error) from error
        self.require_in_place()  # also after the commit: what was written to a removed file is gone with the process
        self.seq, self._seal = seq, seal
        if rows:
            self._database.head.write(seq, seal)

    def require_in_place(self) -> None:
        """Raise :class:`StoreFault` if the journal, its log, its head or its folder was removed or replaced."""
        self._database.require_in_place()

    def _missing(self, rows: list[Row]) -> list[Row]:
        """Return those of ``rows`` that are not on disk. Raises :class:`StoreFault` if that cannot be read."""
        try:
            there = dict(self._db.execute("SELECT seq, seal FROM record WHERE seq > ?", (self.seq,)))
        except sqlite3.Error as error:
            raise self._database.fault("cannot be read", error) from error
        return [row for row in rows if there.get(row[0]) != row[2]]

    def _insert(self, rows: list[Row], answers: list[AnsweredKey]) -> None:
        self._database.begin_writing()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            insert_rows(self._db, "INSERT INTO record VALUES", rows)
            self.answers.insert(answers)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.answers.undo()
            raise
        # A page of each tree, those of the records, and for each key, which is anywhere in the index, two.
        payload_bytes = sum(len(payload) for _, payload, _ in rows)
        self._log_pages += 3 + payload_bytes // PAGE_BYTES + 2 * len(answers)

    @property
    def checkpoint_due(self) -> bool:
        """Whether :meth:`checkpoint` is to be called when no caller waits for the journal."""
        return self._log_pages >= database_module.WAL_PAGES_MAX

    def checkpoint(self) -> None:
        """Write the log back."""
        self._log_pages = 0
        self._database.checkpoint()

    def require_room(self, room_bytes: int) -> None:
        """Raise :class:`StoreFault` unless ``room_bytes`` more can be written.

        Otherwise a full disk would be taken for writable because one record just fits.
        """
        try:
            self._database.begin_writing()
            self._database.restore_log()
            self.require_in_place()
            self._shrink_log()
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO record VALUES (0, zeroblob(?), x'')", (room_bytes,))
            self._db.execute("ROLLBACK")
            disk = os.statvfs(self.path)
        except (OSError, sqlite3.Error) as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._database.fault("cannot be written", error) from error
        if disk.f_frsize * (disk.f_bavail if os.geteuid() else disk.f_bfree) < room_bytes:
            raise self._database.fault("cannot be written", OSError("the disk is full"))

    def _shrink_log(self) -> None:
        """Write the log back and truncate it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; all records are on disk already. One that was only read stays as it is, to the byte."""
        self._database.close()
