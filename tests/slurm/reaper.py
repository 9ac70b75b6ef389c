"""End what belongs to a cluster of :mod:`tests.slurm.cluster` once the tests close its standard input, or are killed.

``reaper.py FOLDER`` waits for the end of standard input, kills each process with FOLDER in its environment, which
daemons, their steps and jobs have, and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

#: Rounds in which processes are sought that started meanwhile.
ROUNDS_MAX = 100
#: Rounds in which there must be none: a process that is just executing a program has no environment for a moment.
QUIET_ROUNDS = 3
PAUSE_S = 0.02


def processes_of(folder: bytes) -> Iterator[int]:
    """Yield the processes that belong to the folder, but for this one and those that started it."""
    spared = {os.getpid(), os.getppid()}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in spared:
            with contextlib.suppress(OSError):
                if folder in (path / "environ").read_bytes() or _is_step_of(path, folder):
                    yield int(path.name)


def _is_step_of(process: Path, folder: bytes) -> bool:
    """Whether a step has its log in the folder: later versions of Slurm write its title over its environment."""
    if not (process / "comm").read_bytes().startswith(b"slurmstepd"):
        return False
    return any(folder in os.fsencode(file.readlink()) for file in (process / "fd").iterdir())


def main() -> None:
    """Wait, and clean up."""
    folder = sys.argv[1]
    sys.stdin.read()
    quiet = 0
    for _ in range(ROUNDS_MAX):
        found = list(processes_of(folder.encode()))
        quiet = 0 if found else quiet + 1
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if quiet == QUIET_ROUNDS:
            break
        time.sleep(PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
