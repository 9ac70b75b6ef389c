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
PAUSE_S = 0.02


def processes_of(folder: bytes) -> Iterator[int]:
    """Yield the processes whose environment names the folder, but for this one and those that started it."""
    spared = {os.getpid(), os.getppid()}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in spared:
            with contextlib.suppress(OSError):
                if folder in (path / "environ").read_bytes():
                    yield int(path.name)


def main() -> None:
    """Wait, and clean up."""
    folder = sys.argv[1]
    sys.stdin.read()
    for _ in range(ROUNDS_MAX):
        found = list(processes_of(folder.encode()))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break
        time.sleep(PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
