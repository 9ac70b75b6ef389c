"""Processes of this host by their numbers, as far as MPS daemons need them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from .....errors import HostFault
from ....host.process import read_proc_file, says_ended, unobservable


def pids() -> Iterator[int]:
    """Yield the pids of all processes."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 (there are thousands)


def parent_of(pid: int) -> int | None:
    """Return the pid of a process's parent; ``None`` where the process has ended."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks after boot; ``None`` where it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def environ_of(pid: int) -> list[bytes]:
    """Return the environment of a process as ``NAME=value``; empty where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_if(pid: int, condition: Callable[[], bool]) -> None:
    """Kill exactly that process, if the condition holds for it."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if condition():  # the pid cannot pass to another process while the pidfd is open
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, ``None`` without such a process."""
    try:
        return read_proc_file(f"/proc/{pid}/stat").decode(errors="replace").rpartition(")")[2].split()
    except OSError as error:
        if says_ended(error):
            return None
        raise HostFault(unobservable(pid, error).message) from error
