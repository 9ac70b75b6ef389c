"""``jupyter fastgpu fsck``: verify a journal, explain its damage, export it, and cut off a damaged end.

A journal is examined in a copy, so that nothing of it changes. Nothing is cut unless that is requested; then the file,
its log and its head are copied first, to the byte. A cut is for a torn end (a disk that lost its last writes):
everything after the first damaged record is removed, because it cannot be trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from ...core.lease.invariants import violations
from ...core.model.entities import State
from ...core.pool import replay
from ...errors import FastGPUError, Message, StoreFault
from .answers import answer_seal
from .archive import ArchiveDamaged
from .chain import head_of
from .codec import Record
from .database import reader
from .files import LOCK, copy_journal
from .store import Journal

#: Records between two reports of progress.
REPORT_EVERY = 10_000


class Finding(NamedTuple):
    """The content of a journal, and its damage."""

    records: int  #: the sound ones, from the first on
    in_all: int
    leases: int
    damage: str | None  #: a sentence that names the damaged record
    violations: list[str]  #: of the state that the sound records add up to
    archive_damage: str | None = None  #: a sentence that names damaged records of the archive

    @property
    def sound(self) -> bool:
        """Whether the pool would serve this journal, with statements of all its time."""
        return self.damage is None and self.archive_damage is None and not self.violations


def examine(
    path: Path, progress: Callable[[int, int], None] = lambda *_: None, export: TextIO | None = None
) -> Finding:
    """Read a copy of the whole journal, and write each sound record to ``export`` as a line of JSON.

    ``progress`` is called with the number of records read and of all records. Raises :class:`StoreFault` if the file is
    no journal, or cannot be copied.
    """
    if not path.exists():
        raise StoreFault(Message.of("fsck.no_journal", path=str(path)))
    with tempfile.TemporaryDirectory(prefix="fastgpu-fsck-") as folder:
        copy = Path(folder) / path.name
        _copy(path, copy)
        try:
            with contextlib.closing(Journal(copy, archive_folder=path.parent)) as journal:
                found = _examine(journal, progress, export)
        except StoreFault as fault:
            raise StoreFault(str(fault).replace(str(copy), str(path))) from fault
    return found._replace(damage=found.damage and found.damage.replace(str(copy), str(path)))


def _examine(journal: Journal, progress: Callable[[int, int], None], export: TextIO | None) -> Finding:
    reading = _Reading(journal, progress, export)
    archive_damage = reading.read(State(), 0)
    if archive_damage is not None:  # the pool does not need the archive as long as it has a snapshot
        after, state = journal.newest_snapshot()
        reading.read(state, after)
    return Finding(
        reading.records,
        reading.in_all,
        len(reading.state.leases),
        reading.damage,
        [] if reading.damage else list(violations(reading.state)),
        archive_damage,
    )


class _Reading:
    """The records that were read, the state that they add up to, and the damage that ended it."""

    def __init__(self, journal: Journal, progress: Callable[[int, int], None], export: TextIO | None) -> None:
        self._journal, self._progress, self._export = journal, progress, export
        self.in_all = journal.last_seq()
        self.records = 0
        self.state = State()
        self.damage: str | None = None

    def read(self, state: State, after: int) -> str | None:
        """Read the records after number ``after``, and return the damage if it is in the archive."""
        self.state, self.records, self.damage = state, after, None
        try:
            for seq, record in enumerate(self._journal.replay(after), start=after + 1):
                replay(state, record.events, record.at)
                self._write(seq, record)
                self.records = seq
                if seq % REPORT_EVERY == 0:
                    self._progress(seq, self.in_all)
            self._journal.answers.lease_ids()
        except ArchiveDamaged as error:
            self.damage = str(error)
            return self.damage
        except FastGPUError as error:
            self.damage = str(error)
        except (KeyError, AssertionError) as error:
            self.damage = f"Record {self.records + 1} does not fit what came before it ({error!r})."
        self._progress(self.records, self.in_all)
        return None

    def _write(self, seq: int, record: Record) -> None:
        if self._export is not None:
            events = [{"type": type(event).__name__, **msgspec.to_builtins(event)} for event in record.events]
            line = {"seq": seq, "ms": record.at.ms, "wall_ms": record.at.wall_ms, "events": events}
            self._export.write(msgspec.json.encode(line).decode() + "\n")


def cut(path: Path, keep: int) -> Path:
    """Remove every record after number ``keep``, and return the copy of the file as it was.

    The log and the head are copied beside it, so that the copy is a journal like the original. Raises
    :class:`StoreFault`, and cuts nothing, if the copy fails.
    """
    number = next(n for n in range(1, 10_000) if not _backup(path, n).exists())
    backup = _backup(path, number)
    try:
        copy_journal(path, backup)
        with contextlib.closing(sqlite3.connect(path)) as db:
            with db:
                db.execute("DELETE FROM record WHERE seq > ?", (keep,))
                db.execute("DELETE FROM snapshot WHERE seq > ?", (keep,))
                for key, lease_id, seal in db.execute("SELECT key, lease_id, seal FROM answer").fetchall():
                    if answer_seal(key, lease_id) != seal:
                        db.execute("DELETE FROM answer WHERE key = ?", (key,))
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        head_of(path).unlink(missing_ok=True)  # it names the old end
    except (OSError, sqlite3.Error) as error:
        raise StoreFault(Message.of("fsck.not_cut", path=str(path), reason=str(error))) from error
    return backup


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def _copy(path: Path, copy: Path) -> None:
    """Copy a journal; one that a pool manager is writing is copied by SQLite, as it is at one instant."""
    try:
        if not _is_served(path.parent):
            copy_journal(path, copy)
            if not _is_served(path.parent):
                return
            for file in copy.parent.iterdir():  # a pool manager was started meanwhile
                file.unlink()
        if (head := head_of(path)).exists():  # before the records: it may be older than they are
            shutil.copyfile(head, head_of(copy))
        with reader(path) as source, contextlib.closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreFault(Message.of("fsck.not_copied", path=str(path), reason=str(error))) from error


def _is_served(folder: Path) -> bool:
    """Return whether a pool manager has the lock of the folder; nothing is created to find out."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
