"""What a standby kernel found at its start, by which its server knows whether a kernel that starts now would find it.

A standby kernel imports this module first, to look at the files before it reads any: standard library only. Times are
those of the inode (``st_ctime_ns``): unlike the times of the content, no program can set them back.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from typing import TypedDict

#: Time of the last change in nanoseconds, size in bytes, and number of the inode; None where there is nothing to see.
FileState = list[int] | None
#: State of a file that changed while the kernel started: it is unknown what was read. It equals no other.
UNSETTLED: list[int] = [-1, -1, -1]
#: Names that belong to installed distributions, in a folder of ``sys.path``.
DISTRIBUTION_SUFFIXES = (".dist-info", ".egg-info", ".egg-link", ".egg")
#: More entries of a folder are not compared.
ENTRIES_MAX = 10_000


class ListedFolder(TypedDict):
    """A folder of ``sys.path`` that other programs than installers write to, such as one of ``PYTHONPATH``."""

    state: FileState
    entries: list[str] | None  #: those that imports of the start depend on; None if there are too many entries


class Observed(TypedDict):
    """What a standby kernel reports when it is ready."""

    pid: int
    executable: list[int]  #: device and inode of the interpreter that runs
    prefix: str
    sys_path: list[str]
    #: By the value of the ``MissReason`` that a change has.
    files: dict[str, dict[str, FileState]]
    listed: dict[str, ListedFolder]
    #: Names of the imported modules outside the standard library, without those of packages, and their folders.
    names: dict[str, str]
    modules: int
    #: Environment variables that the modules which were imported ahead have read.
    variables: list[str]
    memory_bytes: int


def file_state(path: str) -> FileState:
    """Return the state of a file or a folder; None if there is none, or if this user cannot see it."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
    except OSError:
        return None
    return [found.st_ctime_ns, found.st_size, found.st_ino]


def listed(folder: str, names: Container[str]) -> ListedFolder:
    """Return what an import of ``names`` depends on in ``folder``, and the distributions that are installed there."""
    state = file_state(folder)
    try:
        entries = os.listdir(folder)  # noqa: PTH208 (names, not paths)
    except OSError:
        entries = []
    if len(entries) > ENTRIES_MAX:
        return {"state": state, "entries": None}
    return {"state": state, "entries": sorted(_relevant(entries, names))}


def _relevant(entries: Iterable[str], names: Container[str]) -> Iterable[str]:
    customizing = ("sitecustomize", "usercustomize")
    for entry in entries:
        stem = entry.partition(".")[0]
        if entry.endswith(DISTRIBUTION_SUFFIXES) or stem in names or stem in customizing:
            yield entry
