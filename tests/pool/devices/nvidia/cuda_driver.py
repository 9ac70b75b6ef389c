"""A fake of the calls of ``cuda.bindings.driver`` that park processes, as CUDA's own documents describe their states.

The records and the numbers are NVIDIA's own, so that a field which is not there, or holds something else, is found
without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cuda.bindings import driver

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.nvidia import checkpoint_process
from fastgpu_jupyter.pool.devices.nvidia.checkpoint_process import NoAnswer
from fastgpu_jupyter.pool.devices.nvidia.checkpoint_worker import answer, begin
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import CudaState, MakeCall

S = CudaState
#: Call -> the state that it needs, and the one that it leads to.
STEPS = {
    "Lock": (S.RUNNING, S.LOCKED),
    "Checkpoint": (S.LOCKED, S.CHECKPOINTED),
    "Restore": (S.CHECKPOINTED, S.LOCKED),
    "Unlock": (S.LOCKED, S.RUNNING),
}
SETTLES = {S.CHECKPOINTING: S.CHECKPOINTED, S.RESTORING: S.LOCKED}


Result = driver.CUresult
OK = Result.CUDA_SUCCESS


class FakeCuda:
    """Processes with CUDA, and what goes wrong with them, by call and process as in ``Lock 1``."""

    CUcheckpointLockArgs = driver.CUcheckpointLockArgs
    CUcheckpointRestoreArgs = driver.CUcheckpointRestoreArgs
    CUcheckpointGpuPair = driver.CUcheckpointGpuPair
    CUuuid = driver.CUuuid

    def __init__(self, *pids: int) -> None:
        self.states = dict.fromkeys(pids, S.RUNNING)
        self.done: list[str] = []
        self.refuse: dict[str, str] = {}  #: with that error
        self.fail: set[str] = set()  #: and leave the process failed
        self.lie: set[str] = set()  #: and do nothing
        self.absent: set[str] = set()  #: as where the driver is too old
        self.hang: set[str] = set()  #: and do not return
        self.group: set[int] = set()  #: processes that communicate: while one is locked, calls on the others hang
        self.ends_at: dict[str, int] = {}  #: that process ends
        self.settles = True
        self.now_s = 0.0
        self.lock_timeouts_ms: list[int] = []
        self.pairs: list[tuple[str, str]] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.now_s += time_s
        for pid, state in self.states.items():
            if self.settles:
                self.states[pid] = SETTLES.get(state, state)

    def cuInit(self, flags: int) -> tuple[Any]:  # noqa: N802 - the name is CUDA's
        return (self._error("cuInit") or OK,)

    def cuCheckpointProcessGetState(self, pid: int) -> tuple[Any, ...]:  # noqa: N802
        error = self._error(f"GetState {pid}")
        if error is None and pid not in self.states:
            error = Result.CUDA_ERROR_INVALID_VALUE
        return (error, None) if error else (OK, driver.CUprocessState(self.states[pid]))

    def cuCheckpointProcessLock(self, pid: int, arguments: Any) -> tuple[Any]:  # noqa: N802
        self.lock_timeouts_ms.append(arguments.timeoutMs)
        return self._step("Lock", pid)

    def cuCheckpointProcessCheckpoint(self, pid: int, arguments: None) -> tuple[Any]:  # noqa: N802
        return self._step("Checkpoint", pid)

    def cuCheckpointProcessRestore(self, pid: int, arguments: Any) -> tuple[Any]:  # noqa: N802
        if arguments is not None:
            assert arguments.gpuPairsCount == len(arguments.gpuPairs)
            self.pairs = [(_uuid(pair.oldUuid), _uuid(pair.newUuid)) for pair in arguments.gpuPairs]
        return self._step("Restore", pid)

    def cuCheckpointProcessUnlock(self, pid: int, arguments: None) -> tuple[Any]:  # noqa: N802
        return self._step("Unlock", pid)

    def _step(self, name: str, pid: int) -> tuple[Any]:
        call = f"{name} {pid}"
        self.states.pop(self.ends_at.get(call, 0), None)
        needed, then = STEPS[name]
        error = self._error(call)
        if error is None and self.states.get(pid) is not needed:
            error = Result.CUDA_ERROR_ILLEGAL_STATE
        if error is not None:
            return (error,)
        if call in self.fail:
            self.states[pid] = S.FAILED
            return (Result.CUDA_ERROR_UNKNOWN,)
        if call not in self.lie:
            self.states[pid] = then
            self.done.append(call)
        return (OK,)

    def _error(self, call: str) -> Any:
        if call in self.absent:
            raise RuntimeError(f'Function "{call}" not found')
        return getattr(Result, self.refuse[call]) if call in self.refuse else None


#: The functions of a worker, by the part of the name of CUDA's call.
NAMES = {"state": "GetState", "lock": "Lock", "checkpoint": "Checkpoint", "restore": "Restore", "unlock": "Unlock"}


class PlayedProcesses:
    """Makes the calls of a move in this process, as workers make them in theirs; a call that hangs costs a worker."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self.cuda = load()
        self._calls, first = begin(lambda: self.cuda)
        if self._calls is None:
            raise HostFault(str(first))
        self.killed = 0  #: workers
        self.limits_s: dict[str, float] = {}  #: by call

    @contextmanager
    def calls(self) -> Iterator[MakeCall]:
        yield self.call

    def call(self, name: str, pid: int, timeout_s: float, **arguments: Any) -> Any:
        call = f"{NAMES[name]} {pid}"
        self.limits_s[call] = timeout_s
        others = (self.cuda.states.get(one) for one in self.cuda.group - {pid})
        if call in self.cuda.hang or (pid in self.cuda.group and S.LOCKED in others):
            self.cuda.now_s += timeout_s
            self.killed += 1
            raise NoAnswer(f"CUDA did not return from the call {name!r} in time.")
        assert self._calls is not None
        found = answer(self._calls, {"call": name, "pid": pid, **arguments})
        if "refused" in found:
            raise checkpoint_process._refusal(found)
        return found["value"]


def _uuid(uuid: driver.CUuuid) -> str:
    text = uuid.bytes.hex()
    return "GPU-" + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
