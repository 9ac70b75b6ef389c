"""The records of kernels that may outlive their Jupyter server: one file for each, which only the user may read.

A record belongs to the server that it names. While that server lives, no other process changes the record or uses the
kernel; when the server has ended, :func:`claim` lets exactly one other server become the one that is named. The folder
is that of the running system (:mod:`.host_identity`): process numbers mean nothing on another machine, after a reboot
or in another container.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import private_files
from .locate import kernel_file_stem, user_runtime_dir
from .process_identity import ProcessIdentity, identify, pids_started_with, read_identity
from .schemas.kept_kernel import REMOTE_VERSION, KeptKernel, RecordedProcess
from .variables import KEPT

_SUFFIX = ".json"
#: Larger files are no records, and of more files the rest is not looked at.
RECORD_BYTES_MAX = 2**18
RECORDS_MAX = 4096
#: How long a change of a record waits for another process, which needs milliseconds.
LOCK_S = 3.0
#: A process that was handed over to a kernel, or is being started as one, says within this time that it is the kernel.
STARTS_WITHIN_S = 10.0
#: A file younger than this may be in use by the process that writes it.
UNFINISHED_S = 60.0


class Found(NamedTuple):
    """A record and the file that it is in."""

    path: Path
    record: KeptKernel

    def kernel(self) -> ProcessIdentity | None:
        """Return the kernel's process: as recorded, else as the kernel itself says; None if neither is known."""
        if self.record.kernel is not None:
            return identity_of(self.record.kernel)
        return read_identity(identity_path(self.path))

    def may_start(self) -> bool:
        """Return whether the kernel's process, of which nothing is known, may be starting."""
        age_ms = time.time_ns() // 1_000_000 - self.record.created_at
        return age_ms < STARTS_WITHIN_S * 1000 or any(pids_started_with(KEPT, str(self.path)))

    def is_orphaned(self) -> bool:
        """Return whether the server of the kernel has ended; False where that is not known."""
        with suppress(OSError):
            return identity_of(self.record.server).has_ended()
        return False


def records_folder() -> Path:
    """Return the folder of the records; create it so that only its owner can enter it."""
    folder = user_runtime_dir() / "kernels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def record_path(kernel_id: str) -> Path:
    """Return the path of a kernel's record, whether or not it exists."""
    return records_folder() / f"{kernel_file_stem(kernel_id)}{_SUFFIX}"


def identity_path(record: Path) -> Path:
    """Return the path of the file in which the kernel itself says which process it is."""
    return record.with_suffix(".pid")


def identity_of(recorded: RecordedProcess) -> ProcessIdentity:
    """Return the identity of a recorded process."""
    return ProcessIdentity(recorded.boot_id, recorded.pid, recorded.start_time)


def recorded(pid: int) -> RecordedProcess | None:
    """Return process ``pid`` as a record names it; None if there is none. Raises :class:`OSError` where unknown."""
    found = identify(pid)
    return None if found is None else RecordedProcess(**found._asdict())


def this_process() -> RecordedProcess:
    """Return this process as a record names it. Raises :class:`OSError` where ``/proc`` does not have it."""
    own = recorded(os.getpid())
    if own is None:
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
    return own


def write(record: KeptKernel) -> Path:
    """Store ``record`` in place of the one before, and return its path; the caller is the server that it names.

    Raises :class:`OSError` where that fails, and :class:`ValueError` for what JSON cannot hold.
    """
    path, content = record_path(record.kernel_id), msgspec.json.encode(record)
    if len(content) > RECORD_BYTES_MAX:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    private_files.write_private(path, content)
    return path


def read(path: Path) -> KeptKernel | None:
    """Return the record in a file; None for one of a later version, or that cannot be read.

    Raises :class:`ValueError` for what is no record.
    """
    try:
        with path.open("rb") as file:
            content = file.read(RECORD_BYTES_MAX + 1)
    except OSError:
        return None
    if len(content) > RECORD_BYTES_MAX:
        raise ValueError("too large")
    # Versions before everything else, whose meaning may be another one.
    try:
        if msgspec.json.decode(content, type=_Versioned).version > REMOTE_VERSION:
            return None
        record = msgspec.json.decode(content, type=KeptKernel)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    if record_path(record.kernel_id).name != path.name:
        raise ValueError("the record of another kernel")
    return record


def records(damaged: Callable[[Path, ValueError], object] | None = None) -> Iterator[Found]:
    """Yield this user's records; ``damaged`` is called for each file that is none."""
    for path in sorted(records_folder().glob(f"*{_SUFFIX}"))[:RECORDS_MAX]:
        try:
            record = read(path)
        except ValueError as error:
            if damaged is not None:
                damaged(path, error)
            continue
        if record is not None and record.user == os.getuid():
            yield Found(path, record)


def claim(found: Found) -> Found | None:
    """Make this process the server of an orphaned kernel; return its record now, None if another process was first.

    Raises :class:`OSError` if the record cannot be changed, or this process not be identified.
    """
    server = this_process()
    with _locked(found.path.parent) as is_locked:
        if not is_locked:
            return None
        with suppress(ValueError):
            now = read(found.path)
            if now is not None and Found(found.path, now).is_orphaned():
                return replaced(Found(found.path, now), server=server, detached=False)
    return None


def remove(path: Path) -> None:
    """Remove a record and what the kernel wrote beside it."""
    for one in (path, identity_path(path)):
        with suppress(OSError):
            one.unlink()


def remove_unfinished() -> None:
    """Remove what processes left beside the records that were killed while they wrote, or wrote after the end."""
    oldest = time.time() - UNFINISHED_S
    for path in records_folder().iterdir():
        if path.suffix == ".new" or (path.suffix == ".pid" and not path.with_suffix(_SUFFIX).exists()):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def replaced(found: Found, **fields: Any) -> Found:
    """Store the record with new values of fields, and return it; the caller is the server that it names."""
    record = msgspec.structs.replace(found.record, **fields)
    return Found(write(record), record)


def remove_with_connection(found: Found) -> None:
    """Remove what a kernel that has ended leaves: its record and its connection file."""
    with suppress(OSError):
        Path(found.record.connection_file).unlink()
    remove(found.path)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of the records' servers in the block; False if another process has it all the time."""
    deadline_s = time.monotonic() + LOCK_S
    while (descriptor := private_files.lock(folder / ".lock")) is None:
        if time.monotonic() >= deadline_s:
            yield False
            return
        time.sleep(0.01)
    try:
        yield True
    finally:
        os.close(descriptor)


class _Versioned(msgspec.Struct):
    version: int
