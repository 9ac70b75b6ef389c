"""Make CUDA's checkpoint calls for the pool manager, in a process that can be killed while a call hangs.

Each line of standard input is a JSON object: ``call``, ``pid`` and the arguments of that function of :class:`Calls`.
Each line of the answer is an object with the ``value``, or with the call and the error by which CUDA ``refused`` it.
The first line of the answer says that CUDA is initialized, or why it is not. The process ends with its standard input,
even while a call hangs. Names and numbers are those of CUDA's driver API.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

PACKAGE = "cuda.bindings.driver"
#: Values of ``missing`` in the first line: what is not installed, or too old.
NO_PACKAGE, OLD_PACKAGE = "package", "calls"


class RefusedCall(Exception):
    """CUDA answered a call with an error, or the driver does not have the call."""

    def __init__(self, call: str, error: str) -> None:
        super().__init__(f"{call}: {error}")
        self.call = call
        self.error = error


class Calls:
    """The calls by which the memory of one process is moved. Each raises :class:`RefusedCall`."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        # Without it nothing can be restored while no other process keeps the device initialized.
        self._call("cuInit", 0)

    def state(self, pid: int) -> int:
        """Return the number of the process's ``CUprocessState``."""
        return int(self._call("cuCheckpointProcessGetState", pid))

    def lock(self, pid: int, timeout_ms: int) -> None:
        """Let the CUDA calls of the process wait once its work on the device is done."""
        arguments = self._cuda.CUcheckpointLockArgs()
        arguments.timeoutMs = timeout_ms  # without one a long computation would be waited for
        self._call("cuCheckpointProcessLock", pid, arguments)

    def checkpoint(self, pid: int) -> None:
        """Move the device memory of a locked process to the host."""
        self._call("cuCheckpointProcessCheckpoint", pid, None)

    def restore(self, pid: int, moves: Mapping[str, str]) -> None:
        """Move it back; ``moves`` has for every GPU of the machine the one that takes its place, or is empty."""
        buffers: list[Any] = []  # they must live as long as the call

        def uuid(text: str) -> Any:
            buffers.append(ctypes.create_string_buffer(bytes.fromhex(text), 16))
            return self._cuda.CUuuid(ctypes.addressof(buffers[-1]))

        pairs = []
        for old, new in moves.items():
            pair = self._cuda.CUcheckpointGpuPair()
            pair.oldUuid, pair.newUuid = uuid(old), uuid(new)
            pairs.append(pair)
        arguments = None
        if pairs:
            arguments = self._cuda.CUcheckpointRestoreArgs()
            arguments.gpuPairs, arguments.gpuPairsCount = pairs, len(pairs)
        self._call("cuCheckpointProcessRestore", pid, arguments)

    def unlock(self, pid: int) -> None:
        """Let the CUDA calls of the process go on."""
        self._call("cuCheckpointProcessUnlock", pid, None)

    def _call(self, name: str, *args: Any) -> Any:
        try:
            result, *answer = getattr(self._cuda, name)(*args)
        except Exception as error:  # the package raises various errors where the driver lacks a call
            raise RefusedCall(name, f"it cannot be called here ({error})") from error
        if int(result) != 0:
            raise RefusedCall(name, str(getattr(result, "name", result)))
        return answer[0] if answer else None


def begin(load: Callable[[], Any]) -> tuple[Calls | None, dict[str, Any]]:
    """Return the calls, or ``None``, and the first line of the answer. ``load`` imports the package."""
    try:
        cuda = load()
    except ImportError:
        return None, {"missing": NO_PACKAGE}
    if not hasattr(cuda, "cuCheckpointProcessLock"):
        return None, {"missing": OLD_PACKAGE}
    try:
        return Calls(cuda), {"value": None}
    except RefusedCall as refused:
        return None, {"refused": refused.call, "error": refused.error}


def answer(calls: Calls, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a request and return the answer to it."""
    arguments = {name: value for name, value in request.items() if name != "call"}
    try:
        return {"value": getattr(calls, request["call"])(**arguments)}
    except RefusedCall as refused:
        return {"refused": refused.call, "error": refused.error}


def main() -> None:
    """Answer requests until standard input ends."""
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a library prints is no answer

        def say(line: Mapping[str, Any]) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        # In a thread: the pool manager may end while a call hangs.
        threading.Thread(target=_read, args=(requests,), daemon=True).start()
        calls, first = begin(lambda: import_module(PACKAGE))
        say(first)
        while calls is not None:
            say(answer(calls, json.loads(requests.get())))


def _read(requests: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
