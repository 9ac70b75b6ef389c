"""Parking by CUDA's checkpoint: a process's device memory moves to the host's, and the process itself goes on.

A process is *locked* (its CUDA calls wait), *checkpointed* (its memory is in the host's), *restored* and *unlocked*.
Its state is queried from the driver each time and never kept here, since any of the four may have happened before this
pool manager began. Of a lease with several CUDA processes all are locked before the first is checkpointed, and
where one cannot be, all go on as they were.

The calls block: a lock for as long as work is on the GPU, a checkpoint and a restore for as long as memory travels
(plan 5 GB/s), so they are made from threads of their own. None of them can be interrupted; one that takes too long is
undone when it is over.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, Protocol

import psutil

from ....errors import HostFault
from ..driver import ProcessUnusable

#: The driver's releases from which on memory can be parked, and brought back to another device of its model.
PARK_FROM = 570
MOVE_FROM = 580
#: How long the work on the GPU may take to end, before the lease stays on it.
LOCK_MS = 10_000
#: How long parking may take in all before it is undone; 10 times what the largest device should need.
LIMIT_S = 300.0
POLL_S = 0.1
PACKAGE = "cuda.bindings.driver"
EXTRA = "pip install 'fastgpu-jupyter[park]'"


class CudaState(IntEnum):
    """The state of a process that CUDA reports. Numbers of ``CUprocessState``."""

    RUNNING = 0
    LOCKED = 1
    CHECKPOINTED = 2
    FAILED = 3
    CHECKPOINTING = 4
    RESTORING = 5


#: States that end by themselves.
TRANSIENT = frozenset({CudaState.CHECKPOINTING, CudaState.RESTORING})


class Refused(HostFault):
    """CUDA refused one step, and everything is where it was."""


class Parker(Protocol):
    """Moves the device memory of processes to the host's and back. Calls may block for long and are safe to repeat."""

    def is_parked(self, pid: int) -> bool:
        """Return whether a process is parked, or partly."""

    def park(self, pids: Sequence[int]) -> None:
        """Move the device memory of all those processes.

        Raises :class:`HostFault` where it cannot and all go on as they were, else :class:`ProcessUnusable`.
        """

    def resume(self, pids: Sequence[int], moves: Mapping[str, str]) -> None:
        """Move it back; ``moves`` has for every GPU of the machine the one that takes its place, or is empty.

        Raises :class:`HostFault` where it cannot, and it stays parked; :class:`ProcessUnusable` where it is lost.
        """


class CheckpointParker:
    """Parks by the calls ``cuCheckpointProcess…`` of NVIDIA's package ``cuda-bindings``.

    Raises :class:`HostFault` with what is missing where the package or the driver does not have them.
    """

    def __init__(
        self,
        load: Callable[[], Any] = lambda: import_module(PACKAGE),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        is_alive: Callable[[int], bool] = psutil.pid_exists,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._is_alive = is_alive
        try:
            self._cuda = load()
        except ImportError as error:
            raise HostFault(f"Parking needs NVIDIA's Python package cuda-bindings: {EXTRA}.") from error
        if not hasattr(self._cuda, "cuCheckpointProcessLock"):
            raise HostFault(f"This version of cuda-bindings is too old to park: {EXTRA} --upgrade.")
        self._call("cuInit", 0)  # else nothing can be restored while no other process keeps the device initialized

    def is_parked(self, pid: int) -> bool:
        """Return whether a process is parked, or partly."""
        try:
            return self._state(pid) not in (None, CudaState.RUNNING)
        except Refused:
            return False

    def park(self, pids: Sequence[int]) -> None:
        """Lock all processes, then checkpoint all."""
        try:
            self._checkpoint(pids, self._clock() + LIMIT_S)
        except HostFault as fault:
            left = self._restore_and_unlock(pids, {})
            if left is not None or isinstance(fault, ProcessUnusable):
                texts = dict.fromkeys(map(str, filter(None, (fault, left))))
                raise ProcessUnusable(" ".join(texts)) from fault
            raise

    def resume(self, pids: Sequence[int], moves: Mapping[str, str]) -> None:
        """Restore all processes, then unlock all."""
        fault = self._restore_and_unlock(pids, moves)
        if fault is not None:
            raise fault

    def _checkpoint(self, pids: Sequence[int], ends_s: float) -> None:
        for pid in pids:
            if self._settled(pid, ends_s) is CudaState.RUNNING:
                self._lock(pid)
        for pid in pids:
            if self._settled(pid, ends_s) is CudaState.LOCKED:
                self._call("cuCheckpointProcessCheckpoint", pid, None)
            self._require(pid, CudaState.CHECKPOINTED, ends_s)
        if self._clock() > ends_s:
            raise HostFault(f"Moving its memory took longer than {LIMIT_S:g} seconds.")

    def _restore_and_unlock(self, pids: Sequence[int], moves: Mapping[str, str]) -> HostFault | None:
        """Let all processes run, whatever their state; return the first fault, after all others were treated."""
        ends_s = self._clock() + LIMIT_S
        faults: list[HostFault] = []
        for step in (self._restore, self._unlock):
            for pid in pids:
                try:
                    step(pid, moves, ends_s)
                except HostFault as fault:
                    faults.append(fault)
        return faults[0] if faults else None

    def _restore(self, pid: int, moves: Mapping[str, str], ends_s: float) -> None:
        if self._settled(pid, ends_s) is CudaState.CHECKPOINTED:
            keep, arguments = self._restore_arguments(moves)
            self._call("cuCheckpointProcessRestore", pid, arguments)
            del keep
            self._require(pid, CudaState.LOCKED, ends_s)

    def _unlock(self, pid: int, moves: Mapping[str, str], ends_s: float) -> None:
        if self._settled(pid, ends_s) is CudaState.LOCKED:
            self._call("cuCheckpointProcessUnlock", pid, None)
            self._require(pid, CudaState.RUNNING, ends_s)

    def _lock(self, pid: int) -> None:
        arguments = self._cuda.CUcheckpointLockArgs()
        arguments.timeoutMs = LOCK_MS  # without one a long computation would be waited for
        try:
            self._call("cuCheckpointProcessLock", pid, arguments)
        except Refused as refusal:
            if "NOT_READY" in str(refusal):
                raise Refused(f"Its work on the GPU did not come to an end within {LOCK_MS // 1000} seconds.") from None
            raise

    def _state(self, pid: int) -> CudaState | None:
        """Return the state of a process; ``None`` where it has ended. Raises :class:`Refused`."""
        try:
            return CudaState(int(self._call("cuCheckpointProcessGetState", pid)))
        except Refused:
            if self._is_alive(pid):
                raise
            return None
        except ValueError as error:
            raise Refused(f"CUDA reports an unknown state of process {pid}.") from error

    def _settled(self, pid: int, ends_s: float) -> CudaState | None:
        """Return the state of a process once it is not transient. Raises :class:`ProcessUnusable` where it failed."""
        while (state := self._state(pid)) in TRANSIENT:
            if self._clock() > ends_s:
                raise ProcessUnusable(f"CUDA has been moving the memory of process {pid} for {LIMIT_S:g} seconds.")
            self._sleep(POLL_S)
        if state is CudaState.FAILED:
            raise ProcessUnusable(f"CUDA failed to move the memory of process {pid}; it cannot use its GPU any more.")
        return state

    def _require(self, pid: int, wanted: CudaState, ends_s: float) -> None:
        """Check the state after a call: the answer of the call alone is not believed."""
        state = self._settled(pid, ends_s)
        if state is not None and state is not wanted:
            raise Refused(f"CUDA left process {pid} {state.name.lower()}, not {wanted.name.lower()}.")

    def _restore_arguments(self, moves: Mapping[str, str]) -> tuple[list[Any], Any]:
        """Return the buffers that must live as long as the arguments of a restore, and these arguments."""
        keep: list[Any] = []
        if not moves:
            return keep, None
        pairs = []
        for old, new in moves.items():
            pair = self._cuda.CUcheckpointGpuPair()
            pair.oldUuid, pair.newUuid = self._uuid(old, keep), self._uuid(new, keep)
            pairs.append(pair)
        arguments = self._cuda.CUcheckpointRestoreArgs()
        arguments.gpuPairs = pairs
        arguments.gpuPairsCount = len(pairs)
        return keep, arguments

    def _uuid(self, device_id: str, keep: list[Any]) -> Any:
        buffer = ctypes.create_string_buffer(uuid_bytes(device_id), 16)
        keep.append(buffer)
        return self._cuda.CUuuid(ctypes.addressof(buffer))

    def _call(self, name: str, *args: Any) -> Any:
        """Return the answer of a call of CUDA. Raises :class:`Refused` where that is an error."""
        try:
            result, *answer = getattr(self._cuda, name)(*args)
        except Exception as error:  # the package raises various errors where the driver lacks a call
            raise Refused(f"CUDA cannot be asked for {name} here ({error}).") from error
        if int(result) != 0:
            raise Refused(f"CUDA refused {name}: {getattr(result, 'name', result)}.")
        return answer[0] if answer else None


def uuid_bytes(device_id: str) -> bytes:
    """Return the 16 bytes of ``GPU-01234567-…``. Raises :class:`HostFault` where the text is no such UUID."""
    try:
        found = bytes.fromhex(device_id.removeprefix("GPU-").replace("-", ""))
    except ValueError:
        found = b""
    if len(found) != 16:
        raise HostFault(f"{device_id[:60]!r} is not the UUID of a GPU.")
    return found


def mapping(origin: Sequence[str], target: Sequence[str], every: Sequence[str]) -> dict[str, str]:
    """Return which GPU takes the place of which, for every GPU that the driver knows; empty where all stay.

    A displaced GPU takes the place of the one that displaced it: each GPU occurs once on either side.
    """
    moved = {old: new for old, new in zip(origin, target, strict=True) if old != new}
    if not moved:
        return {}
    found = {name: moved.get(name, name) for name in every}
    free = [name for name in every if name not in set(moved.values()) and name in moved]
    for name in every:
        if name in moved.values() and name not in moved:
            found[name] = free.pop(0)
    return found
