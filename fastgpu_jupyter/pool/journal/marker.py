"""Small files outside the state folder that say that there is a journal in it, so that its absence is noticed.

A pool that starts with an empty journal takes all devices for free. That is right for the first start only: not where
the folder was removed, is not mounted, or has another name than yesterday.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ...errors import StoreFault
from ...wire.private_files import sync_folder


class _Content(msgspec.Struct):
    journal: str  #: the path of the journal


class Markers:
    """The files in ``paths`` that say where the journal ``journal`` is; one of them is enough."""

    def __init__(self, journal: Path, paths: Sequence[Path]) -> None:
        self._journal = journal.absolute()
        self._paths = paths

    def require_first_start(self) -> None:
        """Raise :class:`StoreFault` if a file says that there was a journal. Call it where there is none."""
        for path in self._paths:
            if _read(path) == str(self._journal):
                raise StoreFault(
                    f"There is no journal at {self._journal}, and {path} says that there was one. No pool was "
                    "started, so that no lease is forgotten and no GPU is leased twice. Put the journal back, or mount "
                    "its folder. If what it held may be forgotten, run `jupyter fastgpu pool --start-empty`."
                )

    def write(self) -> bool:
        """Make every file say that there is a journal, as far as that is possible; return whether one does."""
        written = False
        for path in self._paths:
            if _read(path) != str(self._journal):
                with contextlib.suppress(OSError):  # such as a folder that only root may write to
                    _write(path, str(self._journal))
            written |= _read(path) == str(self._journal)
        return written


def marker_paths(state_dir: Path, socket_path: Path) -> tuple[Path, Path]:
    """Return where the markers of a pool are: beside its state folder, and beside its socket."""
    state_dir = state_dir.absolute()
    return (
        state_dir.with_name(f".{state_dir.name}.journal"),
        socket_path.absolute().with_name(f".{socket_path.name}.journal"),
    )


def _read(path: Path) -> str | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Content).journal
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, journal: str) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.ExitStack() as failed:
        failed.callback(new.unlink, missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(_Content(journal)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
        failed.pop_all()
    sync_folder(path.parent)
