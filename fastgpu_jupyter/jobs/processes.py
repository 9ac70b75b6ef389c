"""The processes of a job, which are known by a variable of their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .places import MARK_VARIABLE


def processes_of(mark: str) -> Iterator[int]:
    """Yield this user's processes whose environment at their start had the mark of a job."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and _has_mark(int(entry.name), mark):
            yield int(entry.name)


def kill_processes_of(mark: str) -> int:
    """Kill this user's processes with the mark of a job; return how many were found.

    The process is opened before its environment is read, so that no other one with the same number is hit.
    """
    killed = 0
    for pid in list(processes_of(mark)):
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if _has_mark(pid, mark):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    killed += 1
            finally:
                os.close(pidfd)
    return killed


def _has_mark(pid: int, mark: str) -> bool:
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    with suppress(OSError):  # it has ended, or belongs to another user
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False
