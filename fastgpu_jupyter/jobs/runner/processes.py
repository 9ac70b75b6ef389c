"""The processes of a job: the descendants of its work process, and how to end them.

A process is identified by its number and its start time and signalled through a pidfd, so that no signal reaches
another process that has the number by now.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

#: The pause between two looks at processes that were signalled.
_PAUSE_S = 0.01


class Process(NamedTuple):
    """A process as ``/proc`` showed it."""

    pid: int
    start_time: int  #: in clock ticks since boot
    parent: int
    session: int
    is_zombie: bool


def read_process(pid: int) -> Process | None:
    """Return what ``/proc`` says of a process; None if there is none, or nothing can be read of it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Process(pid, int(fields[19]), int(fields[1]), int(fields[3]), fields[0] in "ZX")


def processes() -> list[Process]:
    """Return all processes that can be seen."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 (there are thousands)
    return [one for one in map(read_process, pids) if one is not None]


def descendants(root: int) -> list[Process]:
    """Return the live processes that descend from process ``root``."""
    children: dict[int, list[Process]] = {}
    for one in processes():
        children.setdefault(one.parent, []).append(one)
    found: list[Process] = []
    pending = [root]
    while pending:
        for one in children.get(pending.pop(), ()):
            pending.append(one.pid)
            if not one.is_zombie:
                found.append(one)
    return found


def has_variable(pid: int, name: str, words: Collection[str]) -> bool:
    """Return whether the environment with which a process was started has one of ``words`` in variable ``name``.

    False where it cannot be read: such a process belongs to another user, who alone may end it.
    """
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    prefix = os.fsencode(name) + b"="
    values = (os.fsdecode(entry.removeprefix(prefix)) for entry in entries if entry.startswith(prefix))
    return any(word in value.split() for value in values for word in words)


def send_signal(process: Process, signum: int) -> bool:
    """Signal exactly that process; return False if it has ended or may not be signalled."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)
        if now is None or now.start_time != process.start_time:
            return False
        signal.pidfd_send_signal(pidfd, signum)
        return True
    except OSError:
        return False
    finally:
        os.close(pidfd)


def end_processes(
    find: Callable[[], Collection[Process]],
    *,
    grace_s: float = 0.0,
    timeout_s: float = 10.0,
    reap: Callable[[], object] = lambda: None,
) -> tuple[int, int]:
    """End the processes that ``find`` returns, until it returns none; return how many there were and how many are left.

    They get SIGTERM first where they have ``grace_s``, then SIGKILL. One that the system cannot end within
    ``timeout_s``, because it waits for a device, is left. ``reap`` takes the exit status of those that are children of
    this process.
    """
    start_s = time.monotonic()
    seen: set[tuple[int, int]] = set()
    asked: set[tuple[int, int]] = set()
    while found := [one for one in find() if not one.is_zombie]:
        seen |= {(one.pid, one.start_time) for one in found}
        past_s = time.monotonic() - start_s
        if past_s > grace_s + timeout_s:
            return len(seen), len(found)
        for one in found:
            key = (one.pid, one.start_time)
            if past_s >= grace_s:
                send_signal(one, signal.SIGKILL)
            elif key not in asked:
                asked.add(key)
                send_signal(one, signal.SIGTERM)
                send_signal(one, signal.SIGCONT)  # a stopped process acts on nothing else
        reap()
        time.sleep(_PAUSE_S)
    return len(seen), 0
