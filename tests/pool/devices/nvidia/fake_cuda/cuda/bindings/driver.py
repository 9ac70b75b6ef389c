"""The calls that park processes: where each process is stands in a file that the test and the process read.

A process whose memory travels stays where it is until the test has moved it (numbers of ``CUprocessState``). A call
that the file ``hang`` names, as in ``Lock 17`` or ``cuInit``, does not return while it does, and one that ``refuse``
names gives an error. Every call is written to ``calls``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

RUNNING, LOCKED, CHECKPOINTED, CHECKPOINTING, RESTORING = 0, 1, 2, 4, 5
FOLDER = Path(os.environ["FASTGPU_PLAYED_CUDA"])
OK, INVALID_VALUE, NO_DEVICE, ILLEGAL_STATE = 0, 1, 100, 401


class Record:
    """One of the records that calls take."""


CUcheckpointLockArgs = CUcheckpointRestoreArgs = CUcheckpointGpuPair = Record


def cuInit(flags: int) -> tuple[int]:  # noqa: N802 - the name is CUDA's
    """Ready."""
    return (_answer("cuInit"),)


def cuCheckpointProcessGetState(pid: int) -> tuple[int, int]:  # noqa: N802
    """Where it is, as long as it lives."""
    error = _answer(f"GetState {pid}")
    return (error, RUNNING) if error else _state(pid)


def _state(pid: int) -> tuple[int, int]:
    path = FOLDER / str(pid)
    if not Path(f"/proc/{pid}").exists():
        return INVALID_VALUE, RUNNING
    return OK, int(path.read_text()) if path.exists() else RUNNING


def cuCheckpointProcessLock(pid: int, arguments: Record) -> tuple[int]:  # noqa: N802
    """Its calls wait from here."""
    return _step("Lock", pid, RUNNING, LOCKED)


def cuCheckpointProcessCheckpoint(pid: int, arguments: None) -> tuple[int]:  # noqa: N802
    """Its memory begins to travel."""
    return _step("Checkpoint", pid, LOCKED, CHECKPOINTING)


def cuCheckpointProcessRestore(pid: int, arguments: Record | None) -> tuple[int]:  # noqa: N802
    """Its memory begins to travel back."""
    return _step("Restore", pid, CHECKPOINTED, RESTORING)


def cuCheckpointProcessUnlock(pid: int, arguments: None) -> tuple[int]:  # noqa: N802
    """Its calls go on."""
    return _step("Unlock", pid, LOCKED, RUNNING)


def _step(name: str, pid: int, needed: int, then: int) -> tuple[int]:
    error = _answer(f"{name} {pid}")
    if error:
        return (error,)
    if _state(pid)[1] != needed:
        return (ILLEGAL_STATE,)
    written = FOLDER / f"{pid}.new"
    written.write_text(str(then))
    written.replace(FOLDER / str(pid))
    return (OK,)


def _answer(call: str) -> int:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{call} by {os.getpid()}\n")
    while call in _named("hang"):
        time.sleep(0.01)
    return NO_DEVICE if call in _named("refuse") else OK


def _named(name: str) -> list[str]:
    path = FOLDER / name
    return path.read_text().splitlines() if path.exists() else []
