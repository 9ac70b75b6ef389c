"""The calls that park processes: where each process is stands in a file that the test and the process read.

A process whose memory travels stays where it is until the test has moved it (numbers of ``CUprocessState``).
"""

from __future__ import annotations

import os
from pathlib import Path

RUNNING, LOCKED, CHECKPOINTED, CHECKPOINTING, RESTORING = 0, 1, 2, 4, 5
FOLDER = Path(os.environ["FASTGPU_PLAYED_CUDA"])
OK, INVALID_VALUE, ILLEGAL_STATE = 0, 1, 401


class Record:
    """One of the records that calls take."""


CUcheckpointLockArgs = CUcheckpointRestoreArgs = CUcheckpointGpuPair = Record


def cuInit(flags: int) -> tuple[int]:  # noqa: N802 - the name is CUDA's
    """Ready."""
    return (OK,)


def cuCheckpointProcessGetState(pid: int) -> tuple[int, int]:  # noqa: N802
    """Where it is, as long as it lives."""
    path = FOLDER / str(pid)
    if not Path(f"/proc/{pid}").exists():
        return INVALID_VALUE, RUNNING
    return OK, int(path.read_text()) if path.exists() else RUNNING


def cuCheckpointProcessLock(pid: int, arguments: Record) -> tuple[int]:  # noqa: N802
    """Its calls wait from here."""
    return _step(pid, RUNNING, LOCKED)


def cuCheckpointProcessCheckpoint(pid: int, arguments: None) -> tuple[int]:  # noqa: N802
    """Its memory begins to travel."""
    return _step(pid, LOCKED, CHECKPOINTING)


def cuCheckpointProcessRestore(pid: int, arguments: Record | None) -> tuple[int]:  # noqa: N802
    """Its memory begins to travel back."""
    return _step(pid, CHECKPOINTED, RESTORING)


def cuCheckpointProcessUnlock(pid: int, arguments: None) -> tuple[int]:  # noqa: N802
    """Its calls go on."""
    return _step(pid, LOCKED, RUNNING)


def _step(pid: int, needed: int, then: int) -> tuple[int]:
    if cuCheckpointProcessGetState(pid)[1] != needed:
        return (ILLEGAL_STATE,)
    written = FOLDER / f"{pid}.new"
    written.write_text(str(then))
    written.replace(FOLDER / str(pid))
    return (OK,)
