"""The work of a job in the tests of kills: ``python -m tests.crash.job_work FOLDER``.

It holds a lock in FOLDER while it lives, so that a second one that runs at the same time says so; it notes its begin
and its end in the file ``witness``, and writes a result in two halves. It goes on while the file ``hold`` exists.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

#: What the file of the result has when it is whole.
HALF = b"0123456789abcdef" * 4096
WHOLE = HALF + HALF[::-1]


def note(folder: Path, text: str) -> None:
    """Append a line to what is known of the runs."""
    descriptor = os.open(folder / "witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{text} {os.getpid()}\n".encode())
    os.close(descriptor)


def main() -> None:
    """Do the work."""
    folder = Path(sys.argv[1])
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(folder, "twice")
        sys.exit(3)
    note(folder, "begin")
    print("begin", flush=True)  # noqa: T201 (the log of the job)
    (folder / "out").mkdir(exist_ok=True)
    with (folder / "out/result").open("wb") as file:
        file.write(HALF)
        file.flush()
        while (folder / "hold").exists():
            time.sleep(0.02)
        file.write(WHOLE[len(HALF) :])
    note(folder, "end")
    print("end", flush=True)  # noqa: T201 (the log of the job)


if __name__ == "__main__":
    main()
