"""``jupyter fastgpu fsck``: verify a journal, explain its damage, export it, and cut off a damaged end.

Nothing is changed unless a cut is requested; then the whole file is copied first. A cut is for a torn end (a disk that
lost its last writes): everything after the first damaged record is removed, because it cannot be trusted.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from ...core.lease.invariants import violations
from ...core.model.entities import State
from ...core.pool import replay
from ...errors import FastGPUError, StoreFault
from .store import Journal, answer_seal, head_of

#: Records between two reports of progress.
REPORT_EVERY = 10_000


class Finding(NamedTuple):
    """The content of a journal, and its damage."""

    records: int  #: the sound ones, from the first on
    in_all: int
    leases: int
    damage: str | None  #: a sentence that names the damaged record
    violations: list[str]  #: of the state that the sound records add up to

    @property
    def sound(self) -> bool:
        """Whether the pool would serve this journal."""
        return self.damage is None and not self.violations


def examine(
    path: Path, progress: Callable[[int, int], None] = lambda *_: None, export: TextIO | None = None
) -> Finding:
    """Read the whole journal, and write each sound record to ``export`` as a line of JSON.

    ``progress`` is called with the number of records read and of all records. Raises :class:`StoreFault` if the file is
    no journal.
    """
    with contextlib.closing(_read_only(path)) as journal:
        state, records, damage = State(), 0, None
        in_all = _count(path)
        try:
            for seq, record in enumerate(journal.replay(), start=1):
                replay(state, record.events, record.at)
                if export is not None:
                    events = [{"type": type(event).__name__, **msgspec.to_builtins(event)} for event in record.events]
                    line = {"seq": seq, "ms": record.at.ms, "wall_ms": record.at.wall_ms, "events": events}
                    export.write(msgspec.json.encode(line).decode() + "\n")
                records = seq
                if seq % REPORT_EVERY == 0:
                    progress(seq, in_all)
            journal.answers()
        except FastGPUError as error:
            damage = str(error)
        except (KeyError, AssertionError) as error:
            damage = f"Record {records + 1} does not fit what came before it ({error!r})."
    progress(records, in_all)
    return Finding(records, in_all, len(state.leases), damage, [] if damage else list(violations(state)))


def cut(path: Path, keep: int) -> Path:
    """Remove every record after number ``keep``, and return the copy of the file as it was.

    Raises :class:`StoreFault`, and cuts nothing, if the copy fails.
    """
    number = next(n for n in range(1, 10_000) if not _backup(path, n).exists())
    backup = _backup(path, number)
    try:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copyfile(path, backup)
            backup.chmod(0o600)
            with db:
                db.execute("DELETE FROM record WHERE seq > ?", (keep,))
                db.execute("DELETE FROM snapshot WHERE seq > ?", (keep,))
                for key, lease_id, seal in db.execute("SELECT key, lease_id, seal FROM answer").fetchall():
                    if seal is not None and answer_seal(key, lease_id) != seal:
                        db.execute("DELETE FROM answer WHERE key = ?", (key,))
        head_of(path).unlink(missing_ok=True)  # it names the old end
    except (OSError, sqlite3.Error) as error:
        raise StoreFault(f"The journal {path} was not cut: {error}.") from error
    return backup


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def _read_only(path: Path) -> Journal:
    if not path.exists():
        raise StoreFault(f"There is no journal at {path}; a pool manager that never ran has none.")
    return Journal(path)


def _count(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0])
