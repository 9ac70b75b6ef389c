"""Idempotency keys in the journal, each with the lease that it was answered with and with the first answer itself.

The key is written together with the events of its command, so that the command is never carried out twice. The answer
is written with it if it is known by then, else right after; always before it is sent. A crash in between loses the
answer only, and the repeated command is answered with what there is then.

Answers are compressed with earlier ones as the dictionary, because they are much alike: 1.4 KB become less than 100
bytes.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ...errors import StoreFault
from .database import Database, insert_rows

_CHECK_BYTES = 8
#: Removes the oldest keys of each user beyond a number; a key begins with its user.
_OVER_LIMIT = """
    DELETE FROM answer WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, row_number() OVER (PARTITION BY substr(key, 1, instr(key, ':')) ORDER BY rowid DESC) AS age
            FROM answer
        ) WHERE age > ?
    )
"""

#: Adds rows. Of a key that is there only a first answer that is missing is added.
_INSERT = "INSERT INTO answer (key, lease_id, ms, seal, dictionary, body) VALUES"
_UPDATE_FIRST = (
    "ON CONFLICT (key) DO UPDATE SET dictionary = excluded.dictionary, body = excluded.body WHERE answer.body IS NULL"
)
#: Removes the dictionaries of no answer; the newest stays.
_UNUSED_DICTIONARIES = """
    DELETE FROM dictionary WHERE id < (SELECT max(id) FROM dictionary)
        AND id NOT IN (SELECT dictionary FROM answer WHERE dictionary IS NOT NULL)
"""
#: Bytes of a dictionary, within zlib's window; how many there are at most; by how much one that suits compresses.
WINDOW_BITS = 13
DICTIONARY_BYTES_MAX = 7 * 2**10
DICTIONARIES_MAX = 64
SUITS = 4


class FirstAnswer(NamedTuple):
    """The answer to the first request with a key."""

    status: int
    body: bytes


class AnsweredKey(NamedTuple):
    """A key, the lease it was answered with, the time of the decision, and the first answer if it is known by now."""

    key: str
    lease_id: str
    ms: int
    first: FirstAnswer | None = None


class _Dictionary:
    """Some earlier answers, one behind the other; a row of the table ``dictionary``."""

    def __init__(self, number: int, content: bytes) -> None:
        self.id = number
        self.content = content
        # Small buffers: to make those of zlib's default size would take ten times as long as to fill them.
        self._primed = zlib.compressobj(6, wbits=WINDOW_BITS, memLevel=5, zdict=content)

    def compress(self, content: bytes) -> bytes:
        """Return ``content`` compressed, by a copy of a compressor that has read the dictionary already."""
        compressor = self._primed.copy()
        return compressor.compress(content) + compressor.flush()


class AnswerTable:
    """The table of keys in the journal; used in the thread of the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dictionary: _Dictionary | None = None  #: the newest, once it was read

    def lease_ids(self) -> dict[str, str]:
        """Return the lease id that each key was answered with, oldest first; empty for commands about no lease.

        Raises :class:`StoreFault` if a row is damaged.
        """
        found: dict[str, str] = {}
        sha256 = hashlib.sha256  # as in answer_seal, but there may be very many
        try:
            for key, lease_id, seal in self._database.connection.execute(
                "SELECT key, lease_id, seal FROM answer ORDER BY rowid"
            ):
                if sha256(f"{key}\0{lease_id}".encode()).digest() != seal:
                    raise StoreFault(
                        f"The journal {self._database.path} is damaged: the answer to a request is not what was "
                        "written. Nothing was changed, and kernels that run now keep running. `jupyter fastgpu fsck` "
                        "can leave it out."
                    )
                found[key] = lease_id
        except (sqlite3.Error, TypeError, AttributeError) as error:
            raise self._database.fault("cannot be read", error) from error
        return found

    def insert(self, answers: Iterable[AnsweredKey]) -> None:
        """Add keys in the transaction that is open; one that is there stays as it is, as does its first answer."""
        rows = [
            (key, lease_id, ms, answer_seal(key, lease_id), *self._kept(key, first))
            for key, lease_id, ms, first in answers
        ]
        insert_rows(self._database.connection, _INSERT, rows, _UPDATE_FIRST)

    def _kept(self, key: str, first: FirstAnswer | None) -> tuple[int | None, bytes | None]:
        """Return the columns ``dictionary`` and ``body``."""
        if first is None:
            return None, None
        content = b"%d\0%s" % first
        dictionary, compressed = self._compress(content)
        return dictionary.id, _check(key, content) + compressed

    def keep_first(self, answers: Iterable[tuple[str, FirstAnswer]]) -> None:
        """Keep the answers to first requests, by key; one that has an answer, or is not known, stays as it is.

        A process that is killed right after it keeps them; after a power cut they may be missing. Raises
        :class:`StoreFault`.
        """
        connection = self._database.connection
        try:
            with self._database.unsynced():  # the keys are on disk, which is what must not be lost
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "UPDATE answer SET dictionary = ?, body = ? WHERE key = ? AND body IS NULL",
                    [(*self._kept(key, answer), key) for key, answer in answers],
                )
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.undo()
            raise self._database.fault("cannot be written", error) from error

    def undo(self) -> None:
        """Forget what was not written, because the transaction was rolled back."""
        self._dictionary = None  # it may be one that was not written

    def _compress(self, content: bytes) -> tuple[_Dictionary, bytes]:
        """Return ``content`` compressed, and the dictionary; one that does not suit it is followed by a new one."""
        dictionary = self._dictionary or self._newest_dictionary()
        compressed = dictionary.compress(content)
        if len(compressed) > len(content) // SUITS and dictionary.id < self._oldest_dictionary() + DICTIONARIES_MAX:
            dictionary = _Dictionary(dictionary.id + 1, (dictionary.content + content)[-DICTIONARY_BYTES_MAX:])
            row = (dictionary.id, dictionary.content)
            self._database.connection.execute("INSERT INTO dictionary VALUES (?, ?)", row)
            compressed = dictionary.compress(content)
        self._dictionary = dictionary
        return dictionary, compressed

    def _newest_dictionary(self) -> _Dictionary:
        row = self._database.connection.execute(
            "SELECT id, content FROM dictionary ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return _Dictionary(*row) if row else _Dictionary(0, b"")

    def _oldest_dictionary(self) -> int:
        return int(self._database.connection.execute("SELECT coalesce(min(id), 0) FROM dictionary").fetchone()[0])

    def first(self, key: str) -> FirstAnswer | None:
        """Return the answer to the first request with ``key``, or ``None`` if it is not known or damaged."""
        try:
            row = self._database.connection.execute(
                "SELECT body, content FROM answer LEFT JOIN dictionary ON dictionary.id = dictionary WHERE key = ?",
                (key,),
            ).fetchone()
            if row is None or row[0] is None:
                return None
            check, compressed = row[0][:_CHECK_BYTES], row[0][_CHECK_BYTES:]
            content = zlib.decompressobj(zdict=row[1] or b"").decompress(compressed)
            status, _, body = content.partition(b"\0")
            return FirstAnswer(int(status), body) if check == _check(key, content) else None
        except (sqlite3.Error, zlib.error, TypeError, ValueError):
            return None

    def forget(self, before_ms: int, keep: int) -> int:
        """Remove keys from before ``before_ms`` and the oldest of each user beyond ``keep``; return their number."""
        connection = self._database.connection
        try:
            # Rows are in the order of time, so that only those that go are read.
            (newest_old,) = connection.execute(
                "SELECT max(rowid) FROM answer WHERE rowid < "
                "coalesce((SELECT rowid FROM answer WHERE ms >= ? ORDER BY rowid LIMIT 1), 1 << 62)",
                (before_ms,),
            ).fetchone()
            removed = connection.execute("DELETE FROM answer WHERE rowid <= ?", (newest_old or 0,)).rowcount
            (left,) = connection.execute("SELECT count(*) FROM answer").fetchone()
            removed += connection.execute(_OVER_LIMIT, (keep,)).rowcount if left > keep else 0
            if removed:
                connection.execute(_UNUSED_DICTIONARIES)
            return removed
        except sqlite3.Error as error:
            raise self._database.fault("cannot be written", error) from error


def _check(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).digest()[:_CHECK_BYTES]


def answer_seal(key: str, lease_id: str) -> bytes:
    """Return the seal of an answer, which reveals damage."""
    return hashlib.sha256(f"{key}\0{lease_id}".encode()).digest()
