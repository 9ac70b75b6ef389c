"""The identity of a process that survives the reuse of its number: boot id, number and start time.

The kernel imports this module at its start.
"""

from __future__ import annotations

import errno
import json
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from . import host_identity
from .private_files import write_private

#: Errors that say that there is no process with a number; any other error, as for lack of descriptors, does not.
NO_SUCH_PROCESS = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})


class ProcessIdentity(NamedTuple):
    """One process of one boot of the machine."""

    boot_id: str
    pid: int
    start_time: int  #: in clock ticks since boot

    def has_ended(self) -> bool:
        """Return whether the process is gone; one that its parent has not waited for yet is.

        Raises :class:`OSError` where that cannot be found out: the process may live.
        """
        if self.boot_id != boot_id():
            return True
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno in NO_SUCH_PROCESS:
                return True
            raise
        try:
            # If the number passes to another process meanwhile, the pidfd becomes readable.
            return start_time(self.pid) != self.start_time or is_readable(pidfd)
        finally:
            os.close(pidfd)


def boot_id() -> str:
    """Return the name of the running boot of this machine; empty where the system does not tell it."""
    with suppress(OSError, UnicodeDecodeError):
        return host_identity.BOOT_ID_FILE.read_text().strip()
    return ""


def start_time(pid: int) -> int | None:
    """Return when process ``pid`` started, in clock ticks since boot; None if there is no such process.

    Raises :class:`OSError` where that cannot be found out.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError as error:
        if error.errno in NO_SUCH_PROCESS:
            return None
        raise
    # The name in parentheses may hold spaces and parentheses itself: count from the last one.
    return int(stat.rpartition(")")[2].split()[19])


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of process ``pid`` now; None if there is none. Raises :class:`OSError` as above."""
    started = start_time(pid)
    return None if started is None else ProcessIdentity(boot_id(), pid, started)


def was_started_with(pid: int, name: str, value: str) -> bool:
    """Return whether a process was started with that variable; False where that cannot be seen."""
    with suppress(OSError):  # it has ended, or belongs to another user
        return os.fsencode(f"{name}={value}") in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def pids_started_with(name: str, value: str) -> Iterator[int]:
    """Yield the processes of this user that were started with that variable."""
    for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]:  # noqa: PTH208 (there are thousands)
        if was_started_with(pid, name, value):
            yield pid


def write_own_identity(path: Path) -> None:
    """Store the identity of this process in the file ``path``, which only its owner may read, whole or not at all."""
    own = identify(os.getpid())
    assert own is not None
    write_private(path, json.dumps(own._asdict()).encode())


def read_identity(path: Path) -> ProcessIdentity | None:
    """Return the identity that :func:`write_own_identity` stored; None where there is none that can be read."""
    try:
        stored = json.loads(path.read_bytes())
        return ProcessIdentity(str(stored["boot_id"]), int(stored["pid"]), int(stored["start_time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_readable(descriptor: int, within_s: float | None = 0) -> bool:
    """Return whether the descriptor becomes readable in time (``None``: no limit).

    A server has thousands of descriptors, and ``select`` takes only the first 1,024.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if within_s is None else 1000 * within_s))
