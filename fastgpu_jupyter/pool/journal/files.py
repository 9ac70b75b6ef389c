"""Files of the journal: their names, and copies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...wire.private_files import sync_folder
from .chain import head_of

#: The name of the lock of a state folder.
LOCK = "lock"


def log_of(path: Path) -> Path:
    """Return the path of SQLite's write-ahead log of a journal."""
    return path.with_name(f"{path.name}-wal")


def lock_of(path: Path) -> Path:
    """Return the path of the lock that the pool manager holds while it uses a journal."""
    return path.with_name(LOCK)


def copy_journal(path: Path, target: Path) -> None:
    """Copy the file, the log and the head of a journal that is not open to ``target``, durably and to the byte.

    SQLite's index of the log is left out, because SQLite makes it again.
    """
    for name in (lambda journal: journal, log_of, head_of):
        source = name(path)
        if not source.exists():
            continue
        copy = os.open(name(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with source.open("rb") as content, os.fdopen(copy, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(target.parent)
