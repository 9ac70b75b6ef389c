"""The files between the dispatcher and the runner of a job: what is to be done, what has begun, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...wire.private_files import sync_folder
from .. import places
from ..results import open_own

if TYPE_CHECKING:
    from ...wire.schemas.jobs import HandOver, JobOutcome

#: The space that is kept for the outcome, so that it can be written on a full disk.
RESERVED_BYTES = 64 * 1024
_RESERVE = "outcome.reserve"
_START_BYTES_MAX = 64 * 2**20
#: What of a traceback has room on a full disk.
_SHORT_LINES, _SHORT_CHARS = 20, 400


def read_start(folder: Path) -> HandOver:
    """Return what the runner is to do, and remove the token of the lease from the file.

    Raises :class:`OSError`, :class:`ValueError` and :class:`~fastgpu_jupyter.errors.Forbidden` for a file that is not
    what the dispatcher writes.
    """
    path = folder / places.START
    with os.fdopen(open_own(path), "rb") as file:
        start = json.loads(file.read(_START_BYTES_MAX))
    without = {**start, "lease": {**start["lease"], "token": None}}
    with contextlib.suppress(OSError):  # the disk is full: the folder is the user's own
        write_durably(path, without)
    return cast("HandOver", start)


def reserve(folder: Path, *, synced: bool = True) -> None:
    """Take the space for the outcome now. Raises :class:`OSError` where the disk is full already."""
    with _private(folder / _RESERVE) as file:
        file.write(b" " * RESERVED_BYTES)
        file.flush()
        if synced:
            os.fsync(file.fileno())


def note_begin(folder: Path, attempt: int) -> None:
    """Record that the work of an attempt begins. Raises :class:`OSError`."""
    write_durably(folder / places.WORK, {"attempt": attempt})


def write_outcome(folder: Path, outcome: JobOutcome, *, synced: bool = True) -> None:
    """Record how the attempt ended, on a full disk as well: then in the reserved space, and in fewer words."""
    path = folder / places.OUTCOME
    try:
        write_durably(path, outcome, synced=synced)
        with contextlib.suppress(OSError):
            (folder / _RESERVE).unlink()
        return
    except OSError:
        content = json.dumps(_shortened(outcome)).encode()
    with (folder / _RESERVE).open("r+b") as file:
        file.write(content.ljust(RESERVED_BYTES))  # blanks after an object are JSON
        file.flush()
        os.fsync(file.fileno())
    (folder / _RESERVE).replace(path)
    sync_folder(folder)


def write_durably(path: Path, value: Mapping[str, Any], *, synced: bool = True) -> None:
    """Write a JSON object so that a reader finds all of it or what was there before; ``synced``: after a power cut."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with _private(new) as file:
            file.write(json.dumps(value).encode())
            file.flush()
            if synced:
                os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    if synced:
        sync_folder(path.parent)


def _private(path: Path) -> Any:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _shortened(outcome: JobOutcome) -> dict[str, Any]:
    """Return the outcome in less than the reserved space."""
    short: dict[str, Any] = {**outcome, "opened": None, "notes": list(outcome.get("notes", []))[:4]}
    error = outcome.get("error")
    if error is not None:
        lines = [line[:_SHORT_CHARS] for line in error["traceback"][-_SHORT_LINES:]]
        short["error"] = {"name": error["name"][:_SHORT_CHARS], "text": error["text"][:2000], "traceback": lines}
    return short
