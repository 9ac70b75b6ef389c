"""Parking by CUDA's checkpoint: a process's device memory moves to the host's, and the process itself goes on.

A process is *locked* (its CUDA calls wait), *checkpointed* (its memory is in the host's), *restored* and *unlocked*.
Its state is queried from the driver each time and never kept here, since any of the four may have happened before this
pool manager began. Of a lease with several CUDA processes all are locked before the first is checkpointed, and
where one cannot be, all go on as they were.

The calls block: a lock for as long as work is on the GPU, a checkpoint and a restore for as long as memory travels
(plan 5 GB/s). Each is made by a process that is killed where the call takes too long (:mod:`.checkpoint_process`). The
process that was to be moved is then queried again, after all others of its lease were treated: a call on one of several
that communicate hangs for as long as another one is locked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from typing import Any, Protocol

import psutil

from ....errors import HostFault
from ..driver import ProcessUnusable
from .checkpoint_process import CheckpointProcesses, NoAnswer, Refused

#: The driver's releases from which on memory can be parked, and brought back to another device of its model.
PARK_FROM = 570
MOVE_FROM = 580
#: How long the work on the GPU may take to end, before the lease stays on it.
LOCK_MS = 10_000
#: How long a call that moves no memory may take, beside the time that it is given to wait for work on the GPU.
CALL_S = 20.0
#: How long a call that moves memory may take: a time for what it does besides, and a tenth of the planned speed.
MOVE_S, MOVE_BYTES_PER_S = 60.0, 500_000_000
POLL_S = 0.1


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


class MakeCall(Protocol):
    """Makes a call of CUDA; see :class:`.checkpoint_process.CheckpointCalls`."""

    def __call__(self, name: str, pid: int, timeout_s: float, **arguments: Any) -> Any:
        """Return what the call returns."""


class CallSource(Protocol):
    """Where the calls of a move come from."""

    def calls(self) -> AbstractContextManager[MakeCall]:
        """Return the calls of one move."""


class Parker(Protocol):
    """Moves the device memory of processes to the host's and back. Calls may block for long and are safe to repeat."""

    def may_be_parked(self, pids: Iterable[int]) -> list[int]:
        """Return which of the processes are parked, partly parked, or in a state that cannot be found out."""

    def park(self, pids: Sequence[int], memory_bytes: int) -> None:
        """Move the device memory of all those processes, which is so much in all.

        Raises :class:`HostFault` where it cannot and all go on as they were, else :class:`ProcessUnusable`.
        """

    def resume(self, pids: Sequence[int], moves: Mapping[str, str], memory_bytes: int) -> None:
        """Move it back; ``moves`` has for every GPU of the machine the one that takes its place, or is empty.

        Raises :class:`HostFault` where it cannot, and it stays parked; :class:`ProcessUnusable` where it is lost.
        """


class CheckpointParker:
    """Parks by the calls ``cuCheckpointProcess…`` of NVIDIA's package ``cuda-bindings``."""

    def __init__(
        self,
        processes: CallSource | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        is_alive: Callable[[int], bool] = psutil.pid_exists,
    ) -> None:
        self._processes = processes or CheckpointProcesses()
        self._clock = clock
        self._sleep = sleep
        self._is_alive = is_alive

    def may_be_parked(self, pids: Iterable[int]) -> list[int]:
        """Return which of the processes are parked, partly parked, or in a state that cannot be found out."""
        with self._move(0) as move:
            return [pid for pid in pids if move.may_be_parked(pid)]

    def park(self, pids: Sequence[int], memory_bytes: int) -> None:
        """Lock all processes, then checkpoint all."""
        with self._move(memory_bytes) as move:
            try:
                move.checkpoint(pids)
            except HostFault as fault:
                left = move.let_run(pids, {})
                if left is not None or isinstance(fault, ProcessUnusable):
                    texts = dict.fromkeys(map(str, filter(None, (fault, left))))
                    raise ProcessUnusable(" ".join(texts)) from fault
                raise

    def resume(self, pids: Sequence[int], moves: Mapping[str, str], memory_bytes: int) -> None:
        """Restore all processes, then unlock all."""
        hexadecimal = {uuid_bytes(old).hex(): uuid_bytes(new).hex() for old, new in moves.items()}
        with self._move(memory_bytes) as move:
            fault = move.let_run(pids, hexadecimal)
        if fault is not None:
            raise fault

    @contextmanager
    def _move(self, memory_bytes: int) -> Iterator[_Move]:
        with self._processes.calls() as call:
            yield _Move(call, MOVE_S + memory_bytes / MOVE_BYTES_PER_S, self._clock, self._sleep, self._is_alive)


class _Move:
    """The steps of one move. Memory may travel for ``limit_s`` in each call, and until a transient state ends."""

    def __init__(
        self,
        call: MakeCall,
        limit_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        is_alive: Callable[[int], bool],
    ) -> None:
        self._call = call
        self._limit_s = limit_s
        self._clock = clock
        self._sleep = sleep
        self._is_alive = is_alive
        self._silent: set[int] = set()  #: processes of which a call was not answered

    def may_be_parked(self, pid: int) -> bool:
        try:
            return self._state(pid) not in (None, CudaState.RUNNING)
        except NoAnswer:
            return True
        except Refused:
            return False

    def checkpoint(self, pids: Sequence[int]) -> None:
        for pid in pids:
            with self._noting_silence(pid):
                if self._settled(pid) is CudaState.RUNNING:
                    self._lock(pid)
        for pid in pids:
            with self._noting_silence(pid):
                if self._settled(pid) is CudaState.LOCKED:
                    self._call("checkpoint", pid, self._limit_s)
                self._require(pid, CudaState.CHECKPOINTED)

    def let_run(self, pids: Sequence[int], moves: Mapping[str, str]) -> HostFault | None:
        """Let all processes run, whatever their state; return the first fault, after all others were treated."""
        faults: dict[int, HostFault] = {}

        def attempt(pid: int, *steps: Callable[[int, Mapping[str, str]], None]) -> None:
            try:
                with self._noting_silence(pid):
                    for step in steps:
                        step(pid, moves)
            except HostFault as fault:
                faults.setdefault(pid, fault)

        for step in (self._restore, self._unlock):
            for pid in pids:
                if pid not in self._silent:
                    attempt(pid, step)
        # Last, when no other process is locked. Whether they run is what counts, not that they did not answer before.
        for pid in [one for one in pids if one in self._silent]:
            faults.pop(pid, None)
            attempt(pid, self._restore, self._unlock)
        return next((_unusable(fault) for fault in faults.values()), None)

    def _restore(self, pid: int, moves: Mapping[str, str]) -> None:
        if self._settled(pid) is CudaState.CHECKPOINTED:
            self._call("restore", pid, self._limit_s, moves=dict(moves))
            self._require(pid, CudaState.LOCKED)

    def _unlock(self, pid: int, moves: Mapping[str, str]) -> None:
        if self._settled(pid) is CudaState.LOCKED:
            self._call("unlock", pid, CALL_S)
            self._require(pid, CudaState.RUNNING)

    def _lock(self, pid: int) -> None:
        try:
            self._call("lock", pid, CALL_S + LOCK_MS / 1000, timeout_ms=LOCK_MS)
        except Refused as refusal:
            if "NOT_READY" in str(refusal):
                raise Refused(f"Its work on the GPU did not come to an end within {LOCK_MS // 1000} seconds.") from None
            raise

    def _state(self, pid: int) -> CudaState | None:
        """Return the state of a process; ``None`` where it has ended. Raises :class:`Refused`."""
        try:
            return CudaState(self._call("state", pid, CALL_S))
        except Refused:
            if self._is_alive(pid):
                raise
            return None

    def _settled(self, pid: int) -> CudaState | None:
        """Return the state of a process once it is not transient. Raises :class:`ProcessUnusable` where it failed."""
        ends_s = self._clock() + self._limit_s
        while (state := self._state(pid)) in TRANSIENT:
            if self._clock() > ends_s:
                raise ProcessUnusable(f"CUDA has been moving the memory of process {pid} for {self._limit_s:.0f} s.")
            self._sleep(POLL_S)
        if state is CudaState.FAILED:
            raise ProcessUnusable(f"CUDA failed to move the memory of process {pid}; it cannot use its GPU any more.")
        return state

    def _require(self, pid: int, wanted: CudaState) -> None:
        """Check the state after a call: the answer of the call alone is not believed."""
        state = self._settled(pid)
        if state is not None and state is not wanted:
            raise Refused(f"CUDA left process {pid} {state.name.lower()}, not {wanted.name.lower()}.")

    @contextmanager
    def _noting_silence(self, pid: int) -> Iterator[None]:
        try:
            yield
        except NoAnswer:
            self._silent.add(pid)
            raise


def _unusable(fault: HostFault) -> HostFault:
    """Return a call that was not answered as what it is for the process: nothing more can be said of it."""
    return ProcessUnusable(str(fault)) if isinstance(fault, NoAnswer) else fault


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
