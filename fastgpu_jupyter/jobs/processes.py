"""The processes of a job, which are known by a variable of their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from ..wire.process_identity import pids_started_with, was_started_with
from .places import MARK_VARIABLE


def processes_of(mark: str) -> Iterator[int]:
    """Yield this user's processes whose environment at their start had the mark of a job."""
    return pids_started_with(MARK_VARIABLE, mark)


def kill_processes_of(mark: str) -> int:
    """Kill this user's processes with the mark of a job; return how many were found.

    The process is opened before its environment is read, so that no other one with the same number is hit.
    """
    killed = 0
    for pid in list(processes_of(mark)):
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if was_started_with(pid, MARK_VARIABLE, mark):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    killed += 1
            finally:
                os.close(pidfd)
    return killed
