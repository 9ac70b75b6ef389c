"""A program that stands for a kernel: it writes ports into its connection file, then what it found, and waits.

    python small_kernel.py CONNECTION_FILE FACTS [deaf | child | slow | talk]

It needs a fraction of the time of a real kernel. ``deaf``: it ignores SIGTERM; ``child``: it starts a process of its
group; ``slow``: it writes no ports; ``talk``: it writes much output first.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

connection_file, facts, *modes = sys.argv[1:]
interrupts: list[int] = []


def interrupt(*_: object) -> None:
    """Note the interrupt at once: it may come before this program waits for it."""
    interrupts.append(1)
    note()


signal.signal(signal.SIGINT, interrupt)
if "deaf" in modes:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "talk" in modes:
    sys.stderr.write("x" * 300_000 + "\nlast words\n")
    sys.stderr.flush()
child = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "600"]) if "child" in modes else 0
connection = json.loads(Path(connection_file).read_bytes())
status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
death_signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(death_signal), 0, 0, 0)


def note() -> None:
    """Write what was found."""
    found = {
        "pid": os.getpid(),
        "child": child,
        "group": os.getpgrp(),
        "session": os.getsid(0),
        "blocked": int(status["SigBlk"], 16),
        "ignored": int(status["SigIgn"], 16),
        "death_signal": death_signal.value,
        "environ": dict(os.environ),
        "cwd": str(Path.cwd()),
        "connection": connection,
        "file_mode": Path(connection_file).stat().st_mode & 0o777,
        "folder_mode": Path(connection_file).parent.stat().st_mode & 0o777,
        "interrupts": len(interrupts),
    }
    new = Path(facts + ".new")
    new.write_text(json.dumps(found))
    new.rename(facts)


note()
listening = {}
if "slow" not in modes:
    for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"):
        listening[name] = socket.create_server((connection["ip"], connection[name]))
    ports = {name: each.getsockname()[1] for name, each in listening.items()}
    Path(connection_file).write_text(json.dumps({**connection, **ports}))
while True:
    signal.pause()
